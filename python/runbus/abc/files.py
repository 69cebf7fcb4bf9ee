"""The port of the files that a job leaves where it worked, and which of them are meant."""

from __future__ import annotations

import fnmatch
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from runbus.errors import FieldInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self, TypeAlias

    Places: TypeAlias = frozenset[tuple[int, int]]
    """How far patterns have been followed: the number of each, and how many of its parts."""

__all__ = ["FilePatterns", "FoundFile", "JobFiles", "pattern_problem"]

LONGEST, MOST = 500, 100
"""How many characters a pattern may have, and how many patterns there may be."""

_FOLDERS = "**"


def pattern_problem(pattern: str) -> tuple[str, str] | None:
    """Return why a text is no pattern, and what to write; None if it is one."""
    parts = pattern.split("/")
    if not pattern:
        return "it is empty", "write a path with wildcards, such as *.ckpt or out/**/*.json"
    if len(pattern) > LONGEST:
        return f"it has {len(pattern)} characters", f"write {LONGEST} at the most"
    if not pattern.isprintable():
        return "it holds a character that cannot be printed", "let ? stand for it"
    if pattern.startswith(("/", "~")):
        advice = "write it from the folder on where the job starts: out/*.ckpt"
        return "it leads out of the folder where the job starts", advice
    if ".." in parts:
        return "it leads out of the folder where the job starts", "write it without .."
    if "" in parts[:-1] or "." in parts:
        return "a part of it is empty", "write one slash between names, and no ./"
    if not parts[-1]:
        return "it means a folder, and files are collected", f"write {pattern}** for all in it"
    if any(_FOLDERS in part and part != _FOLDERS for part in parts):
        advice = "write ** alone between slashes: out/**/*.json"
        return "** stands for whole folders, not for a part of a name", advice
    return None


class FilePatterns:
    """Which files below a folder are meant, by patterns of their paths in it.

    A pattern is a path with wildcards: `*` and `?` stand for characters of one name, `[ab]` for one
    of some, and `**`, alone between slashes, for any number of folders, none too. A name that
    begins with a dot is meant only by a pattern that writes the dot. Finding out whether a path is
    meant takes time in proportion to its length, whatever the patterns are.

    Args:
        patterns: The patterns.

    Attributes:
        texts: The patterns.

    Raises:
        FieldInvalid: One is no pattern, or there are too many.
    """

    __slots__ = ("_parts", "texts")

    def __init__(self, patterns: Sequence[str]) -> None:
        if len(patterns) > MOST:
            reason = f"there are {len(patterns)} patterns"
            raise FieldInvalid("artifacts", "", reason, f"write {MOST} at the most")
        for pattern in patterns:
            if problem := pattern_problem(pattern):
                shown = pattern if len(pattern) <= 60 else f"{pattern[:60]}…"
                raise FieldInvalid("artifacts", repr(shown), *problem)
        self.texts = tuple(patterns)
        self._parts = [_compiled(pattern) for pattern in patterns]

    def begin(self) -> Places:
        """Return where to begin, in the folder itself."""
        return self._opened({(number, 0) for number in range(len(self._parts))})

    def enter(self, places: Places, name: str) -> Places:
        """Return how far the patterns reach at what is called `name` in a folder."""
        after = set()
        for number, at in places:
            parts = self._parts[number]
            if at == len(parts):
                continue
            part = parts[at]
            if part is None and not name.startswith("."):
                after.add((number, at))
            elif part is not None and part(name):
                after.add((number, at + 1))
        return self._opened(after)

    def may_hold(self, places: Places) -> bool:
        """Whether something below a folder may be meant, to which the patterns reach so far."""
        return any(at < len(self._parts[number]) for number, at in places)

    def meaning(self, places: Places) -> tuple[str, ...]:
        """Return the patterns that mean the file to which they reach so far."""
        return tuple(self.texts[number] for number, at in places if at == len(self._parts[number]))

    def of(self, path: str) -> tuple[str, ...]:
        """Return the patterns that mean the file at a path in the folder."""
        places = self.begin()
        for name in path.split("/"):
            places = self.enter(places, name)
        return self.meaning(places)

    def _opened(self, places: set[tuple[int, int]]) -> Places:
        """Return the places, and those behind a `**` that stands for no folder."""
        found = set(places)
        for number, place in places:
            at = place
            parts = self._parts[number]
            while at < len(parts) and parts[at] is None:
                at += 1
                found.add((number, at))
        return frozenset(found)


def _compiled(pattern: str) -> list[Callable[[str], bool] | None]:
    """Return what tells for each part whether a name is meant; None for any number of folders."""
    parts = pattern.split("/")
    if parts[-1] == _FOLDERS:
        parts.append("*")
    return [None if part == _FOLDERS else _part(part) for part in parts]


def _part(part: str) -> Callable[[str], bool]:
    matches = re.compile(fnmatch.translate(part)).match
    shows_dots = part.startswith(".")
    return lambda name: (shows_dots or not name.startswith(".")) and matches(name) is not None


class FoundFile(NamedTuple):
    """A file where a job worked.

    Attributes:
        path: Where it lies in that folder, as file names are decoded.
        size: Bytes.
        is_executable: Whether its owner may run it.
        stamp: What changes when the file does, or is another one.
        problem: Why it cannot be kept: it is a link, say; empty if it can.
    """

    path: str
    size: int
    is_executable: bool
    stamp: str
    problem: str = ""


class JobFiles(ABC):
    """The files in the folder where a job works, wherever that is. Used in an `async with` block.

    No link in the folder is followed, and nothing is found that is no plain file. All methods may
    be cancelled, which is harmless, and raise

    - `FileUnreadable`, `RemoteFailed`: it is not there, or cannot be read; asking again is no use.
    - `HostError`: the machine does not answer.
    """

    async def __aenter__(self) -> Self:
        """Begin; nothing is asked yet."""
        return self

    async def __aexit__(  # noqa: B027 - most have nothing to give back
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back what was needed; what the job left is needed no more if there is no error."""

    @abstractmethod
    async def find(self, patterns: FilePatterns) -> list[FoundFile]:
        """Return the files that patterns mean, with those that cannot be kept, in any order."""

    @abstractmethod
    async def look(self, path: str) -> FoundFile | None:
        """Look at a file once more; None if it is gone."""

    @abstractmethod
    async def read(self, path: str, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of a file; fewer at its end, none if it is gone."""
