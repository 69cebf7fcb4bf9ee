"""Having many files on the disk, also where a neighbor has just written much to it."""

from __future__ import annotations

import ctypes
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

from benches.row import Row
from benches.scratch import scratch
from runbus.attempt import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNTS, ROUNDS = (100, 1_000), 3
NEIGHBOR_BYTES = 512 << 20
PIECE = os.urandom(1 << 20)


def main() -> list[Row]:
    ways: dict[str, Callable[[Sequence[str]], object]] = {
        "ours": sync_with_journal,
        "one after the other": sync_in_turn,
        "all that the file system has to write": sync_file_system,
    }
    rows = []
    with scratch() as folder:
        for written in (0, NEIGHBOR_BYTES):
            beside = f", beside {written >> 20} MiB of a neighbor's" if written else ""
            for count in COUNTS:
                took: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(ROUNDS):
                    for name, sync in ways.items():
                        took[name].append(measured(sync, folder, count, written))
                ours, *others = (statistics.median(spans) * 1e3 for spans in took.values())
                rows.append(
                    Row(
                        f"{count:,} small files and their folders on the disk{beside}",
                        ours,
                        "ms",
                        beside=dict(zip(list(ways)[1:], others, strict=True)),
                    )
                )
    return rows


def measured(
    sync: Callable[[Sequence[str]], object], folder: str, count: int, written: int
) -> float:
    """Return how long new files take to be on the disk, in seconds."""
    os.sync()
    paths = []
    for _ in range(count):
        within = tempfile.mkdtemp(dir=folder)
        paths += [within, os.path.join(within, "file")]
        with open(paths[-1], "wb") as file:
            file.write(PIECE[:400])
    neighbor = os.path.join(folder, "neighbor")
    with open(neighbor, "wb") as file:
        for _ in range(written // len(PIECE)):
            file.write(PIECE)
    start = time.perf_counter()
    sync(paths)
    took = time.perf_counter() - start
    os.unlink(neighbor)
    return took


def sync_with_journal(paths: Sequence[str]) -> None:
    """What a batch does with its intents, and with the ends of its jobs."""
    with Journal(os.path.join(paths[0], "events.journal")) as journal:
        journal.sync(paths)


def sync_in_turn(paths: Sequence[str]) -> None:
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.fsync(file)
        os.close(file)


def sync_file_system(paths: Sequence[str]) -> None:
    file = os.open(paths[0], os.O_RDONLY)
    failed = ctypes.CDLL(None).syncfs(file)
    os.close(file)
    assert not failed
