"""Ends jobs early: by their own rules, from the metric batches on the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.abc import GRACE_S
from runbus.events import Lagged, MetricBatch
from runbus.jobs import STOPPED_EARLY, EarlyStopRules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from anyio.abc import TaskGroup, TaskStatus

    from runbus.abc import JobSpec
    from runbus.bus import Bus

    Cancel = Callable[[str, float, str], Awaitable[None]]

__all__ = ["EarlyStops"]


class EarlyStops:
    """Reads what the runs of jobs with rules log, and asks for the ends that these demand.

    Nothing is read while no job has a rule. A later leader judges by what is logged from then on.

    Args:
        bus: Where the metric batches are.
        cancel: Asks for the end of a job: why, within how many seconds, and its name.
    """

    def __init__(self, bus: Bus, cancel: Cancel) -> None:
        self._bus = bus
        self._cancel = cancel
        self._runs: dict[str, tuple[str, EarlyStopRules]] = {}
        self._is_reading = False

    async def watch(self, jobs: Iterable[JobSpec], tasks: TaskGroup) -> None:
        """Judge further jobs by their rules, from now on.

        Args:
            jobs: The jobs.
            tasks: Where the reading runs, until it is cancelled.
        """
        for job in jobs:
            if job.stop:
                self._runs[job.run_id] = job.name, EarlyStopRules(job.stop)
        if self._runs and not self._is_reading:
            self._is_reading = True
            await tasks.start(self._read, name="early stops")

    async def _read(self, *, task_status: TaskStatus[None]) -> None:
        async with self._bus.stream(MetricBatch, overflow="block") as batches:
            task_status.started()
            async for batch in batches:
                if not isinstance(batch, Lagged) and (found := self._runs.get(batch.run_id)):
                    job, rules = found
                    if (reason := _judged(batch, rules)) is not None:
                        del self._runs[batch.run_id]
                        await self._cancel(STOPPED_EARLY + reason, GRACE_S, job)


def _judged(batch: MetricBatch, rules: EarlyStopRules) -> str | None:
    """Return why the job of a batch is to end; None if it may go on."""
    watched = {place: name for place, name in enumerate(batch.names) if name in rules.metrics}
    if not watched:
        return None
    steps = memoryview(batch.steps).cast("q")
    values = memoryview(batch.values).cast("d")
    for place, series in enumerate(memoryview(batch.series).cast("I")):
        if series in watched:
            reason = rules.reason(watched[series], steps[place], values[place])
            if reason is not None:
                return reason
    return None
