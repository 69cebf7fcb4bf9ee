"""Packages of patterns, and packages of packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbus.abc import Contents
from runbus.errors import NothingToPackage, PackageUnreadable, UsageError
from runbus.packaging import (
    GitArchivePackager,
    HybridPackager,
    PatternPackager,
    build_package,
    build_package_blocking,
)

from .conftest import Repository, unpacked


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "a tree"
    for name in (
        "a.py", "b.yaml", "pkg/c.py", "pkg/c.pyc", "pkg/__pycache__/c.py", "tests/t.py",
        "deep/er/d.py", "deep/er/data.bin",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def chosen(tree: Path, *include: str, exclude: tuple[str, ...] = ()) -> list[str]:
    found = PatternPackager(include, exclude).contents(str(tree), "")
    return sorted(map(os.fsdecode, found.entries))


@pytest.mark.parametrize(
    ("include", "paths"),
    [
        ("*.yaml", ["b.yaml"]),
        ("/a.py", ["a.py"]),
        ("pkg/*.py", ["pkg/c.py"]),
        ("er", ["deep/er/d.py", "deep/er/data.bin"]),
        ("er/", ["deep/er/d.py", "deep/er/data.bin"]),
        ("deep/**/*.py", ["deep/er/d.py"]),
        ("deep/**", ["deep/er/d.py", "deep/er/data.bin"]),
        ("**/d.py", ["deep/er/d.py"]),
        ("[ab].*", ["a.py", "b.yaml"]),
        ("[!a].yaml", ["b.yaml"]),
        ("?.yaml", ["b.yaml"]),
    ],
)
def test_patterns_read_as_in_a_gitignore_file(tree: Path, include: str, paths: list[str]) -> None:
    assert chosen(tree, include) == paths


def test_what_is_excluded_is_left_out(tree: Path) -> None:
    exclude = ("__pycache__", "*.pyc", "tests/")

    assert chosen(tree, "*.py", exclude=exclude) == ["a.py", "deep/er/d.py", "pkg/c.py"]


def test_an_excluded_folder_is_not_looked_into(tree: Path) -> None:
    """Root reads everything, so a name that is no folder stands in for a forbidden one."""
    (tree / "loop").symlink_to("loop")

    assert chosen(tree, "*.py", exclude=("pkg", "deep", "tests")) == ["a.py"]


def test_paths_are_relative_to_the_relative_path(tree: Path, tmp_path: Path) -> None:
    package = build_package_blocking(PatternPackager("*.py", relative_path="deep"), str(tree))

    assert unpacked(package.path, tmp_path / "out") == {b"er/d.py": b"deep/er/d.py"}


def test_links_are_packaged_as_links_and_pipes_are_left_out(tree: Path, tmp_path: Path) -> None:
    (tree / "to-file").symlink_to("a.py")
    (tree / "to-folder").symlink_to("pkg")
    (tree / "dangling").symlink_to("/nowhere/at all")
    os.mkfifo(tree / "pipe")

    package = build_package_blocking(PatternPackager("*"), str(tree))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"to-file"] == b"-> a.py"
    assert found[b"to-folder"] == b"-> pkg"
    assert found[b"dangling"] == b"-> /nowhere/at all"
    assert b"pipe" not in found


@pytest.mark.parametrize(
    ("include", "hint"),
    [
        ("*.pyx", "did you mean '*.py'"),
        ("b.yml", "did you mean 'b.yaml'"),
        ("qqqqqqq", "there are 8 files that are neither included nor excluded"),
    ],
)
def test_an_empty_match_is_refused_with_what_is_near(tree: Path, include: str, hint: str) -> None:
    with pytest.raises(NothingToPackage) as caught:
        build_package_blocking(PatternPackager(include), str(tree))

    assert (caught.value.hint or "").startswith(hint)


def test_git_s_own_folder_is_taken_only_if_a_pattern_names_it(repository: Repository) -> None:
    repository.write(".gitignore")
    repository.write("sub/.git", "gitdir: elsewhere\n")
    root = str(repository.path)

    for include in ("*", "**", "**/*"):
        paths = {
            file.path
            for file in build_package_blocking(PatternPackager(include), root).manifest.files
        }
        assert paths == {".gitignore", "train.py", "src/model.py", "run.sh"}
    for patterns in (["*", ".git"], [".git/**"], [".git/HEAD"]):
        package = build_package_blocking(PatternPackager(patterns), root)
        assert ".git/HEAD" in {file.path for file in package.manifest.files}


def test_what_is_neither_file_nor_link_is_told_as_such(tree: Path) -> None:
    os.mkfifo(tree / "ff")

    with pytest.raises(NothingToPackage) as caught:
        build_package_blocking(PatternPackager("ff"), str(tree))

    assert caught.value.hint == "'ff' is neither a file nor a link; nothing else is packaged"


def test_nothing_is_left_behind_by_a_refusal(tree: Path, home: Path) -> None:
    (tree / "gone").write_text("x")

    class Lying(PatternPackager):
        def contents(self, root: str, scratch: str) -> Contents:
            found = super().contents(root, scratch)
            (tree / "gone").unlink()
            return found

    with pytest.raises(PackageUnreadable, match="gone"):
        build_package_blocking(Lying("*"), str(tree))

    assert list((home / "cache" / "packages").iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageUnreadable, match="no such file"):
        build_package_blocking(PatternPackager("*"), str(tmp_path / "nowhere"))


async def test_packaging_from_async_code_gives_the_same(tree: Path) -> None:
    first = build_package_blocking(PatternPackager("*"), str(tree))

    assert await build_package(PatternPackager("*"), str(tree)) == first


def test_a_list_of_packagers_lies_together_and_the_later_wins(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write("train.py", "on disk")
    packager = HybridPackager([GitArchivePackager(), PatternPackager("train.py")])

    package = build_package_blocking(packager, str(repository.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"train.py"] == b"on disk"
    assert b"src/model.py" in found


def test_named_packagers_lie_in_folders_of_their_names(
    repository: Repository, tmp_path: Path
) -> None:
    parts = {"code": GitArchivePackager(), "scripts": PatternPackager("*.sh")}

    package = build_package_blocking(HybridPackager(parts), str(repository.path))
    flat = build_package_blocking(HybridPackager(parts, extract_at_root=True), str(repository.path))

    assert b"scripts/run.sh" in unpacked(package.path, tmp_path / "out")
    assert b"run.sh" in unpacked(flat.path, tmp_path / "flat")
    assert package.manifest.origins[0].prefix == "code"


@pytest.mark.parametrize("name", ["../up", "/abs", "a/../b", "."])
def test_a_name_that_leads_out_of_the_package_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a folder"):
        HybridPackager({name: PatternPackager("*")})


def test_a_hybrid_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        HybridPackager([])


def test_a_file_where_another_has_a_folder_is_refused(tree: Path) -> None:
    (tree / "deep2").mkdir()
    (tree / "deep2" / "er").write_text("a file")
    parts = [
        PatternPackager("*", relative_path="deep"),
        PatternPackager("*", relative_path="deep2"),
    ]

    with pytest.raises(UsageError, match="a file in one package and a folder in another"):
        build_package_blocking(HybridPackager(parts), str(tree))
