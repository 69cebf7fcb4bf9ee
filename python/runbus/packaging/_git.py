"""Packages of a commit, as `git archive` tells it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
from collections.abc import Sequence  # noqa: TC003 - the configuration reads the signature
from typing import NamedTuple

from runbus.abc import Contents, Entry, Origin, Packager
from runbus.errors import (
    GitFailed,
    GitMissing,
    GitRefNotFound,
    NotARepository,
    NothingToPackage,
    RepositoryNotTrusted,
    SubmoduleMissing,
    TreeDirty,
    near_matches,
    os_reason,
)
from runbus.packaging._pattern import as_patterns, disk_entry, select

__all__ = ["GitArchivePackager"]

_TIMEOUT_S = 300.0
_SUBMODULE = b"160000"
# The name may hold quotes and line ends: up to the last quote before what follows.
_DUBIOUS = re.compile(r"detected dubious ownership in repository at '(.*?)'\n", re.DOTALL)


class GitArchivePackager(Packager):
    """Packages a commit, with what is asked for on top.

    Files marked `export-ignore` are left out and `export-subst` is done, as by `git archive`. A
    submodule is packaged at the commit that the commit above it records, at its own path.

    Args:
        ref: The commit, branch or tag.
        subpath: The folder of the repository to package; its top becomes the package's top.
        include_submodules: Whether to package submodules, at any depth.
        include_uncommitted: Whether to take tracked files as they lie on disk.
        include_untracked: Whether to take files that git neither tracks nor ignores.
        include_pattern: Patterns of more files, tracked or not; see `PatternPackager`.
        include_pattern_relative_path: The folder, within the root, that these start from.
        check_uncommitted_changes: Whether to refuse a tree with uncommitted changes.
        check_untracked_files: Whether to refuse a tree with untracked files.
    """

    def __init__(
        self,
        ref: str = "HEAD",
        subpath: str = "",
        *,
        include_submodules: bool = True,
        include_uncommitted: bool = False,
        include_untracked: bool = False,
        include_pattern: str | Sequence[str] = (),
        include_pattern_relative_path: str = "",
        check_uncommitted_changes: bool = False,
        check_untracked_files: bool = False,
    ) -> None:
        self.ref = ref
        self.subpath = os.path.normpath(subpath).strip("/") if subpath.strip("/.") else ""
        self.include_submodules = include_submodules
        self.include_uncommitted = include_uncommitted
        self.include_untracked = include_untracked
        self.include_pattern = as_patterns(include_pattern)
        self.include_pattern_relative_path = include_pattern_relative_path
        self.check_uncommitted_changes = check_uncommitted_changes
        self.check_untracked_files = check_untracked_files

    def contents(self, root: str, scratch: str) -> Contents:
        """Return the commit's files and what is asked for on top.

        Raises:
            NotARepository: The root is in no git repository.
            GitRefNotFound: There is no such ref.
            NothingToPackage: There is no file below the subpath in that commit.
            SubmoduleMissing: A submodule is not checked out.
            TreeDirty: The tree is not clean, and was to be checked.
            GitMissing: There is no git that can be run.
            RepositoryNotTrusted: The repository belongs to another user.
            GitFailed: git failed.
        """
        top = _top_of(root)
        commit = _commit_of(top, self.ref)
        tree = _Tree(top, commit, os.fsencode(self.subpath), b"")
        entries: dict[bytes, Entry] = {}
        origins: list[Origin] = []
        waiting = [tree]
        while waiting:
            tree = waiting.pop(0)
            origins.append(self._add_tree(tree, entries, scratch, index=len(origins)))
            if self.include_submodules:
                waiting += _submodules(tree)
        if self.include_pattern:
            start = os.path.join(root, self.include_pattern_relative_path)
            entries |= select(start, self.include_pattern, ())
        if not entries:
            reason = f"commit {commit[:12]} holds no file there"
            raise NothingToPackage(top, (self.subpath or ".",), reason=reason)
        place = os.path.join(_as_given(top, root), self.subpath)
        return Contents(entries=entries, origins=tuple(origins), top=place)

    def _add_tree(
        self, tree: _Tree, entries: dict[bytes, Entry], scratch: str, *, index: int
    ) -> Origin:
        """Add the files of one repository to `entries`."""
        archive = os.path.join(scratch, f"{index}.tar")
        found = _archived(tree, archive)
        changed = _changed(tree)
        untracked: list[bytes] = []
        if self.include_untracked or self.check_untracked_files:
            untracked = _untracked(tree)
        if self.check_uncommitted_changes and changed:
            raise TreeDirty(tree.top, _shown(changed), "uncommitted changes")
        if self.check_untracked_files and untracked:
            raise TreeDirty(tree.top, _shown(untracked), "untracked files")
        fresh = [*(changed if self.include_uncommitted else ())]
        fresh += untracked if self.include_untracked else ()
        for path in fresh:
            entry = disk_entry(os.path.join(os.fsencode(tree.top), tree.subpath, path))
            if entry is None:
                found.pop(path, None)
            else:
                found[path] = entry
        entries |= {os.path.join(tree.prefix, path): entry for path, entry in found.items()}
        return Origin(
            path=tree.top,
            ref=self.ref if index == 0 else tree.commit,
            commit=tree.commit,
            prefix=tree.prefix.decode("utf-8", "backslashreplace"),
            changed=_shown(changed),
            diff_sha256=_diff_digest(tree) if changed else "",
            included=self.include_uncommitted,
        )


class _Tree(NamedTuple):
    """A folder of a commit of a repository, and where in the package it goes."""

    top: str
    commit: str
    subpath: bytes
    prefix: bytes

    @property
    def treeish(self) -> bytes:
        return self.commit.encode() + b":" + self.subpath

    @property
    def limits(self) -> list[bytes]:
        # Literal: a folder may be named `:x` or `*`.
        return [b"--", b":(top,literal)" + self.subpath] if self.subpath else []


def _git(top: str, *arguments: str | bytes) -> bytes:
    """Run git in a folder and return what it prints.

    Raises:
        GitMissing: There is no git that can be run.
        RepositoryNotTrusted: The repository belongs to another user.
        GitFailed: It failed, or took more than five minutes.
    """
    argv = [b"git", b"-C", os.fsencode(top)]
    # Neither a pager, a color, a file system monitor nor quoted names: what git prints is data.
    argv += [b"-c", b"core.fsmonitor=false", b"-c", b"core.quotePath=false", b"--no-pager"]
    argv += [os.fsencode(argument) for argument in arguments]
    shown = next(os.fsdecode(argument) for argument in arguments)
    environment = {
        # Set inside of hooks: they would override the folder.
        name: value
        for name, value in os.environ.items()
        if name not in {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
    } | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitMissing(top, "it is not in PATH") from error
    except OSError as error:
        raise GitMissing(top, os_reason(error)) from error
    except subprocess.TimeoutExpired as error:
        raise GitFailed(shown, top, str(error)) from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "surrogateescape").strip()
        if found := _DUBIOUS.search(said):
            raise RepositoryNotTrusted(top, found[1])
        last = said.rpartition("\n")[2].encode("utf-8", "replace").decode()
        raise GitFailed(shown, top, last or f"exit code {done.returncode}")
    return done.stdout


def _top_of(root: str) -> str:
    try:
        # Only one line break is git's own: the folder's name may end in another.
        return os.fsdecode(_git(root, "rev-parse", "--show-toplevel").removesuffix(b"\n"))
    except GitFailed as error:
        raise NotARepository(root, error.reason) from error


def _as_given(top: str, root: str) -> str:
    """Return a repository's top folder by the links that lead to `root`: git knows none."""
    given = os.path.abspath(root)
    below = os.path.relpath(os.path.realpath(given), os.path.realpath(top))
    if below == ".":
        return given
    return given.removesuffix(f"/{below}") if given.endswith(f"/{below}") else top


