"""Append-only files of JSON objects, one a line, each with a checksum: traces, spills, sinks.

A crash or a full disk may cut the last line short: it is cut off when the file is opened again. A
line that was damaged is left out when the file is read, and all that follows is read.
"""

from __future__ import annotations

import logging
import os
import stat
from typing import TYPE_CHECKING

from runbus._files import add_check, file_mode, is_shared, make_folders, open_file, take_check
from runbus.errors import FileUnreadable, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader
    from types import TracebackType
    from typing import Self

__all__ = ["LineFile", "read_lines"]

logger = logging.getLogger("runbus.files")

_EXISTING = os.O_RDWR | os.O_APPEND
_NEW = _EXISTING | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_LONGEST = 256 << 20
"""A line that is longer is damage: nobody may fill the memory with it. A file with so much of it is
given up, since a sparse one claims terabytes."""

_START = b'{"'
_FOREIGN = "it does not hold lines of JSON with checksums"
_STEP = 1 << 16


class LineFile:
    """Appends to a file; continues it behind its last whole line if it is there.

        with LineFile("facts.jsonl") as file:
            file.append([b'{"step":1}'])

    Args:
        path: The file; its folder is made if need be. It is readable by its user only, or in a
            shared home by the group.

    Attributes:
        path: The file.
        torn: How many bytes at its end were half a line, and were cut off.

    Raises:
        FileUnreadable: It is no regular file, or access is denied.
        OSError: It cannot be made.
    """

    __slots__ = ("_file", "path", "torn")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self._file = _opened(self.path)
        try:
            self.torn = _cut(self._file, self.path)
        except (FileUnreadable, OSError):
            self.close()
            raise
        if self.torn:
            logger.warning(
                "%s: the last %d bytes were half a line, and are cut off", self.path, self.torn
            )

    def append(self, records: Iterable[bytes]) -> None:
        """Append objects of JSON, each on one line: all of them, or none.

        Raises:
            OSError: They could not be written; the file is as it was before.
        """
        rest = memoryview(b"".join([add_check(record) + b"\n" for record in records]))
        before = os.fstat(self._file).st_size
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def clear(self) -> None:
        """Empty the file."""
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Give the file back; safe to repeat."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_lines(
    path: str | os.PathLike[str], damage: list[tuple[int, int]] | None = None
) -> Iterator[bytes]:
    """Yield the objects that `LineFile` appended, in their order, without their checksums.

    Args:
        path: The file.
        damage: Takes up each stretch that is not a whole line, as offset and number of bytes.

    Raises:
        FileNotFoundError: There is no such file.
        FileUnreadable: It is no regular file, cannot be read, or is damaged beyond 256 MiB.
    """
    path = os.fspath(path)
    with open(open_file(path), "rb") as file:
        try:
            yield from _whole_lines(file, path, [] if damage is None else damage)
        except OSError as error:
            raise FileUnreadable(path, os_reason(error)) from error


def _whole_lines(file: BufferedReader, path: str, damage: list[tuple[int, int]]) -> Iterator[bytes]:
    at = count = wrong = 0
    is_ours = True
    while line := file.readline(_LONGEST):
        try:
            if not line.endswith(b"\n"):
                raise FileUnreadable(path, "half a line")
            record = take_check(line, path)
            count += 1
            yield record
        except FileUnreadable:
            damage.append((at, len(line)))
            wrong += len(line)
            if wrong >= _LONGEST:
                raise FileUnreadable(path, f"{wrong:,} bytes of it or more are damaged") from None
            is_ours = is_ours and (at > 0 or line.startswith(_START[: len(line)]))
        at += len(line)
    if not (is_ours or count):
        raise FileUnreadable(path, _FOREIGN)


def _opened(path: str) -> int:
    try:
        return open_file(path, _EXISTING)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
    file = os.open(path, _NEW, file_mode())
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileUnreadable(path, "it is no regular file")
    if is_shared():
        os.fchmod(file, file_mode())
    return file


def _cut(file: int, path: str) -> int:
    """Cut off what follows the last end of a line; return how many bytes that was."""
    size = end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - _STEP)
        at = os.pread(file, end - start, start).rfind(b"\n")
        if at >= 0:
            end = start + at + 1
            break
        end = start
    if end < size:
        if not _START.startswith(head := os.pread(file, len(_START), 0)) or not head:
            # Somebody gave the path of something else, of which nothing may be cut.
            raise FileUnreadable(path, _FOREIGN)
        os.ftruncate(file, end)
    return size - end
