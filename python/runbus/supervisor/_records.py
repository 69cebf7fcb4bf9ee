"""What the runs of jobs record, on its way to the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.events import RunRecorded, descendants
from runbus.metrics import RecordTail
from runbus.supervisor._pace import IDLE_S, Pace
from runbus.supervisor._positions import NOTE_S, Positions
from runbus.supervisor._time import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus._clock import AlarmClock
    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.supervisor._positions import CheckLead

__all__ = ["RecordFeed"]

POLL_S = 0.1
"""How often it is looked for records: ever less while there are none that anybody waits for."""

_FACTS = (*descendants(RunRecorded),)


class RecordFeed:
    """Follows the runs of jobs and publishes what they record: params, tags, texts, files.

    What an attempt records is published between its start and its end, as those are reported.

    Args:
        bus: Where it goes.
        clock: Tells the time.
        has_begun: Whether the run of a job is on the bus as begun; nothing is published before.
        check_lead: See `Positions`.
    """

    def __init__(
        self,
        bus: Bus,
        clock: AlarmClock,
        has_begun: Callable[[JobSpec], bool],
        check_lead: CheckLead,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._has_begun = has_begun
        self._check_lead = check_lead
        self._runs: dict[str, _Run] = {}
        self._left: dict[str, Positions] = {}
        self._is_read = False
        self._noticed = Alarm(clock)

    async def run(self) -> None:
        """Feed the bus until cancelled."""
        next_note_s = 0.0
        pace = Pace(POLL_S, IDLE_S)
        while True:
            is_due = (now := self._clock.monotonic()) >= next_note_s
            has_changed = self._is_read = self._bus.has_readers(*_FACTS)
            for run in list(self._runs.values()):
                has_changed |= await self._hand_on(run)
                if is_due:
                    run.positions.note(run.tail.positions)
            if is_due:
                next_note_s = now + NOTE_S
            pace.looked(now, has_changed=has_changed)
            self._noticed.clear()
            await self._noticed.wait(now + pace.wait_s(now))

    def notice(self) -> None:
        """Look at once if somebody waits for facts, and nobody did before."""
        if not self._is_read and self._bus.has_readers(*_FACTS):
            self._noticed.ring()

    def follow(self, job: JobSpec) -> None:
        """Follow the run of a job, over all of its attempts, from now on; safe to repeat.

        What it has recorded comes from where the leader before had noted last.
        """
        if job.run_id not in self._runs:
            positions = self._left.pop(job.run_id, None)
            positions = positions or Positions(job.run_folder, "records", self._check_lead)
            self._runs[job.run_id] = _Run(job, positions)

    def begin(self, job: JobSpec) -> None:
        """The start of the job's latest attempt has been reported: what that records may follow."""
        if (run := self._runs.get(job.run_id)) is not None:
            run.attempt = max(run.attempt, job.attempt)

    async def drain(self, job: JobSpec) -> None:
        """Publish what a job has recorded up to its latest attempt; it is followed on."""
        self.begin(job)
        if (run := self._runs.get(job.run_id)) is not None:
            await self._hand_on(run)

    async def finish(self, job: JobSpec, *, may_go_on: bool = False) -> None:
        """Publish what is left, and follow the run no more unless it may continue and does.

        When this returns nothing of the run is on its way any more; it may be cancelled, and is
        safe to repeat.
        """
        await self.drain(job)
        if (run := self._runs.pop(job.run_id, None)) is not None:
            run.positions.note(run.tail.positions)
            if may_go_on:
                self._left[job.run_id] = run.positions

    async def _hand_on(self, run: _Run) -> bool:
        """Publish what a run has recorded meanwhile; return whether there was anything."""
        if not self._has_begun(run.job):
            return False
        async with run.lock:
            facts = run.tail.poll(run.attempt)
            for fact in facts:
                await self._bus.publish(fact)
        return bool(facts)


class _Run:
    """A run that is followed."""

    __slots__ = ("attempt", "job", "lock", "positions", "tail")

    def __init__(self, job: JobSpec, positions: Positions) -> None:
        self.job = job
        # What a later one records is not told before the end of the one before.
        self.attempt = job.attempt - 1
        self.lock = anyio.Lock()
        self.positions = positions
        self.tail = RecordTail(
            job.run_id, job.experiment_id, job.name, job.run_folder, self.positions.last
        )
