"""Telling a bus what happens in an experiment that another process leads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, Clock
from runbus.events import JobEnded, JobRetrying, JobStarted
from runbus.jobs import FactReader, JobRecord, JobState, fold, is_led
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._output import JobOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.events import JobFact

__all__ = ["Follower"]

_POLL_S = 0.1


class Follower:
    """Reads what the leader of an experiment writes, and writes nothing itself.

    Args:
        bus: Where facts, log lines and metric batches go: those from now on.
        folder: The experiment's folder.
        jobs: Its jobs.
        clock: Where the time of what happens here comes from.
    """

    def __init__(
        self, bus: Bus, folder: str, jobs: Sequence[JobSpec], *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._bus = bus
        self._folder = folder
        self._specs = {job.name: job for job in jobs}
        self._clock = clock
        self._records: dict[str, JobRecord] = {}
        self._outputs: dict[str, JobOutput] = {}
        self._feed = MetricFeed(bus, clock, leads=False)

    async def run(self) -> None:
        """Follow until every job is over, or nobody leads them. Cancelling it is harmless."""
        facts = FactReader(self._folder)
        for fact in facts.poll():
            self._fold(fact)
        for record in self._records.values():
            if record.state is JobState.RUNNING:
                self._follow(record)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed.run, name="metrics")
            try:
                await self._read_on(facts)
            finally:
                for output in self._outputs.values():
                    output.close()
            tasks.cancel_scope.cancel()

    async def _read_on(self, facts: FactReader) -> None:
        is_being_led = True
        while is_being_led and not self._is_over():
            # First: then what the leader recorded last is there to be read.
            is_being_led = is_led(self._folder)
            for fact in facts.poll():
                await self._take_in(fact)
            for output in self._outputs.values():
                await output.hand_on(self._bus)
            await anyio.sleep(_POLL_S)

    def _is_over(self) -> bool:
        ended = [record for record in self._records.values() if record.state.is_terminal]
        return len(ended) == len(self._specs)

    async def _take_in(self, fact: JobFact) -> None:
        """Tell a fact, after all the output that came before it."""
        self._fold(fact)
        if isinstance(fact, JobEnded | JobRetrying) and (
            output := self._outputs.pop(fact.job, None)
        ):
            await output.hand_on(self._bus, final=True)
            output.close()
            await self._feed.drain(self._specs[fact.job])
        if isinstance(fact, JobEnded):
            self._feed.forget(self._specs[fact.job])
        await self._bus.publish(fact)
        if isinstance(fact, JobStarted):
            self._follow(self._records[fact.job])

    def _follow(self, record: JobRecord) -> None:
        spec = self._specs[record.name]
        folder = os.path.join(self._folder, record.folder)
        self._feed.follow(spec)
        self._outputs[spec.name] = JobOutput(
            replace(spec, attempt=record.attempt, folder=folder), self._clock, leads=False
        )

    def _fold(self, fact: JobFact) -> None:
        record = fold(self._records.get(fact.job), fact)
        if record is not None:
            self._records[fact.job] = record
