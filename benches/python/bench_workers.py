"""What a worker holds that was handed a thousand runs, one after another or all at once."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from typing import TYPE_CHECKING

import runbus
from benches.row import Row
from benches.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 1_000
FIRST = 50
"""What is loaded and cached with the first ones is no growth."""


def main() -> list[Row]:
    context = multiprocessing.get_context("spawn")
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = folder
        with context.Pool(1) as pool:
            ended = [pool.apply(work, (run,)) for run in one_after_another()]
        with context.Pool(1) as pool:
            runs = [runbus.init(project="open") for _ in range(FIRST)]
            opened = [pool.apply(work, (run,)) for _ in range(RUNS // FIRST) for run in runs]
            for run in runs:
                run.finish()
    rows = []
    for what, found in (("ended one after another", ended), (f"{FIRST} open at a time", opened)):
        files, resident, spent = zip(*found, strict=True)
        first, last = slice(FIRST // 2, FIRST), slice(-FIRST // 2, None)
        rows += [
            Row(f"open files of a worker, {RUNS:,} runs, {what}", max(files[last]), "",
                beside={f"after {FIRST}": max(files[first])}, ratios={f"after {FIRST}": 1.2}),
            Row(f"memory of a worker, {RUNS:,} runs, {what}", max(resident[last]), "MB",
                beside={f"after {FIRST}": max(resident[first])}, ratios={f"after {FIRST}": 1.2}),
            Row(f"first point of a worker, {RUNS:,} runs, {what}", statistics.median(spent[last]),
                "ms", beside={f"after {FIRST}": statistics.median(spent[first])}),
        ]  # fmt: skip
    return rows


def one_after_another() -> Iterator[runbus.Run]:
    for _ in range(RUNS):
        with runbus.init(project="ended") as run:
            yield run


def work(run: runbus.Run) -> tuple[int, float, float]:
    """Log to a run; return the open files, the MB of memory, and the ms it took."""
    begin = time.perf_counter()
    run.log("loss", 0.5)
    spent = time.perf_counter() - begin
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return len(os.listdir("/proc/self/fd")), resident, spent * 1e3