def _commit_of(top: str, ref: str) -> str:
    try:
        name = f"{ref}^{{commit}}"
        return _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", name).decode()[:-1]
    except GitFailed as error:
        known = _git(top, "for-each-ref", "--format=%(refname:short)").decode("utf-8", "replace")
        raise GitRefNotFound(ref, near_matches(ref, known.split())) from error


def _archived(tree: _Tree, archive: str) -> dict[bytes, Entry]:
    """Have git write the tree as a tar file and return what is where in it."""
    try:
        _git(tree.top, "archive", "--format=tar", b"--output=" + os.fsencode(archive), tree.treeish)
    except GitFailed as error:
        if "not a tree object" in error.reason or "not a valid object" in error.reason:
            raise _no_such_folder(tree) from error
        raise
    found: dict[bytes, Entry] = {}
    source = os.fsencode(archive)
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as members:
        for member in members:
            path = os.fsencode(member.name)
            if member.issym():
                found[path] = Entry(target=os.fsencode(member.linkname))
            elif member.isreg():
                found[path] = Entry(
                    source=source,
                    offset=member.offset_data,
                    size=member.size,
                    executable=bool(member.mode & 0o100),
                )
    return found


def _no_such_folder(tree: _Tree) -> NothingToPackage:
    listed = _git(tree.top, "ls-tree", "-r", "-d", "--name-only", "--full-tree", "-z", tree.commit)
    folders = [path.decode("utf-8", "backslashreplace") for path in listed.split(b"\0") if path]
    asked = tree.subpath.decode("utf-8", "backslashreplace")
    reason = f"commit {tree.commit[:12]} has no folder {asked!r}"
    return NothingToPackage(tree.top, (asked,), near_matches(asked, folders), reason=reason)


