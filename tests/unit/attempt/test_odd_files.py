"""What a job may put in the place of the files in its own folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus._clock import SYSTEM_CLOCK
from runbus.attempt import LogTail, Pulse, is_running, log_offset_at, observe_folder, read_log
from runbus.attempt._marks import LogMarks


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


ODD = [
    pytest.param(Path.mkdir, id="folder"),
    pytest.param(os.mkfifo, id="pipe"),
    pytest.param(link_to_itself, id="circle"),
    pytest.param(bind, id="socket"),
]

Make = Callable[[Path], None]


@pytest.mark.parametrize("make", ODD)
def test_what_is_no_file_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    # The name of a socket is short.
    monkeypatch.chdir(tmp_path)
    for name in ("exit.json", "pid.json", "beat"):
        make(tmp_path / name)

    assert observe_folder(str(tmp_path)) is None
    assert not is_running(str(tmp_path))
    assert Pulse(str(tmp_path), 0).look(1) is None


@pytest.mark.parametrize("make", ODD)
def test_what_is_no_file_is_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("stdout.log", "cursor"):
        make(tmp_path / name)

    assert LogTail(str(tmp_path / "stdout.log")).poll(final=True) == b""
    assert read_log(str(tmp_path), "stdout", 0) == b""
    assert log_offset_at(str(tmp_path), "stdout", 0) == 0
    marks = LogMarks(str(tmp_path), SYSTEM_CLOCK)
    marks._next_s = 0
    marks.note(1, 1)
    assert marks.last == (0, 0)


def test_a_folder_that_is_a_file_holds_no_record_and_no_log(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.touch()

    assert observe_folder(str(folder)) is None
    assert read_log(str(folder), "stdout", 0) == b""


def test_a_record_whose_times_are_none_still_tells_the_end(tmp_path: Path) -> None:
    record = '{"status":3,"uptime":1,"user":"often","sys":"","reason":""}'
    (tmp_path / "exit.json").write_text(record)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.exit_code, seen.cpu_s) == (3, 0.0)
