"""Where an attempt worked, and the files that it left there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.processes import open_files

from runbus.abc import FilePatterns, FoundFile, JobSpec
from runbus.attempt import FolderFiles, as_it_worked, note_work
from runbus.errors import FileUnreadable

APART = "/no/home/experiments/p/e/runs/r"


def job_in(folder: Path, cwd: str) -> JobSpec:
    return JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), cwd=cwd,
        env={}, folder=str(folder), run_folder=APART,
    )  # fmt: skip


def test_where_an_attempt_worked_is_what_was_noted(tmp_path: Path) -> None:
    job = job_in(tmp_path, "/before")
    moved = replace(job, cwd="/elsewhere")
    assert as_it_worked(moved) == moved

    note_work(job)

    assert as_it_worked(moved) == job


@pytest.mark.parametrize("note", [b"", b"{}", b'{"cwd": 1}', b'{"cwd": "/x"}' + b" " * (1 << 20)])
def test_a_note_that_says_nothing_is_passed_over(tmp_path: Path, note: bytes) -> None:
    job = job_in(tmp_path, "/before")
    (tmp_path / "work.json").write_bytes(note)

    assert as_it_worked(job) == job


def test_a_note_that_is_a_folder_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "work.json").mkdir()

    assert as_it_worked(job_in(tmp_path, "/before")).cwd == "/before"


def paths(found: list[FoundFile]) -> list[str]:
    return [one.path for one in found]


@pytest.mark.parametrize("prefix", ["out", "a/b"])
async def test_a_folder_that_the_job_had_elsewhere_is_searched_by_the_paths_of_the_job(
    tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "x").write_text("hello")
    (tmp_path / "below/x").touch()
    files = FolderFiles(str(tmp_path), APART, prefix)

    assert paths(await files.find(FilePatterns([f"{prefix}/x"]))) == [f"{prefix}/x"]
    both = [f"{prefix}/below/x", f"{prefix}/x"]
    assert sorted(paths(await files.find(FilePatterns(["**/x"])))) == both
    assert await files.find(FilePatterns(["x", "below/*"])) == []
    assert await files.look(f"{prefix}/x") == (await files.find(FilePatterns([f"{prefix}/x"])))[0]
    assert await files.read(f"{prefix}/x", 1, 3) == b"ell"


async def test_a_file_is_read_in_pieces_and_what_is_gone_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    files = FolderFiles(str(tmp_path), APART)

    assert await files.read("x", 0, 2) == b"he"
    assert await files.read("x", 3, 9) == b"lo"
    assert await files.read("x", 5, 9) == b""
    assert await files.read("gone", 0, 9) == b""
    assert await files.look("gone") is None
    assert len(await files.find(FilePatterns(["*"]))) == 1
    assert open_files(tmp_path) == []


async def test_what_is_found_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("hello")
    (tmp_path / "program").touch(mode=0o755)
    (tmp_path / "others").touch()
    (tmp_path / "others").chmod(0o655)
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "linked folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")

    files = FolderFiles(str(tmp_path), APART)
    found = {one.path: one for one in await files.find(FilePatterns(["*"]))}

    assert [found["plain"].size, found["plain"].problem] == [5, ""]
    # Who owns it may execute it; what others may do is not kept.
    assert found["program"].is_executable
    assert not found["plain"].is_executable
    assert not found["others"].is_executable
    assert found["link"].problem == "it is a symbolic link"
    assert found["linked folder"].problem == "it is a symbolic link"
    assert found["pipe"].problem == "it is no regular file"
    before = found["plain"].stamp
    (tmp_path / "new").write_text("HELLO")
    (tmp_path / "new").rename(tmp_path / "plain")
    changed = await files.look("plain")
    assert changed is not None
    assert changed.stamp != before


async def test_an_error_of_a_file_names_it() -> None:
    folder = f"/proc/{os.getpid()}"

    with pytest.raises(FileUnreadable, match=f"{folder}/mem.*[iI]nput/output error"):
        await FolderFiles(folder, APART).read("mem", 0, 9)
    with pytest.raises(FileUnreadable, match="/no/such/folder"):
        await FolderFiles("/no/such/folder", APART).find(FilePatterns(["*"]))


async def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x").touch()
    (tmp_path / "link").symlink_to("real")

    found = await FolderFiles(str(tmp_path / "link"), APART).find(FilePatterns(["x"]))

    assert paths(found) == ["x"]


async def test_all_of_the_home_is_passed_over_and_not_only_the_run(tmp_path: Path) -> None:
    run = tmp_path / "home/experiments/p/e/runs/r"
    run.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "home", run.parent):
        (folder / "x").touch()

    assert paths(await FolderFiles(str(tmp_path), str(run)).find(FilePatterns(["**/x"]))) == ["x"]


async def test_folders_are_looked_into_a_hundred_deep(tmp_path: Path) -> None:
    deep = tmp_path
    for depth in range(1, 102):
        deep /= "d"
        deep.mkdir()
        if depth >= 100:
            (deep / "x").touch()

    found = await FolderFiles(str(tmp_path), APART).find(FilePatterns(["**/x"]))

    assert paths(found) == ["d/" * 100 + "x"]
