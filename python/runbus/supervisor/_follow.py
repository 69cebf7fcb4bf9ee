"""Telling a bus what happens in an experiment that another process leads."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, AlarmClock
from runbus.events import JobEnded, JobRequeued, JobRetrying, JobStarted, JobSubmitted
from runbus.jobs import FactReader, JobRecord, JobState, fold, leader_of
from runbus.supervisor._run_feed import RunFeed
from runbus.supervisor._time import sleep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.events import JobFact

__all__ = ["Follower"]

logger = logging.getLogger("runbus.supervisor")

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
        self, bus: Bus, folder: str, jobs: Sequence[JobSpec], *, clock: AlarmClock = SYSTEM_CLOCK
    ) -> None:
        self._bus = bus
        self._folder = folder
        self._specs = {job.name: job for job in jobs}
        self._clock = clock
        self._records: dict[str, JobRecord] = {}
        self._feed = RunFeed(bus, clock, None)

    async def run(self) -> None:
        """Follow until every job is over, or has no leader: not even one that is silent.

        Cancelling it is harmless.
        """
        facts = FactReader(self._folder)
        for fact in facts.poll():
            self._fold(fact)
        for record in self._records.values():
            if record.handle and not record.state.is_terminal:
                self._feed.open(self._spec(record))
            if record.state is JobState.RUNNING:
                self._begin(record)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed.run, name="feed")
            await self._read_on(facts)
            tasks.cancel_scope.cancel()

    async def _read_on(self, facts: FactReader) -> None:
        is_silent = False
        while not self._is_over():
            # First: then what the leader recorded last is there to be read.
            leader = leader_of(self._folder)
            is_being_led = leader is not None and not leader.can_be_replaced
            if leader is not None and leader.is_silent and not is_silent:
                logger.warning("%s is %s", os.path.basename(self._folder), leader)
            is_silent = leader is not None and leader.is_silent
            for fact in facts.poll():
                await self._take_in(fact)
            for name in self._records:
                await self._feed.hand_on(name)
            if not is_being_led or self._is_over():
                return
            await sleep(self._clock, _POLL_S)

    def _is_over(self) -> bool:
        # Not of those that were added later: they are told while there is something to follow.
        records = [self._records.get(name) for name in self._specs]
        return all(record is not None and record.state.is_terminal for record in records)

    async def _take_in(self, fact: JobFact) -> None:
        """Tell a fact as its leader does: an end after all that was written before it."""
        if fact.job not in self._records or fact.job not in self._specs:
            self._fold(fact)
            await self._bus.publish(fact)
            return
        if isinstance(fact, JobEnded | JobRetrying | JobRequeued):
            await self._feed.drain(self._spec(self._records[fact.job]))
        if isinstance(fact, JobEnded):
            await self._feed.end(self._spec(self._records[fact.job]), fact)
        self._fold(fact)
        if isinstance(fact, JobSubmitted | JobRequeued):
            # Its leader may have noted by now how far it has come with its output.
            self._feed.open(self._spec(self._records[fact.job]), is_new=True)
        await self._bus.publish(fact)
        if isinstance(fact, JobStarted):
            self._begin(self._records[fact.job])

    def _begin(self, record: JobRecord) -> None:
        spec = self._spec(record)
        self._feed.begin(spec)
        self._feed.follow_metrics(spec)

    def _spec(self, record: JobRecord) -> JobSpec:
        """Return a job as of its latest attempt."""
        folder = os.path.join(self._folder, record.folder)
        return replace(self._specs[record.name], attempt=record.attempt, folder=folder)

    def _fold(self, fact: JobFact) -> None:
        record = fold(self._records.get(fact.job), fact)
        if record is not None:
            self._records[fact.job] = record
