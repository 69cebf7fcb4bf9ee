"""Packages of what file name patterns choose."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence  # noqa: TC003 - the configuration reads the signature
from typing import TYPE_CHECKING

from runbus._listed import listed
from runbus.abc import Contents, Entry, Packager
from runbus.errors import NothingToPackage, PackageUnreadable, near_matches, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PatternPackager", "disk_entry", "select"]


class PatternPackager(Packager):
    """Packages the files that patterns choose, as they lie on disk.

    Patterns read as in a .gitignore file: without a slash they match a name at any depth, with one
    they match from the top; `*` and `?` stop at a slash, `**` does not, `[ab]` is one character;
    a trailing slash means folders only; a folder stands for everything in it. Links are packaged
    as links and never followed; what is neither file nor link is left out, and so is each `.git`
    unless a pattern to include names it.

    Args:
        include: What to take, one pattern or several.
        exclude: What of it to leave; a folder that is left out is not even looked into.
        relative_path: The folder, within the root, that patterns start from and paths are
            relative to.
    """

    def __init__(
        self,
        include: str | Sequence[str],
        exclude: str | Sequence[str] = (),
        relative_path: str = "",
    ) -> None:
        self.include = as_patterns(include)
        self.exclude = as_patterns(exclude)
        self.relative_path = relative_path

    def contents(self, root: str, scratch: str) -> Contents:
        """Return what the patterns choose.

        Raises:
            NothingToPackage: They choose nothing.
            PackageUnreadable: A folder cannot be read.
        """
        start = os.path.join(root, self.relative_path)
        return Contents(entries=select(start, self.include, self.exclude), top=start)


def as_patterns(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Return one pattern or several as several.

    Raises:
        FieldInvalid: They are neither a text nor a list of texts.
    """
    return (patterns,) if isinstance(patterns, str) else listed(patterns, "patterns")


def select(root: str, include: Sequence[str], exclude: Sequence[str]) -> dict[bytes, Entry]:
    """Return what the patterns choose below `root`, by path relative to it.

    Raises:
        NothingToPackage: They choose nothing.
        PackageUnreadable: A folder cannot be read.
    """
    if not any(".git" in pattern.split("/") for pattern in include):
        # `*` means the code, not its history: that is large, and may hold credentials.
        exclude = (*exclude, ".git")
    taken, left = _Matcher(include), _Matcher(exclude)
    entries: dict[bytes, Entry] = {}
    passed: list[bytes] = []
    unfit: list[bytes] = []
    for path, is_taken in _walk(os.fsencode(root), b"", taken, left):
        if not is_taken:
            passed.append(path)
        elif (entry := disk_entry(os.path.join(os.fsencode(root), path))) is not None:
            entries[path] = entry
        else:
            unfit.append(path)
    if entries:
        return entries
    if unfit:
        shown = unfit[0].decode("utf-8", "backslashreplace")
        reason = f"{shown!r} is neither a file nor a link; nothing else is packaged"
        raise NothingToPackage(root, tuple(include), passed=len(passed), reason=reason)
    raise _nothing(root, include, passed)


def disk_entry(path: bytes) -> Entry | None:
    """Return a file or link on disk as an entry; None if it is neither, or not there."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return Entry(target=os.readlink(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(source=path, executable=bool(status.st_mode & 0o100))


def translate(pattern: str) -> re.Pattern[bytes]:
    """Return a pattern as a regular expression for a path; a folder's path ends in a slash."""
    anchored = "/" in pattern.rstrip("/")
    body = pattern.strip("/") if anchored else pattern.rstrip("/")
    parts = re.findall(rb"\*\*/|/\*\*|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", os.fsencode(body), re.DOTALL)
    wild = {
        b"**/": b"(?:.*/)?", b"/**": b"/.*", b"**": b".*", b"*": b"[^/]*", b"?": b"[^/]"
    }  # fmt: skip
    text = b"".join(
        wild.get(part) or (_character_class(part) if len(part) > 1 else re.escape(part))
        for part in parts
    )
    start = b"" if anchored else b"(?:.*/)?"
    end = b"/" if pattern.endswith("/") else b"/?"
    return re.compile(start + text + end, re.DOTALL)


def _character_class(part: bytes) -> bytes:
    inner = part[1:-1].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
    return b"[" + (b"^/" + inner[1:] if inner.startswith(b"!") else inner) + b"]"


class _Matcher:
    """Whether any of some patterns match a path."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [translate(pattern) for pattern in patterns]

    def __call__(self, path: bytes) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._patterns)


def _walk(
    root: bytes, below: bytes, taken: _Matcher, left: _Matcher, *, all_of_it: bool = False
) -> Iterator[tuple[bytes, bool]]:
    """Yield every path below a folder that is not left out, and whether it is taken."""
    try:
        with os.scandir(os.path.join(root, below) or b".") as found:
            children = sorted((child.name, child.is_dir(follow_symlinks=False)) for child in found)
    except OSError as error:
        where = os.path.join(root, below).decode("utf-8", "backslashreplace")
        raise PackageUnreadable(where, os_reason(error)) from error
    for name, is_folder in children:
        path = os.path.join(below, name)
        shown = path + b"/" if is_folder else path
        if left(shown):
            continue
        mine = all_of_it or taken(shown)
        if is_folder:
            yield from _walk(root, path, taken, left, all_of_it=mine)
        else:
            yield path, mine


def _nothing(root: str, include: Sequence[str], passed: list[bytes]) -> NothingToPackage:
    names = [path.decode("utf-8", "backslashreplace") for path in passed[:10_000]]
    # `*.pyx` and `*.py`: what differs is the ending.
    endings = {os.path.splitext(name)[1] for name in names} - {""}
    near = []
    for pattern in include:
        stem, ending = os.path.splitext(pattern)
        near += [stem + match for match in near_matches(ending, endings)]
        near += near_matches(pattern, names)
    return NothingToPackage(root, tuple(include), tuple(dict.fromkeys(near)), len(passed))
