"""Following runs: from the journal to a reader of the bus, and what it costs when idle."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time

import runbus
from benches.row import Row
from runbus import Kernel
from runbus.events import MetricBatch, MetricWindows
from runbus.metrics import RunTailer

POINTS, ROUNDS, RUNS = 1_000_000, 7, 50
FINAL_BYTES = 24


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        run = logged(POINTS)
        rounds = [asyncio.run(followed(run)) for _ in range(ROUNDS)]
        wall, on_loop = (statistics.median(spans) for spans in zip(*rounds, strict=True))
        windows = statistics.median(asyncio.run(windowed(run)) for _ in range(ROUNDS))
        idle = asyncio.run(idle_ms_per_s())
    return [
        Row("1M points, from their journal to a reader of the bus", wall, "ms"),
        Row("… processor time of that on the event loop's thread", on_loop, "ms"),
        Row("1M points, from their journal to windows", windows, "ms"),
        Row(f"processor time to follow {RUNS} runs that log nothing, for a second", idle, "ms", 20),
    ]


def logged(points: int) -> runbus.Run:
    """Return a run that looks as if it might go on at any time."""
    run = runbus.init(project="bench")
    append = run.series("loss").append
    for step in range(points):
        append(1.0, step)
    run.finish()
    os.truncate(run.path, os.path.getsize(run.path) - FINAL_BYTES)
    return run


async def followed(run: runbus.Run) -> tuple[float, float]:
    """Return the wall time and the time of the loop's thread, in ms, that all points take."""
    async with Kernel() as kernel, kernel.bus.stream(MetricBatch, overflow="block") as batches:
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        with RunTailer() as tailer:
            tail = tailer.follow(run.id, run.folder)
            points = 0
            while points < POINTS:
                await tailer.news()
                for batch in tail.take():
                    await kernel.bus.emit(batch)
                    points += len(batch)
                    await anext(batches)
        wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
    return wall / 1e6, cpu / 1e6


async def windowed(run: runbus.Run) -> float:
    """Return the wall time until the windows of all points are there, in ms."""
    start = time.perf_counter_ns()
    rows = 0
    with RunTailer() as tailer:
        tail = tailer.follow(run.id, run.folder, window_ns=10**9)
        tail.drain()
        while not tail.is_drained:
            await tailer.news()
            rows += sum(len(each) for each in tail.take() if isinstance(each, MetricWindows))
    assert rows > 0
    return (time.perf_counter_ns() - start) / 1e6


async def idle_ms_per_s() -> float:
    """Return what following costs a second, in ms of processor time, while nothing comes."""
    with RunTailer() as tailer:
        for run in [logged(1) for _ in range(RUNS)]:
            tailer.follow(run.id, run.folder)
        await asyncio.sleep(2)  # until it is looked at as seldom as ever
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(2)
        return (time.process_time() - cpu) / (time.perf_counter() - wall) * 1e3
