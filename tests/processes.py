"""What the system tells about processes: this one, and those that a test knows by their numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["is_alive", "is_asleep", "open_files", "processes_with"]


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return _state(pid) not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_asleep(pid: int) -> bool:
    """Whether a process of one thread waits for something."""
    return _state(pid) == "S"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def processes_with(text: str) -> Iterator[int]:
    """Yield the processes that have a text in their environment."""
    mark = os.fsencode(text)
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes():
                yield pid


def open_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return what this process has open of a folder and all below it, each as often as it has.

    To count all that it has open says nothing: what an earlier test has left to a thread or to the
    collector may be closed at any moment.
    """
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(path for path in found if f"{path}/".startswith(f"{os.fspath(folder)}/"))
