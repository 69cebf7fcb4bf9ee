"""Packages of commits, of real repositories."""

from __future__ import annotations

import os
import subprocess
import zlib
from pathlib import Path

import pytest

from runbus.errors import (
    GitMissing,
    NotARepository,
    NotFound,
    NothingToPackage,
    RepositoryNotTrusted,
    SubmoduleMissing,
    TreeDirty,
)
from runbus.packaging import GitArchivePackager, build_package_blocking

from .conftest import Repository, unpacked

STRANGE = [
    b"with space.py",
    b"with\nnewline",
    b"-rf",
    b"--help",
    b"non-utf8-\xff\xfe",
    "ünïcode ☃".encode(),
    b"quo'te\"s",
    b"$(touch pwned);x",
    b":(top)magic",
    b"deep/" + b"n" * 200 + b"/" + b"m" * 200,
]


def names(archive: str, tmp_path: Path) -> set[bytes]:
    return set(unpacked(archive, tmp_path / "out"))


def test_a_commit_is_packaged_and_told(repository: Repository, tmp_path: Path) -> None:
    commit = repository.git("rev-parse", "HEAD").strip()

    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found == {
        b"train.py": b"print('hi')\n",
        b"src/model.py": b"x = 1\n",
        b"run.sh": b"#!/bin/sh\n",
    }
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "train.py", os.X_OK)
    (origin,) = package.manifest.origins
    assert (origin.commit, origin.changed, origin.diff_sha256) == (commit, (), "")
    assert [file.path for file in package.manifest.files] == ["run.sh", "src/model.py", "train.py"]


def test_the_name_of_a_package_is_its_digest(repository: Repository, home: Path) -> None:
    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    words = ["sh", "-c", 'gzip -dc "$0" | sha256sum', package.path]
    told = subprocess.run(words, check=True, capture_output=True, text=True)
    assert told.stdout.split()[0] == package.sha256
    assert Path(package.path) == home / "cache" / "packages" / f"{package.sha256}.tar.gz"
    assert {path.suffix for path in Path(package.path).parent.iterdir()} == {".gz", ".json"}


