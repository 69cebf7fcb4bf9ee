"""Opening what lies in a job's folder: the job may have put anything there."""

from __future__ import annotations

import os

from runbus._files import RECORD_BYTES, open_file, read_file
from runbus.errors import FileUnreadable

__all__ = ["ends_in_a_line", "open_to_read", "read_whole"]


def open_to_read(path: str) -> int | None:
    """Open a file; None if there is none, or not a regular one, without waiting for it."""
    try:
        return open_file(path)
    except (FileNotFoundError, FileUnreadable):
        return None


def read_whole(path: str, limit: int = RECORD_BYTES) -> bytes:
    """Return what is in a file; nothing if there is none, as `open_to_read` sees it."""
    try:
        return read_file(path, limit=limit)
    except (FileNotFoundError, FileUnreadable):
        return b""


def ends_in_a_line(file: int) -> bool:
    """Whether what is appended to an open file begins a line of its own."""
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
