"""Stamps: what tells that the files of an experiment are what they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Stamp", "are_settled", "files_of_jobs", "files_of_plain_runs", "stamp", "stamps"]

Stamp: TypeAlias = tuple[int, int, int]
"""The inode, the time of the last change and the bytes of a file."""

_SETTLED_NS = 50_000_000
"""A file that was changed less than this before may change again without another time stamp."""

_SECOND_NS = 1_000_000_000
_MAPPED_BYTES = 64 << 10
"""A journal that is open for writing is a multiple of this: it is mapped, and gets no time stamp
when it is written to. Closed, it is cut to what is in it."""


def stamp(found: os.stat_result) -> Stamp:
    """Return what tells a file from others, and from what it was before.

    The time is that of its last change, which no program can set, not that of its content.
    """
    return found.st_ino, found.st_ctime_ns, found.st_size


def stamps(folder: str, paths: Iterable[str]) -> dict[str, Stamp]:
    """Return the stamps of files, by their paths within a folder.

    Raises:
        OSError: One is not there, or may change without a trace.
    """
    made = {}
    for path in paths:
        made[path] = stamp(os.stat(f"{folder}/{path}"))
        # How a journal of metrics stands is told by its lock, too.
        is_mapped = path.endswith(".journal") and "/metrics/" not in path
        if is_mapped and made[path][2] % _MAPPED_BYTES == 0:
            raise OSError(f"{path}: it may be open for writing")
    return made


def are_settled(made: Iterable[Stamp], now_ns: int) -> bool:
    """Whether no file was changed at some time or since, and each that will be gets another stamp.

    Args:
        made: The stamps.
        now_ns: The time, Unix time in nanoseconds.
    """
    # A file system that keeps whole seconds cannot tell.
    return all(ns < now_ns - _SETTLED_NS and ns % _SECOND_NS for _, ns, _ in made)


def files_of_jobs(names: Iterable[str]) -> Iterator[str]:
    """Yield what an experiment with jobs is made of.

    Args:
        names: Its runs' folders.
    """
    yield "events.journal"
    yield "runs"
    yield from (f"runs/{name}/run.json" for name in names)


def files_of_plain_runs(folder: str, names: Iterable[str]) -> Iterator[str]:
    """Yield what the rows of runs without jobs are made of.

    Args:
        folder: Their experiment's folder.
        names: The runs' folders.

    Raises:
        OSError: It cannot be told: there may be jobs, or files are being removed.
    """
    if os.path.lexists(f"{folder}/events.journal"):
        raise OSError("there may be jobs")
    yield "."
    yield "runs"
    for name in names:
        run = f"runs/{name}"
        yield run
        yield f"{run}/run.json"
        for kind in ("metrics", "records"):
            try:
                files = os.listdir(f"{folder}/{run}/{kind}")
            except FileNotFoundError:
                continue
            yield f"{run}/{kind}"
            yield from (f"{run}/{kind}/{file}" for file in files)
