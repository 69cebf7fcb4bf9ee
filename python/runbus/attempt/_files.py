"""Opening what lies in a job's folder: the job may have put anything there."""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["open_to_read", "read_whole"]

_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EACCES}
"""Also a circle of links, a socket, and what its owner made unreadable."""


def open_to_read(path: str) -> int | None:
    """Open a file; None if there is none, or a thing of another kind, without waiting for it."""
    try:
        # A pipe would keep whoever opens it until somebody writes to it.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def read_whole(path: str) -> bytes:
    """Return what is in a file; nothing if there is none, as `open_to_read` sees it."""
    file = open_to_read(path)
    if file is None:
        return b""
    with open(file, "rb") as opened:
        return opened.read()
