"""Whatever a tree holds: the same tree is the same archive, and comes out as it went in."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runbus._home import Home
from runbus.packaging import PatternPackager, build_package_blocking

NAME = st.binary(min_size=1, max_size=40).filter(
    lambda name: name not in {b".", b".."} and not set(name) & {0, ord("/")}
)
TREE = st.dictionaries(
    NAME,
    st.tuples(st.binary(max_size=200), st.booleans(), st.sampled_from(["file", "link", "deep"])),
    min_size=1,
    max_size=6,
)


def make(top: bytes, tree: dict[bytes, tuple[bytes, bool, str]], *, order: int) -> None:
    """Put a tree on disk, in one order or the other, with times of its own."""
    os.mkdir(top)
    for name, (data, executable, kind) in list(tree.items())[::order]:
        path = os.path.join(top, name)
        if kind == "link":
            os.symlink(data.replace(b"\0", b"") or b"x", path)
            continue
        if kind == "deep":
            os.mkdir(path)
            path = os.path.join(path, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, (0o700 if executable else 0o600) | (0o044 if order == 1 else 0))
        os.utime(path, (order + 5, order + 7))


def told(top: bytes) -> dict[bytes, tuple[bytes, bool]]:
    """Return what lies in a folder."""
    found = {}
    for parent, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                found[os.path.relpath(path, top)] = (b"-> " + os.readlink(path), False)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = (file.read(), os.access(path, os.X_OK))
    return found


@settings(max_examples=60)
@given(TREE)
def test_the_same_tree_is_the_same_archive_and_comes_out_as_it_went_in(
    tree: dict[bytes, tuple[bytes, bool, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(os.path.join(folder, "home"))
        tops = [os.fsencode(Path(folder) / name) for name in ("one", "two", "out")]
        make(tops[0], tree, order=1)
        make(tops[1], tree, order=-1)

        first, second = (
            build_package_blocking(PatternPackager("*"), os.fsdecode(top), home=home)
            for top in tops[:2]
        )
        os.mkdir(tops[2])
        subprocess.run(["tar", "-xzf", first.path, "-C", tops[2]], check=True, timeout=120)

        assert first.sha256 == second.sha256
        assert told(tops[2]) == told(tops[0])
