"""`runbus artifacts -o` hands out what was logged, and nothing else that lies in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runbus
from runbus.cli._app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"weights" * 100


def replaced(make: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """Return what moves a file away and makes something else in its place."""

    def replace(path: Path, outside: Path) -> object:
        path.rename(outside / "moved")
        return make(path, outside)

    return replace


def deep(path: Path, outside: Path) -> None:
    """Nest folders deeper than Python calls functions."""
    at = os.open(path, os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("more", os.O_CREAT, dir_fd=at))
    os.close(at)


def write(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def sparse(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def linked(path: Path, outside: Path) -> None:
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)


def file_for_folder(path: Path, outside: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(CONTENT)


FILE: dict[str, Callable[[Path, Path], object]] = {
    "a link to the same": replaced(lambda path, outside: path.symlink_to(outside / "moved")),
    "a link to a secret": replaced(lambda path, outside: path.symlink_to(outside / "secret")),
    "a dangling link": replaced(lambda path, outside: path.symlink_to(outside / "nothing")),
    "a pipe": replaced(lambda path, outside: os.mkfifo(path)),
    "a folder": replaced(lambda path, outside: path.mkdir()),
    "other bytes": lambda path, outside: write(path, CONTENT[:-1] + b"?"),
    "fewer bytes": lambda path, outside: write(path, CONTENT[:-1]),
    "a sparse terabyte": replaced(sparse),
    "nothing": lambda path, outside: path.unlink(),
    "a link above it": lambda path, outside: linked(path.parent, outside),
    "a link far above it": lambda path, outside: linked(path.parent.parent, outside),
}
FOLDER: dict[str, Callable[[Path, Path], object]] = {
    "one more file": lambda path, outside: (path / "more").write_bytes(b""),
    "a link in it": lambda path, outside: (path / "more").symlink_to(outside / "secret"),
    "a pipe in it": lambda path, outside: os.mkfifo(path / "more"),
    "a file less": lambda path, outside: (path / "part").unlink(),
    "a link for a file": lambda path, outside: linked(path / "part", outside),
    "other names": lambda path, outside: (path / "part").rename(path / "trap"),
    "a link to it": replaced(lambda path, outside: path.symlink_to(outside / "moved")),
    "a file": file_for_folder,
    "very deep folders": deep,
}
HARMS = {f"file: {name}": harm for name, harm in FILE.items()} | {
    f"folder: {name}": harm for name, harm in FOLDER.items()
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"SECRET!" * 100)
    return folder


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_not_what_was_logged_is_refused_by_name_and_the_rest_is_copied(
    harm: str, outside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "model"
    if harm.startswith("folder"):
        source.mkdir()
        (source / "part").write_bytes(CONTENT)
    else:
        source.write_bytes(CONTENT)
    (tmp_path / "other.txt").write_text("as it was")
    with runbus.init(name="kept") as run:
        artifact = run.log_artifact(source)
        run.log_artifact(tmp_path / "other.txt")
    assert artifact is not None
    shelf = Path(artifact.path)
    os.chmod(shelf.parent, 0o700)
    HARMS[harm](shelf, outside)
    out = tmp_path / "out"

    try:
        assert run_command(["artifacts", "kept", "-o", str(out)]) == 1
    finally:
        # Python's own functions, and so pytest's, cannot.
        subprocess.run(["rm", "-rf", shelf.parent], check=True)

    printed = capsys.readouterr()
    assert "error: 'model' is not copied: " in printed.err
    if harm != "file: a link far above it":
        assert os.listdir(out) == ["other.txt"]
        assert (out / "other.txt").read_text() == "as it was"
        assert printed.out == f"{out / 'other.txt'}\n"
    else:
        assert "'other.txt' is not copied" in printed.err
    for path in out.rglob("*"):
        assert b"SECRET" not in path.read_bytes()
