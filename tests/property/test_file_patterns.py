"""Which files patterns mean: one law for a folder of this machine and for a shell's answers."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runbus.abc import FilePatterns
from runbus.attempt import FolderFiles
from runbus.executors._shell_files import find_script, look_script, parse_looks

NAMES = st.sampled_from(["a", "b.x", "ab", ".h", "[a]", "c d", "*", "é", "a\\b", "\n"])
PARTS = st.sampled_from(
    ["a", "*", "?", "**", "*.x", ".*", "[ab]*", "[!a]*", "[[]a]", "a\\*", "b.x", "*b*", "é", "[a"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def tree(folder: Path, paths: list[str]) -> None:
    for path in paths:
        place = folder / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path)
        except OSError:
            pass  # a file where a folder should be


def asked(shell: list[str], folder: Path, patterns: tuple[str, ...]) -> dict[str, int]:
    """Return what a shell says of the files that patterns mean: their sizes."""

    def ask(script: bytes) -> bytes:
        return subprocess.run(shell, input=script, stdout=subprocess.PIPE, check=False).stdout

    meant = FilePatterns(patterns)
    _, *found = ask(find_script(b"'%b'" % os.fsencode(folder), patterns)).split(b"\0")[:-1]
    paths = [path.removeprefix(b"./") for path in found if meant.of(os.fsdecode(path[2:]))]
    if not paths:
        return {}
    looks = parse_looks(ask(look_script(os.fsencode(folder), paths)), paths)
    return {one.path: one.size for one in looks if one is not None}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["dash"], id="dash"),
        pytest.param(["bash"], id="bash"),
        pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
    ],
)
def test_a_shell_finds_what_a_look_at_the_folder_finds(words: list[str]) -> None:
    @settings(max_examples=60)
    @given(st.lists(PATHS, max_size=8), st.lists(PATTERNS, min_size=1, max_size=3))
    @example(["a/a", "a/ab/b.x", "ab"], ["a/**"])
    @example(["a/b.x", "a/ab/a/b.x", "ab/b.x"], ["a/**/b.x"])
    @example(["a/ab/a/b.x"], ["?/**/a/*"])
    def law(paths: list[str], patterns: list[str]) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tree(folder, paths)
            own = FolderFiles(name, "/no/home/x/y/z/1")._find(FilePatterns(patterns))

            assert asked(words, folder, tuple(patterns)) == {one.path: one.size for one in own}

    law()


@settings(max_examples=40)
@given(st.lists(PATHS, max_size=8), PATTERNS)
def test_a_walk_finds_each_file_that_a_pattern_means(paths: list[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        tree(Path(name), paths)
        patterns = FilePatterns([pattern])
        found = {one.path for one in FolderFiles(name, "/no/home/x/y/z/1")._find(patterns)}
        every = {
            os.path.relpath(os.path.join(at, file), name)
            for at, _, files in os.walk(name)
            for file in files
        }

        assert found == {path for path in every if patterns.of(path)}
