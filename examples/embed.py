"""runbus inside an async application: a plugin that prints each batch of metrics of a job."""

import asyncio
import sys

from runbus import AsyncExperiment, Kernel, LocalExecutor, Plugin, Script, sweep
from runbus.events import MetricBatch


async def show(batch: MetricBatch) -> None:
    print(batch.run_id, list(batch.points())[-1])


async def main(script: str) -> None:
    experiment = AsyncExperiment("embedded", sweep(Script(script), ["lr=0.1,1.0"]))
    printer = Plugin("printer").stream(MetricBatch, show)
    async with Kernel(plugins=[LocalExecutor(), printer]) as kernel:
        for record in await experiment.run(kernel=kernel):
            print(record.name, record.state)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/digits.py"))
