"""The jobs of one login node: their files are copied, and Slurm is asked about all at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus.abc import JobRef
from runbus.executors._host import Host
from runbus.executors._slurm.listing import Fact
from runbus.executors._slurm.machine import Member, SlurmMachine
from runbus.executors._slurm.poll import Poll, poll_of
from runbus.executors._slurm.verdict import (
    Standing,
    is_forgotten,
    judged,
    needs_word,
    waits,
    withdrawn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus.abc import Observation, Tunnel
    from runbus.errors import RunbusError
    from runbus.executors._host import FollowedJob, Round
    from runbus.executors._look import Answer, Look
    from runbus.executors._placement import Placement
    from runbus.executors._slurm.scheduler import Scheduler

__all__ = ["SlurmHost"]

_SLOTS = 1 << 30
"""Slurm has room for any number: it queues them."""

_FORCE_S = 60.0
"""How long after its grace a job that was to end is left to its own script."""


class SlurmHost(Host):
    """Follows the jobs that one user has in a cluster, which Slurm begins once.

    Args:
        tunnel: How to reach the login node.
        scheduler: How Slurm is spoken to.
        poll_s: How often Slurm is asked, in seconds, while things happen there.
        changed: Called when something new was seen.
        copy_patience_s: How long the end of a job waits for files that cannot be copied.
        notice: The signal that announces to jobs that their time is nearly over; 0 if none does.
    """

    machine: SlurmMachine
    requeue = False
    """Whether Slurm may begin them anew by itself."""

    def __init__(
        self,
        tunnel: Tunnel,
        scheduler: Scheduler,
        poll_s: float,
        changed: Callable[[], None],
        copy_patience_s: float = 60.0,
        notice: int = 0,
    ) -> None:
        self.scheduler = scheduler
        super().__init__(tunnel, _SLOTS, None, changed, copy_patience_s)
        self.poll_s = poll_s
        self._notice = notice
        self.standings: dict[str, Standing] = {}
        self.numbers: dict[str, str] = {}
        self._poll: Poll | None = None
        self._ended_since: dict[str, float] = {}
        self._forced: dict[str, float] = {}

    def _machine(self, gpus: Sequence[str] | None) -> SlurmMachine:
        return SlurmMachine(self.tunnel, self.scheduler)

    def follow(self, ref: JobRef, placement: Placement) -> FollowedJob:
        """Look at a job from now on, and ask Slurm about it."""
        is_new = ref.folder not in self.jobs
        job = super().follow(ref, placement)
        if is_new:
            self._ask()
        return job

    def cancel(self, placement: Placement, grace_s: float) -> None:
        """Have a job ended, as soon as Slurm can be reached."""
        super().cancel(placement, grace_s)
        self._ask()

    @property
    def free(self) -> int:
        """How many more jobs it may have: Slurm queues them."""
        return _SLOTS

    def _ask(self) -> None:
        """Have Slurm asked soon."""
        if self._poll is not None:
            self._poll.wake()

    async def submit_all(self, members: Sequence[Member]) -> list[JobRef | RunbusError | None]:
        """Hand equal jobs over as one array and follow them; see `SlurmMachine.submit_all`."""
        outcomes = await self.machine.submit_all(members)
        for one, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, JobRef):
                self.follow_new(one)
        return outcomes

    def follow_new(self, one: Member) -> None:
        """Follow a job that Slurm has just taken."""
        # Nothing of it is there to be looked at before Slurm has said that it runs.
        fact = Fact("", one.placement.known_as, "PENDING", source="sbatch")
        self.standings.setdefault(one.ref.folder, Standing(fact))
        self.follow(one.ref, one.placement)

    async def run(self) -> None:
        """Look at the jobs, and ask Slurm about them, for as long as there are any."""
        self._poll = poll_of(self.scheduler.way)
        async with anyio.create_task_group() as both:
            both.start_soon(self._poll.run, self, name=f"ask Slurm at {self.name}")
            await super().run()

    def open_jobs(self) -> list[FollowedJob]:
        """Return the jobs that Slurm is to be asked about."""
        return self._unfinished()

    @property
    def has_work(self) -> bool:
        """Whether there is something to ask Slurm, or to end."""
        return bool(self._cancels or self._forced or self._unfinished())

    def _unfinished(self) -> list[FollowedJob]:
        # Slurm is told to begin no job anew: one that it preempted has ended.
        jobs = super()._unfinished()
        return [job for job in jobs if not job.observation or job.observation.phase != "preempted"]

    def told(self) -> None:
        """Slurm has said something new."""
        self._wake.set()

    async def end_jobs(self) -> None:
        """Have those ended whose end was asked for, by force where they outstay their grace.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        now = time.monotonic()
        if cancels := dict(self._cancels):
            jobs = [job for job in self.jobs.values() if job.placement.folder in cancels]
            waited = await self.machine.stop(
                {job.placement: cancels[job.placement.folder] for job in jobs}
            )
            for job in jobs:
                if job.placement in waited:
                    self._withdraw(job)
                if job in super()._unfinished():
                    folder = job.placement.folder
                    self._forced[folder] = now + cancels[folder] + _FORCE_S
            for folder, grace_s in cancels.items():
                if self._cancels.get(folder) == grace_s:
                    del self._cancels[folder]
        late = [folder for folder, until in self._forced.items() if until < now]
        if late:
            await self.machine.kill(
                [job.placement for job in self.jobs.values() if job.placement.folder in late]
            )
            for folder in late:
                self._forced.pop(folder, None)

    def _withdraw(self, job: FollowedJob) -> None:
        folder = job.ref.folder
        before = self.standings.get(folder, Standing())
        name = job.placement.known_as
        self.standings[folder] = withdrawn(before, name, time.monotonic())
        self._wake.set()

    async def _end_asked(self) -> None:
        """Leave that to the one who asks Slurm: it may take long."""

    def _to_look_at(self) -> list[FollowedJob]:
        """Return the jobs that may have written something: not those that wait in the queue."""
        return [job for job in self._unfinished() if not self._waits(job)]

    def _waits(self, job: FollowedJob) -> bool:
        standing = self.standings.get(job.ref.folder, Standing())
        fact, is_silent = standing.fact, self._poll is not None and self._poll.silence
        if fact is None or is_silent or standing.absences:
            return False  # what Slurm said last of it may be over long ago
        return fact.state == "PENDING" and job.recorded is None

    async def _round(self) -> bool:
        changed = await super()._round()
        for job in self._unfinished():
            if self._waits(job):
                seen = self._judged(job, None)
                if seen is not None and seen != job.observation:
                    job.observation, changed = seen, True
        if changed:
            self._changed()
        return changed

    def _is_gone(self, job: FollowedJob, look: Look, answer: Answer) -> bool:
        standing = self.standings.get(job.ref.folder, Standing())
        return standing.is_over or is_forgotten(standing, job.written_at, time.monotonic())

    def _judge(self, job: FollowedJob, look: Look, round_: Round) -> Observation | None:
        return self._judged(job, self._keep(job, look, round_))

    def _asked_since(self, moment: float) -> bool:
        return self._poll is not None and self._poll.asked_at > moment

    def _told(self, job: FollowedJob, told: Observation) -> Observation:
        """Return what is told of a job; a subclass may know more."""
        return told

    def _judged(self, job: FollowedJob, seen: Observation | None) -> Observation | None:
        folder, now = job.ref.folder, time.monotonic()
        since = now
        if seen is not None and seen.phase == "ended":
            since = self._ended_since.setdefault(folder, now)
        standing = self.standings.get(folder, Standing())
        is_fresh = self._asked_since(since)
        told = judged(
            seen, standing, self.name, now, now - since, self._notice, is_fresh, job.written_at,
            self.requeue,
        )  # fmt: skip
        if told is None:
            if seen is not None and needs_word(seen):
                self._ask()
            return job.observation
        if told.phase == "running" and standing.fact is not None and standing.fact.nodes:
            told = replace(told, host=standing.fact.nodes)
        told = self._told(job, told)
        if told.phase == "ended":
            # Of an end without a record only this tells who looks once more.
            if seen is not None and seen.phase == "ended":
                self.standings.pop(folder, None)
            for known in (self.numbers, self._ended_since):
                known.pop(folder, None)
            self._forced.pop(job.placement.folder, None)
        elif told.phase == "preempted" and standing.fact is not None and waits(standing.fact):
            # Each attempt is a job of its own there: Slurm would begin one that has ended.
            self._forced[job.placement.folder] = now
            self._ask()
        return told
