"""Following a log file that something else appends to."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from typing import NamedTuple

from runbus.attempt._files import open_to_read, read_whole

__all__ = [
    "LINE_LIMIT",
    "LOOK_BACK",
    "LogTail",
    "Place",
    "Written",
    "log_state",
    "note_cut",
    "read_cuts",
    "read_log",
]

Written = tuple[tuple[int, int], ...]
"""Size and time of the last change, in ns, of each log."""

LINE_LIMIT = 1 << 20
"""A line that is longer, in bytes, is handed on in pieces of this size."""


LOOK_BACK = 64
"""So many bytes before a place in a log are looked at again: others there show that it was cut."""

_CUTS = "cuts"
_CUT = re.compile(rb"(stdout|stderr) (\d{1,19})")


def note_cut(folder: str, source: str, offset: int) -> None:
    """Note that a job has emptied one of its logs; what cannot be written is passed over.

    Args:
        folder: The attempt's folder.
        source: Which log: "stdout" or "stderr".
        offset: How many bytes of it had been handed on, or copied, before.
    """
    with suppress(OSError), open(os.path.join(folder, _CUTS), "ab", opener=_private) as file:
        file.write(b"%s %d\n" % (source.encode(), offset))


def read_cuts(folder: str) -> list[tuple[str, int]]:
    """Return where a job has emptied its logs, oldest first; see `note_cut`."""
    lines = read_whole(os.path.join(folder, _CUTS)).split(b"\n")[:-1]
    found = map(_CUT.fullmatch, lines)
    return [(match[1].decode(), int(match[2])) for match in found if match]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK, 0o600)


def read_log(folder: str, source: str, offset: int) -> bytes:
    """Return up to 1 MiB of an attempt's log from a byte on; empty if there is nothing there."""
    file = open_to_read(os.path.join(folder, f"{source}.log"))
    if file is None:
        return b""
    try:
        return os.pread(file, LINE_LIMIT, offset)
    finally:
        os.close(file)


def log_state(folder: str) -> Written:
    """Return what changes when an attempt's logs are written to, also by a job that cuts them."""
    return tuple(_state_of(os.path.join(folder, f"{name}.log")) for name in ("stdout", "stderr"))


def _state_of(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _end_of_hole(file: int, offset: int, size: int) -> int:
    """Return where the next data of a file lies: `offset` itself, if it is no hole."""
    try:
        return os.lseek(file, offset, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset


class Place(NamedTuple):
    """Where a tail stands in its file: another that is put there hands on the same from there on.

    Attributes:
        offset: As of the tail.
        cuts: As of the tail.
        before: The bytes before it, by which a cut is noticed.
    """

    offset: int
    cuts: int
    before: bytes


class LogTail:
    r"""Hands on the bytes of a growing file, whole lines at a time.

    What a progress bar draws over itself with `\r` is handed on as soon as it is overwritten.

    A job that opens its own output again empties it, and what it writes then is handed on from the
    start. That is noticed as soon as what was handed on last is not there any more. Large holes of
    a sparse file are passed over.

    Attributes:
        offset: How many bytes have been handed on since the file was last emptied.
        cuts: How often it was seen to have been emptied.

    Args:
        path: The file; it need not exist yet.
        offset: Where to begin, in bytes.
    """

    __slots__ = ("_before", "_file", "_path", "cuts", "offset")

    def __init__(self, path: str, offset: int = 0) -> None:
        self._path = path
        self._file: int | None = None
        self._before = b""
        self.offset = offset
        self.cuts = 0

    def poll(self, *, final: bool = False) -> bytes:
        """Return the next whole lines, at most `LINE_LIMIT` bytes; empty if there are none yet.

        Args:
            final: The file will not grow any more: return also a last line that lacks its end.
        """
        if self._file is None:
            if not self.offset and not _state_of(self._path)[0]:
                return b""  # of a job that writes nothing no log is opened
            self._file = open_to_read(self._path)
        if self._file is None:
            return b""
        size = os.fstat(self._file).st_size
        # In the end it is looked whether as much was written again, over what had been emptied.
        if size == self.offset and not final:
            return b""
        start = self.offset - len(self._before)
        data = os.pread(self._file, LINE_LIMIT + len(self._before), start)
        if size < self.offset or not data.startswith(self._before):
            self.cuts += 1
            self.offset, self._before = 0, b""
            data = os.pread(self._file, LINE_LIMIT, 0)
        data = data[len(self._before) :]
        if len(data) == LINE_LIMIT and not data.strip(b"\0"):
            # A sparse file claims terabytes of zeros, and nobody waits for them.
            end = _end_of_hole(self._file, self.offset, size)
            if end > self.offset:
                self.offset, self._before = end, bytes(LOOK_BACK)
                return self.poll(final=final)
        if not (final and len(data) < LINE_LIMIT):
            # A piece of an endless line is better than holding it for ever.
            data = data[: _whole(data)] or (data if len(data) == LINE_LIMIT else b"")
        self.offset += len(data)
        self._before = (self._before + data)[-LOOK_BACK:]
        return data

    @property
    def place(self) -> Place:
        """Where it stands; set it to hand on what follows another place."""
        return Place(self.offset, self.cuts, self._before)

    @place.setter
    def place(self, place: Place) -> None:
        self.offset, self.cuts, self._before = place

    def close(self) -> None:
        """Give the file back; safe to repeat."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _whole(data: bytes) -> int:
    r"""Return where the last line ends; what a `\r` overwrites is one, too."""
    end = data.rfind(b"\n") + 1
    # The last byte may be the first half of `\r\n`.
    return max(end, data.rfind(b"\r", end, len(data) - 1) + 1)
