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

# Logs the time at which it logs, a thousand times a second, until its input ends.
WRITER = """
import runbus, sys, threading, time

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with runbus.init(project="bench") as run:
    run.log("x", 0.0)
    print(run.id, flush=True)
    while not ended.wait(0.001):
        run.log("x", 0.0)
"""

# How long points of a live run take to its follower, alone and while it reads a sealed one.
LIVE = """
import asyncio, sys, time
import runbus

sealed, live = map(runbus.open_run, sys.argv[1:])

async def main():
    delays, begun = [], asyncio.Event()

    async def watch():
        async for batch in live.follow():
            first = memoryview(batch.times).cast("q")[0]
            delays.append((time.time_ns() - first) / 1e6)
            begun.set()

    watching = asyncio.create_task(watch())
    await begun.wait()
    delays.clear()
    await asyncio.sleep(3)
    alone = max(delays)
    delays.clear()
    points = sum([len(batch) async for batch in sealed.follow()])
    print(points, max(delays), alone)
    watching.cancel()

asyncio.run(main())
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
        stalled, alone = live(run.id)
    total = f"{POINTS * ARRAYS:,} sealed points"
    return [
        Row(f"follow() of {total}", followed, "s"),
        Row("… memory beyond what the process had", memory, "MB", 200),
        Row(
            f"the longest that a point of a live run took to its follower, beside {total}",
            stalled,
            "ms",
            250,
            {"the same, beside nothing": alone},
        ),
        Row(f"the last {LAST:,} of {total} by steps=", last, "s", 0.2),
    ]


def read(run_id: str, what: str) -> tuple[int, float, float]:
    first = str(POINTS * ARRAYS - LAST)
    command = [sys.executable, "-c", READER, run_id, what, first]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    points, took, memory = done.stdout.split()
    return int(points), float(took), float(memory)


def live(run_id: str) -> tuple[float, float]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdin
        assert writer.stdout
        command = [sys.executable, "-c", LIVE, run_id, writer.stdout.readline().strip()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        writer.stdin.close()
    points, stalled, alone = done.stdout.split()
    assert int(points) == POINTS * ARRAYS
    return float(stalled), float(alone)
