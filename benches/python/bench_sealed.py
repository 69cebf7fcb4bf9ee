"""A sealed run that is larger than what its readers may take of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import runbus
from benches.row import Row

POINTS, ARRAYS, LAST = 1_000_000, 20, 1_000

# In a process of its own, whose memory is that of nothing else.
READER = """
import asyncio, resource, sys, time
import runbus

stored = runbus.open_run(sys.argv[1])

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

async def followed():
    return sum([len(batch) async for batch in stored.follow()])

def last():
    return len(stored.metrics("x", steps=slice(int(sys.argv[3]), None)))

before, start = memory(), time.perf_counter()
points = asyncio.run(followed()) if sys.argv[2] == "follow" else last()
took = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(points, took, peak - before)
"""


def main() -> list[Row]:
    import numpy as np

    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        with runbus.init(project="bench") as run:
            series = run.series("x")
            for _ in range(ARRAYS):
                series.extend(random.normal(size=POINTS))
        runbus.open_run(run.id).seal()
        points, followed, memory = read(run.id, "follow")
        assert points == POINTS * ARRAYS
        few, last, _ = read(run.id, "steps")
        assert few == LAST
    total = f"{POINTS * ARRAYS:,} sealed points"
    return [
        Row(f"follow() of {total}", followed, "s"),
        Row("… memory beyond what the process had", memory, "MB", 200),
        Row(f"the last {LAST:,} of {total} by steps=", last, "s", 0.2),
    ]


def read(run_id: str, what: str) -> tuple[int, float, float]:
    first = str(POINTS * ARRAYS - LAST)
    command = [sys.executable, "-c", READER, run_id, what, first]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    points, took, memory = done.stdout.split()
    return int(points), float(took), float(memory)
