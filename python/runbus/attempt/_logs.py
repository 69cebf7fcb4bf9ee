"""Following a log file that something else appends to."""

from __future__ import annotations

import os

from runbus.attempt._files import open_to_read

__all__ = ["LINE_LIMIT", "LogTail", "Written", "log_state", "read_log"]

Written = tuple[tuple[int, int], ...]
"""Size and time of the last change, in ns, of each log."""

LINE_LIMIT = 1 << 20
"""A line that is longer, in bytes, is handed on in pieces of this size."""


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


class LogTail:
    """Hands on the bytes of a growing file, whole lines at a time.

    Args:
        path: The file; it need not exist yet.
        offset: Where to begin, in bytes.
    """

    __slots__ = ("_file", "_path", "offset")

    def __init__(self, path: str, offset: int = 0) -> None:
        self._path = path
        self._file: int | None = None
        self.offset = offset

    def poll(self, *, final: bool = False) -> bytes:
        """Return the next whole lines, at most `LINE_LIMIT` bytes; empty if there are none yet.

        Args:
            final: The file will not grow any more: return also a last line that lacks its end.
        """
        if self._file is None:
            self._file = open_to_read(self._path)
        if self._file is None:
            return b""
        size = os.fstat(self._file).st_size
        if size < self.offset:
            # The job truncated its own log: what it writes now is new.
            self.offset = 0
        if size == self.offset:
            return b""
        data = os.pread(self._file, LINE_LIMIT, self.offset)
        if not (final and len(data) < LINE_LIMIT):
            # A piece of an endless line is better than holding it for ever.
            data = data[: data.rfind(b"\n") + 1] or (data if len(data) == LINE_LIMIT else b"")
        self.offset += len(data)
        return data

    def close(self) -> None:
        """Give the file back; safe to repeat."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
