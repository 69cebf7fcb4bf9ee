"""The framed, checksummed file that facts are kept in (docs/reference/journal-format.md)."""

from __future__ import annotations

import fcntl
import os
import struct

from runbus._core import Journal as Journal
from runbus._core import JournalReader as JournalReader
from runbus._core import Syncing as Syncing
from runbus._core import blobs as blobs
from runbus._core import whole_records as whole_records

__all__ = ["Journal", "JournalReader", "Syncing", "blobs", "has_writer", "whole_records"]

_LOCK = "hhqqi"
"""The kernel's `struct flock`: kind, from where, start, length (0 for all), process."""


def has_writer(path: str) -> bool:
    """Whether a process has a journal open for writing; asks for its lock and touches nothing.

    False also where there is no journal, or on a file system without locks.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    except OSError:
        return False
    finally:
        os.close(file)
    # Somebody who holds a lock for reading keeps writers out, but is not one.
    return int(struct.unpack(_LOCK, found)[0]) == fcntl.F_WRLCK
