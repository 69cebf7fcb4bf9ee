"""Sinks: what one costs the training that it follows, and what a point costs a sink."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benches.row import Row
from runbus import Command, Job, Kernel, LocalExecutor
from runbus.experiment import ExperimentDraft
from runbus.plugins import BackendPlugin, PluginMetadata
from runbus.plugins._batches import batch_of

POINTS, ROUNDS, BATCH = 500_000, 5, 50_000

TRAINING = """
import sys, time, runbus
run = runbus.init()
append = run.series("loss").append
began = time.process_time()
for step in range(int(sys.argv[1])):
    append(0.5, step)
took = time.process_time() - began
open(sys.argv[2], "w").write(str(took))
"""


class _Counter(BackendPlugin):
    """Counts its points."""

    def __init__(self) -> None:
        self.points = 0

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata("counter", "1", "backend")

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        self.points += 1

    def log_params(self, params: dict[str, object]) -> None:
        raise NotImplementedError

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        raise NotImplementedError


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        pairs = [(trained(folder), trained(folder, _Counter())) for _ in range(ROUNDS)]
        alone, followed = (statistics.median(spans) for spans in zip(*pairs, strict=True))
        taken = statistics.median(asyncio.run(handed_over()) for _ in range(ROUNDS))
        called = statistics.median(calls() for _ in range(ROUNDS))
    return [
        Row(
            "processor time of a point in a job that a sink follows",
            followed,
            "ns",
            beside={"the same without a sink": alone},
            ratios={"the same without a sink": 1.25},
        ),
        Row(
            "processor time of a point from the bus to a backend",
            taken,
            "ns",
            beside={"the call alone": called},
        ),
    ]


def trained(folder: str, *sinks: _Counter) -> float:
    """Return what a point costs a job that logs many, in nanoseconds of its processor time."""
    file = os.path.join(folder, "took")
    task = Command((sys.executable, "-c", TRAINING, str(POINTS), file))

    async def lead() -> None:
        async with Kernel(plugins=[LocalExecutor(), *sinks]) as kernel:
            await ExperimentDraft("bench", [Job(name="train", task=task)]).run(kernel.bus)

    asyncio.run(lead())
    assert all(sink.points == POINTS for sink in sinks)
    return float(Path(file).read_text()) * 1e9 / POINTS


async def handed_over() -> float:
    """Return what a point costs on its way to a backend, in nanoseconds."""
    batch = batch_of((("loss", 0.5, step, step) for step in range(BATCH)), "run", "w", 1)
    counter = _Counter()
    async with Kernel(plugins=[counter]) as kernel:
        began_s = time.process_time()
        for _ in range(10):
            await kernel.bus.emit(batch)
        await kernel.stop_plugin("counter")
        took_s = time.process_time() - began_s
    assert counter.points == 10 * BATCH
    return took_s * 1e9 / counter.points


def calls() -> float:
    """Return what the call of a method costs that does as much, in nanoseconds."""
    counter = _Counter()
    began_s = time.process_time()
    for step in range(BATCH):
        counter.log_metric("loss", 0.5, step)
    return (time.process_time() - began_s) * 1e9 / BATCH