def _submodules(tree: _Tree) -> list[_Tree]:
    listed = _git(tree.top, "ls-tree", "-r", "-z", "--full-tree", tree.treeish)
    found = []
    for line in listed.split(b"\0"):
        about, _, path = line.partition(b"\t")
        mode, _, name = about.partition(b" ")
        if mode != _SUBMODULE:
            continue
        top = os.fsdecode(os.path.join(os.fsencode(tree.top), tree.subpath, path))
        commit = name.split()[1].decode()
        shown = path.decode("utf-8", "backslashreplace")
        try:
            # Of an empty folder, git would answer for the repository around it.
            if os.path.realpath(_top_of(top)) != os.path.realpath(top):
                raise SubmoduleMissing(shown, tree.top)
            _git(top, "cat-file", "-e", f"{commit}^{{commit}}")
        except (GitFailed, NotARepository) as error:
            raise SubmoduleMissing(shown, tree.top) from error
        found.append(_Tree(top, commit, b"", os.path.join(tree.prefix, path)))
    return found


def _changed(tree: _Tree) -> list[bytes]:
    """Return the tracked files that differ on disk from the commit, relative to the subpath."""
    listed = _git(
        tree.top, "diff", "--name-only", "--no-renames", "--no-ext-diff", "-z",
        "--ignore-submodules=all", tree.commit, *tree.limits,
    )  # fmt: skip
    return _below(tree, listed)


def _untracked(tree: _Tree) -> list[bytes]:
    listed = _git(
        tree.top, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", *tree.limits
    )
    # A repository that is no submodule is listed as a folder; its files are its own affair.
    return [path for path in _below(tree, listed) if not path.endswith(b"/")]


def _below(tree: _Tree, listed: bytes) -> list[bytes]:
    skip = len(tree.subpath) + 1 if tree.subpath else 0
    return [path[skip:] for path in listed.split(b"\0") if path]


def _diff_digest(tree: _Tree) -> str:
    diff = _git(
        tree.top, "diff", "--binary", "--no-renames", "--no-ext-diff", "--no-textconv",
        "--no-color", "--full-index", "--ignore-submodules=all", tree.commit, *tree.limits,
    )  # fmt: skip
    return hashlib.sha256(diff).hexdigest()


def _shown(paths: list[bytes]) -> tuple[str, ...]:
    return tuple(path.decode("utf-8", "backslashreplace") for path in paths[:100])