def test_the_digest_does_not_depend_on_how_the_archive_is_compressed(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Builds of zlib differ in what they make of the same bytes, as its levels do."""
    first = build_package_blocking(GitArchivePackager(), str(repository.path))
    before = Path(first.path).read_bytes()
    deflate = zlib.compressobj
    monkeypatch.setattr(zlib, "compressobj", lambda level, *rest: deflate(1, *rest))

    second = build_package_blocking(GitArchivePackager(), str(repository.path))

    assert Path(second.path).read_bytes() != before
    assert second.sha256 == first.sha256


def test_the_same_tree_in_another_clone_has_the_same_digest(
    repository: Repository, tmp_path: Path
) -> None:
    first = build_package_blocking(GitArchivePackager(), str(repository.path))
    clone = tmp_path / "clone"
    repository.git("clone", "-q", str(repository.path), str(clone))

    second = build_package_blocking(GitArchivePackager(), str(clone))

    assert (second.sha256, second.path) == (first.sha256, first.path)


def test_a_commit_and_the_same_files_on_disk_have_the_same_digest(
    repository: Repository,
) -> None:
    clean = build_package_blocking(GitArchivePackager(), str(repository.path))
    repository.write("train.py", "other")
    repository.commit()
    repository.write("train.py", "print('hi')\n")

    dirty = build_package_blocking(
        GitArchivePackager(include_uncommitted=True), str(repository.path)
    )

    assert dirty.sha256 == clean.sha256
    assert dirty.manifest.tree_sha256 == clean.manifest.tree_sha256
    assert dirty.manifest.origins[0].changed == ("train.py",)


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_any_name_is_packaged(repository: Repository, tmp_path: Path, name: bytes) -> None:
    repository.write(name, b"inside")
    repository.commit()

    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    assert unpacked(package.path, tmp_path / "out")[name] == b"inside"


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_any_name_is_packaged_untracked_and_changed(
    repository: Repository, tmp_path: Path, name: bytes
) -> None:
    repository.write(b"tracked/" + name, b"old")
    repository.commit()
    repository.write(b"tracked/" + name, b"new")
    repository.write(b"more/" + name, b"untracked")
    packager = GitArchivePackager(include_uncommitted=True, include_untracked=True)

    package = build_package_blocking(packager, str(repository.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"tracked/" + name] == b"new"
    assert found[b"more/" + name] == b"untracked"


def test_changes_are_left_out_but_told(repository: Repository, tmp_path: Path) -> None:
    repository.write("train.py", "changed")
    repository.write("new.py")

    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"train.py"] == b"print('hi')\n"
    assert b"new.py" not in found
    (origin,) = package.manifest.origins
    assert origin.changed == ("train.py",)
    assert len(origin.diff_sha256) == 64
    assert not origin.included


def test_a_file_deleted_on_disk_is_left_out_with_the_changes(
    repository: Repository, tmp_path: Path
) -> None:
    (repository.path / "src" / "model.py").unlink()

    package = build_package_blocking(
        GitArchivePackager(include_uncommitted=True), str(repository.path)
    )

    assert b"src/model.py" not in names(package.path, tmp_path)


def test_what_git_ignores_is_never_untracked(repository: Repository, tmp_path: Path) -> None:
    repository.write(".gitignore", "*.log\n")
    repository.write("a.log")
    repository.write("b.txt")

    package = build_package_blocking(
        GitArchivePackager(include_untracked=True), str(repository.path)
    )

    found = names(package.path, tmp_path)
    assert b"b.txt" in found
    assert b"a.log" not in found


def test_more_files_come_by_pattern_even_ignored_ones(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write(".gitignore", "data/\n")
    repository.write("data/a.bin", b"\0\1")
    repository.commit()

    package = build_package_blocking(
        GitArchivePackager(include_pattern="data/*.bin"), str(repository.path)
    )

    assert unpacked(package.path, tmp_path / "out")[b"data/a.bin"] == b"\0\1"


def test_a_subpath_becomes_the_top(repository: Repository, tmp_path: Path) -> None:
    repository.write("src/model.py", "x = 2\n")
    packager = GitArchivePackager(subpath="src/", include_uncommitted=True)

    package = build_package_blocking(packager, str(repository.path))

    assert unpacked(package.path, tmp_path / "out") == {b"model.py": b"x = 2\n"}


def test_another_ref_is_packaged_as_it_was(repository: Repository, tmp_path: Path) -> None:
    repository.git("tag", "v1")
    repository.write("train.py", "second")
    repository.commit()

    package = build_package_blocking(GitArchivePackager("v1"), str(repository.path))

    assert unpacked(package.path, tmp_path / "out")[b"train.py"] == b"print('hi')\n"


def test_a_link_is_packaged_as_it_is(repository: Repository, tmp_path: Path) -> None:
    (repository.path / "link").symlink_to("../outside/никогда")
    repository.commit()

    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"link"] == b"-> " + "../outside/никогда".encode()


def test_files_marked_export_ignore_are_left_out(repository: Repository, tmp_path: Path) -> None:
    repository.write(".gitattributes", "secret.txt export-ignore\n")
    repository.write("secret.txt")
    repository.commit()

    package = build_package_blocking(GitArchivePackager(), str(repository.path))

    assert b"secret.txt" not in names(package.path, tmp_path)


@pytest.fixture
def nested(tmp_path: Path) -> Repository:
    """A repository with a submodule that has a submodule."""
    inner = Repository(tmp_path / "inner")
    inner.write("inner.py", "first\n")
    inner.commit()
    middle = Repository(tmp_path / "middle")
    middle.write("middle.py")
    middle.git("submodule", "add", "-q", str(inner.path), "in ner")
    middle.commit()
    outer = Repository(tmp_path / "outer")
    outer.write("outer.py")
    outer.git("submodule", "add", "-q", str(middle.path), "libs/mid")
    outer.git("submodule", "update", "--init", "--recursive", "-q")
    outer.commit()
    return outer


def test_submodules_are_packaged_at_any_depth(nested: Repository, tmp_path: Path) -> None:
    package = build_package_blocking(GitArchivePackager(), str(nested.path))

    found = unpacked(package.path, tmp_path / "out")
    assert found[b"libs/mid/in ner/inner.py"] == b"first\n"
    assert b"libs/mid/middle.py" in found
    prefixes = [origin.prefix for origin in package.manifest.origins]
    assert prefixes == ["", "libs/mid", "libs/mid/in ner"]


def test_a_submodule_is_packaged_at_the_commit_that_is_recorded(
    nested: Repository, tmp_path: Path
) -> None:
    inside = nested.path / "libs/mid/in ner"
    (inside / "inner.py").write_text("second\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "later"]
    subprocess.run(git, cwd=inside, check=True, timeout=120)

    recorded = build_package_blocking(GitArchivePackager(), str(nested.path))
    on_disk = build_package_blocking(GitArchivePackager(include_uncommitted=True), str(nested.path))

    path = b"libs/mid/in ner/inner.py"
    assert unpacked(recorded.path, tmp_path / "recorded")[path] == b"first\n"
    assert unpacked(on_disk.path, tmp_path / "disk")[path] == b"second\n"


def test_submodules_can_be_left_out(nested: Repository, tmp_path: Path) -> None:
    package = build_package_blocking(GitArchivePackager(include_submodules=False), str(nested.path))

    assert names(package.path, tmp_path) == {b"outer.py", b".gitmodules"}


def test_a_submodule_that_is_not_there_is_refused(nested: Repository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    nested.git("clone", "-q", str(nested.path), str(clone))

    with pytest.raises(SubmoduleMissing, match="libs/mid") as caught:
        build_package_blocking(GitArchivePackager(), str(clone))

    assert "git submodule update --init" in caught.value.hint


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARepository) as caught:
        build_package_blocking(GitArchivePackager(), str(tmp_path))

    assert "PatternPackager" in caught.value.hint


def test_an_unknown_ref_is_refused_with_what_is_near(repository: Repository) -> None:
    repository.git("branch", "release-1")

    with pytest.raises(NotFound) as caught:
        build_package_blocking(GitArchivePackager("relese-1"), str(repository.path))

    assert caught.value.hint == "did you mean 'release-1'"


@pytest.mark.parametrize("ref", ["--upload-pack=x", "-h", "HEAD; true", "", "$(x)"])
def test_a_ref_is_never_an_option_or_a_command(repository: Repository, ref: str) -> None:
    with pytest.raises(NotFound):
        build_package_blocking(GitArchivePackager(ref), str(repository.path))


def test_a_subpath_that_is_not_in_the_commit_is_refused(repository: Repository) -> None:
    with pytest.raises(NothingToPackage) as caught:
        build_package_blocking(GitArchivePackager(subpath="scr"), str(repository.path))

    assert caught.value.hint == "did you mean 'src'"
    with pytest.raises(NothingToPackage) as caught:
        build_package_blocking(GitArchivePackager(subpath="elsewhere"), str(repository.path))
    commit = repository.git("rev-parse", "HEAD")[:12]
    assert caught.value.hint == f"commit {commit} has no folder 'elsewhere'"


def test_a_tree_that_must_be_clean_is_refused_when_it_is_not(repository: Repository) -> None:
    repository.write("train.py", "changed")
    repository.write("new.py")
    root = str(repository.path)

    with pytest.raises(TreeDirty, match=r"train\.py"):
        build_package_blocking(GitArchivePackager(check_uncommitted_changes=True), root)
    with pytest.raises(TreeDirty, match=r"new\.py"):
        build_package_blocking(GitArchivePackager(check_untracked_files=True), root)


def test_a_missing_git_says_so_and_what_to_do(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(GitMissing) as told:
        build_package_blocking(GitArchivePackager(), str(repository.path))

    assert "git cannot be run: it is not in PATH" in str(told.value)
    assert "PatternPackager" in told.value.hint


@pytest.mark.parametrize("name", ["own", "a b'c", "line\nend"])
def test_another_user_s_repository_says_so_and_what_to_do(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = repository.path.rename(repository.path.parent / name)
    # Git's own way to have it believe that.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(RepositoryNotTrusted) as told:
        build_package_blocking(GitArchivePackager(), str(path))

    assert told.value.repository == str(path)
    monkeypatch.setenv("HOME", str(path.parent))
    subprocess.run(told.value.hint.partition(": ")[2], shell=True, check=True)
    assert build_package_blocking(GitArchivePackager(), str(path)).sha256
