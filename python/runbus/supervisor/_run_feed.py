"""What the runs of jobs print, log and record, up to their ends, on its way to the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.events import LogLines, RunFinished
from runbus.jobs import JobState
from runbus.supervisor._catch_up import Stragglers
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._output import JobOutput
from runbus.supervisor._records import RecordFeed

if TYPE_CHECKING:
    from runbus._clock import AlarmClock
    from runbus.abc import JobSpec
    from runbus.bus import Bus
    from runbus.events import JobEnded
    from runbus.supervisor._positions import CheckLead

__all__ = ["RunFeed"]


class RunFeed:
    """Tells a leader's bus and a follower's the same of the runs of jobs, in the same order.

    Of each attempt: `open` once a backend has it, `begin` once its start has been reported, then
    `hand_on` again and again, and `drain` when it is over; `end` before the end of the job is
    reported.

    Args:
        bus: Where it goes; a full mailbox that blocks makes the feed wait, and the files grow. A
            reader that takes nothing for 5 seconds does not stop the others: it is served from the
            files, at its own pace, from then on.
        clock: Where the time of what happens here comes from.
        check_lead: Raises `LeaseLost` if this process does not lead the experiment any more; asked
            before it is noted how far it has come. None for one that only follows: it notes
            nothing, and is told all that there is.
    """

    def __init__(self, bus: Bus, clock: AlarmClock, check_lead: CheckLead) -> None:
        self._bus = bus
        self._clock = clock
        self._check_lead = check_lead
        self._stragglers = Stragglers(bus)
        self._metrics = MetricFeed(bus, clock, self._stragglers, check_lead)
        self._records = RecordFeed(bus, clock, self._metrics.has_begun, check_lead)
        self._outputs: dict[str, JobOutput] = {}
        self._begun: set[str] = set()

    async def run(self) -> None:
        """Feed the bus with what is logged and recorded until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stragglers.run, name="stragglers")
                tasks.start_soon(self._metrics.run, name="metrics")
                tasks.start_soon(self._records.run, name="records")
        finally:
            for output in self._outputs.values():
                output.close()

    def notice(self) -> bool:
        """Follow what somebody reads by now; return whether somebody reads what jobs print."""
        self._metrics.notice()
        self._records.notice()
        return self._bus.has_readers(LogLines)

    def open(self, job: JobSpec, *, is_new: bool = False) -> None:
        """A backend has an attempt of the job: what was written of it before comes first.

        Args:
            job: The job, as of that attempt.
            is_new: Whether all that it prints is told, however far its leader has come with that.
        """
        self._outputs[job.name] = JobOutput(
            job, self._bus, self._clock, self._stragglers, self._check_lead, is_new=is_new
        )
        self._records.follow(job)

    def begin(self, job: JobSpec) -> None:
        """The start of the attempt has been reported: what it writes may follow."""
        self._begun.add(job.name)
        self._records.begin(job)

    def follow_metrics(self, job: JobSpec) -> None:
        """Hand on what the run logs as it comes, from now on; safe to repeat."""
        if job.name in self._begun:
            self._metrics.follow(job)

    async def hand_on(self, name: str) -> None:
        """Emit what the job of a name has written meanwhile."""
        if name in self._begun and (output := self._outputs.get(name)) is not None:
            await output.hand_on()

    async def drain(self, job: JobSpec) -> None:
        """The attempt is over: return when all that it wrote, logged and recorded is on the bus."""
        self._begun.discard(job.name)
        if (output := self._outputs.pop(job.name, None)) is not None:
            try:
                await output.drain()
            finally:
                output.close()
            await self._metrics.drain(job)
            await self._records.drain(job)

    async def end(self, job: JobSpec, ended: JobEnded) -> None:
        """Tell what the run recorded last, and its end; it is followed no more."""
        may_go_on = ended.state == JobState.PREEMPTED
        await self._records.finish(job, may_go_on=may_go_on)
        if self._metrics.has_begun(job):
            await self._bus.publish(
                RunFinished(
                    run_id=job.run_id,
                    experiment_id=job.experiment_id,
                    job=job.name,
                    state=ended.state,
                    time_ns=ended.time_ns,
                )
            )
        self._metrics.forget(job, may_go_on=may_go_on)
