"""Files of a home: what is opened, what is written, who may read it, what a flipped bit does."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus._files import (
    add_check,
    file_mode,
    make_file,
    make_folders,
    open_file,
    read_file,
    take_check,
    write_file,
)
from runbus._lines import LineFile, read_lines
from runbus.errors import FileUnreadable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def linked(path: Path) -> None:
    path.with_name("outside").write_text("secret")
    path.symlink_to("outside")


ODD: dict[str, Callable[[Path], object]] = {
    "it is a symbolic link": linked,
    "it is a directory": lambda path: path.mkdir(),
    "it is a pipe": lambda path: os.mkfifo(path),
    "it is a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),
    "it has .* or more, and 100 are the most": lambda path: os.truncate(
        os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 40
    ),
}


@pytest.mark.parametrize("reason", ODD)
def test_what_is_no_file_of_the_right_size_is_refused_by_name(tmp_path: Path, reason: str) -> None:
    try:
        ODD[reason](tmp_path / "record")
    except PermissionError:
        pytest.skip("only root makes devices")

    with pytest.raises(FileUnreadable, match=f"/record: {reason}"):
        read_file(str(tmp_path / "record"), limit=100)


def test_no_part_of_a_path_within_a_folder_leads_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "run.json").write_text("secret")
    (tmp_path / "home" / "runs").mkdir(parents=True)
    (tmp_path / "home" / "runs" / "planted").symlink_to(tmp_path / "outside")
    home = str(tmp_path / "home")

    for path in ("runs/planted/run.json", "runs/../../outside/run.json"):
        with pytest.raises(FileUnreadable, match="link"):
            open_file(path, within=home)
    with pytest.raises(FileNotFoundError):
        open_file("runs/missing/run.json", within=home)


def test_a_file_of_another_user_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "record").write_text("{}")
    (tmp_path / "record").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    before = os.geteuid()
    if not before:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(FileUnreadable, match="record: permission denied"):
            read_file("record")
    finally:
        os.seteuid(before)


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "record"
    write_file(str(path), b"one")
    write_file(str(path), b"two", is_durable=False)

    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["record"]


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "record").symlink_to("outside")

    write_file(str(tmp_path / "record"), b"new")

    assert (tmp_path / "outside").read_text() == "precious"
    assert read_file(str(tmp_path / "record")) == b"new"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()

    with pytest.raises(IsADirectoryError):
        write_file(str(tmp_path / "record"), b"new")

    assert os.listdir(tmp_path) == ["record"]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize(
    ("shared", "file", "folder"), [("", 0o600, 0o700), ("group", 0o660, 0o2770)]
)
def test_modes_are_what_they_are_whatever_the_umask(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    umask: int,
    shared: str,
    file: int,
    folder: int,
) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", shared)
    before = os.umask(umask)
    try:
        make_folders(str(tmp_path / "a" / "b"))
        write_file(str(tmp_path / "a" / "b" / "record"), b"")
        make_file(str(tmp_path / "a" / "b" / "empty"))
    finally:
        os.umask(before)

    for path, mode in (
        ("a", folder), ("a/b", folder), ("a/b/record", file), ("a/b/empty", file)
    ):  # fmt: skip
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == mode


def test_another_way_to_share_a_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", "world")

    with pytest.raises(UsageError, match="RUNBUS_SHARED is 'world': set it to group"):
        file_mode()


objects = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8))


def checked(value: dict[str, object], indent: int | None = None) -> bytes:
    return add_check(json.dumps({"version": 2, **value}, indent=indent).encode())


@given(objects, st.sampled_from([None, 2]))
def test_a_checked_record_is_the_json_that_it_was(value: dict[str, object], indent: int) -> None:
    data = checked(value, indent)

    assert json.loads(data).keys() == {"version", *value, "crc32"}
    assert json.loads(take_check(data + b"\n", "record")) == {"version": 2, **value}


@given(objects, st.data())
def test_no_flipped_bit_of_a_checked_record_is_overlooked(
    value: dict[str, object], data: st.DataObject
) -> None:
    flipped = bytearray(checked(value))
    bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
    flipped[bit // 8] ^= 1 << bit % 8

    try:
        found = json.loads(take_check(bytes(flipped), "record"))
    except FileUnreadable:
        return
    # In the white space before the checksum a flip may make other white space.
    assert found == {"version": 2, **value}


@pytest.mark.parametrize(("data", "reason"), [(b"", "is empty"), (b"{}", "has no checksum")])
def test_a_record_without_a_check_is_none(data: bytes, reason: str) -> None:
    with pytest.raises(FileUnreadable, match=f"record: it {reason}"):
        take_check(data, "record")


def test_lines_of_a_sparse_terabyte_are_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with LineFile(path) as file:
        file.append([b'{"step":1}'])
    os.truncate(path, 1 << 40)
    lines = read_lines(path)

    assert next(lines) == b'{"step":1}'
    with pytest.raises(FileUnreadable, match="268,435,456 bytes of it or more are damaged"):
        next(lines)
