"""What the system tells about processes that a test knows by their numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["is_alive", "processes_with"]


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_with(text: str) -> Iterator[int]:
    """Yield the processes that have a text in their environment."""
    mark = os.fsencode(text)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                yield pid
