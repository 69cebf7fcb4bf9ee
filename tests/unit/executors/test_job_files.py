"""The files that patterns mean: what is a pattern, and what it means."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runbus import Command, Job
from runbus.abc import FilePatterns
from runbus.attempt import FolderFiles
from runbus.errors import FieldInvalid, FileUnreadable

APART = "/no/home/experiments/p/e/runs/r"


@pytest.mark.parametrize(
    ("pattern", "path", "is_meant"),
    [
        ("*.ckpt", "a.ckpt", True),
        ("*.ckpt", "below/a.ckpt", False),
        ("**/*.ckpt", "a.ckpt", True),
        ("**/*.ckpt", "below/deep/a.ckpt", True),
        ("out/**/*.json", "out/a.json", True),
        ("out/**/*.json", "out/b/c/a.json", True),
        ("out/**/*.json", "other/out/a.json", False),
        ("out/**", "out/b/c", True),
        ("out/**", "out", False),
        ("*", ".hidden", False),
        ("**/x", ".git/x", False),
        (".*", ".hidden", True),
        (".git/**", ".git/objects/x", True),
        ("step-[0-9]?.pt", "step-12.pt", True),
        ("step-[!0-9]?.pt", "step-12.pt", False),
        ("a/**/b/**/c", "a/b/x/y/c", True),
        ("Model.pt", "model.pt", False),
    ],
)
def test_a_pattern_means_paths_from_the_folder_on(pattern: str, path: str, is_meant: bool) -> None:
    assert bool(FilePatterns([pattern]).of(path)) is is_meant


@pytest.mark.parametrize(
    ("pattern", "reason", "hint"),
    [
        ("", "it is empty", "*.ckpt"),
        ("/etc/passwd", "leads out", "from the folder on"),
        ("~/x", "leads out", "from the folder on"),
        ("../x", "leads out", "without .."),
        ("a/../../x", "leads out", "without .."),
        ("a//x", "empty", "one slash"),
        ("./x", "empty", "no ./"),
        ("out/", "means a folder", "out/**"),
        ("a**/x", "whole folders", "alone between slashes"),
        ("a\nb", "cannot be printed", "?"),
        ("*" * 10_000, "10000 characters", "500 at the most"),
    ],
    ids=str,
)
def test_what_is_no_pattern_is_refused_with_a_hint(pattern: str, reason: str, hint: str) -> None:
    with pytest.raises(FieldInvalid, match="artifacts is") as raised:
        Job(name="j", task=Command(("true",)), artifacts=["*.ok", pattern])

    assert reason in str(raised.value)
    assert len(str(raised.value)) < 200
    assert hint in (raised.value.hint or "")


@pytest.mark.parametrize("given", ["*.ckpt", {"a": 1}, [1], 5, ["x"] * 101], ids=str)
def test_what_is_no_list_of_patterns_is_refused(given: object) -> None:
    with pytest.raises(FieldInvalid, match="artifacts is"):
        Job(name="j", task=Command(("true",)), artifacts=given)  # type: ignore[arg-type]


def test_hostile_patterns_take_no_time() -> None:
    patterns = FilePatterns(["*a" * 250, "/".join(["**", "*a*"] * 70), "[a" * 200])
    begun = time.process_time()

    assert patterns.of("/".join(["a" * 200] * 60) + "b") == ()
    assert time.process_time() - begun < 2


async def test_a_link_in_the_path_is_not_followed_also_where_it_is_planted_later(
    tmp_path: Path,
) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "sub").mkdir(parents=True)
    outside.mkdir()
    (inside / "sub" / "x").write_text("mine")
    (outside / "x").write_text("theirs")
    files = FolderFiles(str(inside), APART)
    (found,) = await files.find(FilePatterns(["sub/x"]))

    os.rename(inside / "sub", inside / "moved")
    os.symlink(outside, inside / "sub")

    assert await files.find(FilePatterns(["sub/x", "**/x"])) == [found._replace(path="moved/x")]
    for what in (files.look("sub/x"), files.read("sub/x", 0, 9), files.look("moved/../../out/x")):
        with pytest.raises(FileUnreadable):
            await what


async def test_our_own_home_in_the_folder_is_passed_over(tmp_path: Path) -> None:
    run = tmp_path / "home/experiments/p/e/runs/r"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")

    found = await FolderFiles(str(tmp_path), str(run)).find(FilePatterns(["**/*.json"]))

    assert [one.path for one in found] == ["mine.json"]


async def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="no such file"):
        await FolderFiles(str(tmp_path / "gone"), APART).find(FilePatterns(["*"]))


async def test_folders_that_no_pattern_reaches_are_not_looked_into(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(120):
        deep /= "d"
        deep.mkdir()
    (tmp_path / "top.x").touch()
    (deep / "far.x").touch()
    (tmp_path / "closed").mkdir()

    found = await FolderFiles(str(tmp_path), APART).find(FilePatterns(["**/*.x"]))

    assert [one.path for one in found] == ["top.x"]
