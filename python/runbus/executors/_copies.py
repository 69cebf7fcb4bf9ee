"""Local copies of files that grow elsewhere, continued where they end."""

from __future__ import annotations

import os

from runbus._files import read_file, write_file
from runbus.attempt import LOOK_BACK, note_cut, read_cuts, whole_records
from runbus.errors import FileUnreadable

__all__ = ["JournalCopy", "LogCopy", "log_base", "read_record", "write_record"]

_FIRST_WINDOW = 4 << 10
_LAST_WINDOW = 1 << 20
_LONGEST_RECORD = 16 << 20
"""A record that claims to be longer is damage; the reader of the journal will say so."""


class LogCopy:
    """A log: bytes are only ever added, and the copy's own size says where to continue.

    A job that opens its own output again empties it there. The copy keeps what it has, and what is
    written then is added to it; where that begins is noted beside the copy.

    Args:
        folder: The attempt's folder here.
        source: Which log: "stdout" or "stderr".

    Attributes:
        offset: Where to continue, in bytes of the log there.
        before: The bytes there before `offset`, as far as they have been seen.
    """

    __slots__ = ("_base", "_folder", "_path", "_source", "before", "offset")

    def __init__(self, folder: str, source: str) -> None:
        self._folder, self._source = folder, source
        self._path = os.path.join(folder, f"{source}.log")
        size = _size(self._path)
        self._base = min(log_base(folder, source), size)
        self.offset = size - self._base
        self.before = _end(self._path, min(self.offset, LOOK_BACK))

    def take(self, data: bytes) -> None:
        """Add the bytes that were read from `offset` on.

        Raises:
            OSError: They cannot be written; `offset` tells how far it came.
        """
        written = _write(self._path, data, self._base + self.offset)
        self.offset += written
        self.before = (self.before + data[:written])[-LOOK_BACK:]

    def restart(self) -> None:
        """Go on from the start of the log there, because the job has emptied it."""
        self._base += self.offset
        self.offset, self.before = 0, b""
        note_cut(self._folder, self._source, self._base)


def log_base(folder: str, source: str) -> int:
    """Return where in the copy of a log the one begins that is there now."""
    return max((offset for name, offset in read_cuts(folder) if name == source), default=0)


class JournalCopy:
    """A journal: space is reserved ahead, and records appear in the middle of it.

    Only whole records are copied, so a reader of the copy sees a journal that ends there, and the
    copy's own size says where to continue (docs/reference/journal-format.md).

    Args:
        path: The copy.
    """

    __slots__ = ("_path", "offset", "window")

    def __init__(self, path: str) -> None:
        self._path = path
        self.offset = _size(path)
        self.window = _FIRST_WINDOW

    def take(self, data: bytes) -> bool:
        """Add what is whole of the bytes that were read from `offset` on.

        The first word of a record is stored last, and bytes are read upwards: a record whose first
        word is there is there as a whole.

        Returns:
            Whether more may be there already.

        Raises:
            OSError: They cannot be written; `offset` tells how far it came.
        """
        whole, wanted = whole_records(data, at_start=self.offset == 0)
        full = len(data) >= self.window
        self.offset += _write(self._path, data[:whole], self.offset)
        if wanted > len(data) - whole:
            self.window = max(self.window, min(wanted, _LONGEST_RECORD))
            return full
        # As much as comes, and not a megabyte of reserved zeros a look.
        grown = min(self.window * 2, _LAST_WINDOW) if whole * 2 > len(data) else self.window // 2
        self.window = max(grown, _FIRST_WINDOW)
        return full and whole > 0

    def take_rest(self, data: bytes) -> None:
        """Add bytes as they are: what is damaged is for the reader of the journal to judge."""
        self.offset += _write(self._path, data, self.offset)


def read_record(folder: str, name: str) -> bytes:
    """Return a job's record that is here; nothing if none can be read."""
    try:
        return read_file(os.path.join(folder, name))
    except (FileNotFoundError, FileUnreadable):
        return b""


def write_record(folder: str, name: str, data: bytes, time_ns: int) -> None:
    """Write a job's record as if the job had written it here, at that time; it appears whole.

    The disk is not waited for: what leads the job does that with the record of its end.
    """
    write_file(os.path.join(folder, name), data + b"\n", time_ns=time_ns, is_durable=False)


def _end(path: str, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(-size, os.SEEK_END)
            return file.read(size)
    except OSError:
        return b""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _write(path: str, data: bytes, offset: int) -> int:
    if not data:
        return 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(file, memoryview(data)[written:], offset + written)
        return written
    finally:
        os.close(file)
