"""Stamps: what tells that the files of an experiment are what they were."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from runbus.metrics import RunInfo

__all__ = ["Stamp", "are_settled", "files_of", "packed", "stamps"]

Stamp: TypeAlias = tuple[int, int, int]
"""The inode, the time of the last change and the bytes of a file.

The time is that of its last change, which no program can set, not that of its content.
"""

_SETTLED_NS = 50_000_000
"""A file that was changed less than this before may change again without another time stamp."""

_SECOND_NS = 1_000_000_000
_MAPPED_BYTES = 64 << 10
"""A journal that is open for writing is a multiple of this: it is mapped, and gets no time stamp
when it is written to. Closed, it is cut to what is in it."""

_HEAD = struct.Struct("<QqQH")


def stamps(folder: str, paths: Iterable[str]) -> dict[str, Stamp]:
    """Return the stamps of files, by their paths within a folder.

    Raises:
        OSError: One is not there, may change without a trace, or is a link, and then another file
            counts.
    """
    made = {}
    for path in paths:
        found = os.lstat(f"{folder}/{path}")
        made[path] = found.st_ino, found.st_ctime_ns, found.st_size
        # How a journal of metrics stands is told by its lock, too.
        is_mapped = path.endswith(".journal") and "/metrics/" not in path
        if is_mapped and found.st_size % _MAPPED_BYTES == 0:
            raise OSError(f"{path}: it may be open for writing")
        if stat.S_ISLNK(found.st_mode):
            raise OSError(f"{path}: it is a symbolic link")
    return made


def packed(made: Mapping[str, Stamp]) -> bytes:
    """Return stamps as `runbus._core.are_same` takes them.

    Raises:
        ValueError: A path is too long, or no Unicode.
    """
    parts = []
    for path, (inode, changed_ns, size) in made.items():
        name = path.encode()
        if len(name) >> 16:
            raise ValueError(f"{path}: it is too long")
        parts += [_HEAD.pack(inode, changed_ns, size, len(name)), name]
    return b"".join(parts)


def are_settled(made: Iterable[Stamp], now_ns: int) -> bool:
    """Whether no file was changed at some time or since, and each that will be gets another stamp.

    Args:
        made: The stamps.
        now_ns: The time, Unix time in nanoseconds.
    """
    # A file system that keeps whole seconds cannot tell.
    return all(ns < now_ns - _SETTLED_NS and ns % _SECOND_NS for _, ns, _ in made)


def files_of(folder: str, infos: Iterable[RunInfo]) -> Iterator[str]:
    """Yield the paths of what the rows of an experiment in a list are made of, within its folder.

    A job's run stands where its journal of events says; one without a job, where those of its
    metrics do. What is not there yet would show in the folder that it lies in.

    Args:
        folder: The experiment's folder.
        infos: Its runs: each is that of a job, or none is.

    Raises:
        OSError: It cannot be told: there may be jobs, or files are being removed.
    """
    infos = list(infos)
    kinds = ["records"]
    if any(info.job is not None for info in infos):
        yield "events.journal"
        yield "experiment.json" if os.path.lexists(f"{folder}/experiment.json") else "."
    elif os.path.lexists(f"{folder}/events.journal"):
        raise OSError("there may be jobs")
    else:
        yield "."
        kinds.append("metrics")
    yield "runs"
    for info in infos:
        run = f"runs/{info.id}"
        yield run
        yield f"{run}/run.json"
        for kind in kinds:
            try:
                files = os.listdir(f"{folder}/{run}/{kind}")
            except FileNotFoundError:
                continue
            yield f"{run}/{kind}"
            yield from (f"{run}/{kind}/{file}" for file in files)
