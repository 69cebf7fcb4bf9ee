"""One machine that runs jobs: what is asked of it, and what of it is copied here."""

from __future__ import annotations

import logging
import random
import time
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus.abc import Observation
from runbus.attempt import observe_folder
from runbus.errors import HostError
from runbus.executors._look import decoded
from runbus.executors._machine import ShellMachine
from runbus.executors._mirror import Mirror, MirroredJob

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus.abc import JobRef, Request, Tunnel
    from runbus.executors._look import Answer, Look
    from runbus.executors._placement import Placement

__all__ = ["FollowedJob", "Host", "Round", "seen_there"]

logger = logging.getLogger("runbus.executors")

MISSING_S = 3.0
"""How long a job must have been missing, look after look, before that is reported."""

_RETRY_S = 10.0


class FollowedJob(MirroredJob):
    """A job on a machine, what was seen of it, and how far it has been copied.

    Attributes:
        observation: What may be told of it; None if nothing was seen, or not all is here.
        recorded: What its records say, as far as they are here.
        gone_since: Since when nothing of it has been seen, by a clock that is not set.
        written_at: When something was last seen that it wrote, by that clock; before that, since
            when it is followed.
    """

    def __init__(self, ref: JobRef, placement: Placement) -> None:
        super().__init__(ref, placement)
        self.observation: Observation | None = None
        self.recorded: Observation | None = None
        self.gone_since: float | None = None
        self.written_at = time.monotonic()


class Host:
    """Runs jobs on one machine, `slots` at a time.

    Args:
        tunnel: How to reach it.
        slots: How many jobs it may have at a time.
        gpus: The GPUs it may lend to jobs; those that it has if None.
        changed: Called when something new was seen.
        copy_patience_s: How long the end of a job waits for files that cannot be copied although
            the machine answers.

    Attributes:
        machine: What is told to start and end jobs.
        jobs: The jobs that are followed, by their folders here.
        reserved: The folders of those that are about to be started.
        look_s: How often it is looked at, in seconds, while things happen.
        slow_look_s: How often when nothing has changed for long.
    """

    look_s, slow_look_s = 0.05, 0.5

    def __init__(
        self,
        tunnel: Tunnel,
        slots: int,
        gpus: Sequence[str] | None,
        changed: Callable[[], None],
        copy_patience_s: float = 60.0,
    ) -> None:
        self.tunnel = tunnel
        self.machine = self._machine(gpus)
        self.slots = slots
        self.busy_until = 0.0
        self.reserved: set[str] = set()
        self.down_until = 0.0
        self.jobs: dict[str, FollowedJob] = {}
        self.copy_patience_s = copy_patience_s
        self._mirror = Mirror(tunnel, copy_patience_s)
        self._changed = changed
        self._cancels: dict[str, float] = {}
        self._wake = anyio.Event()
        self._said = ""
        self._was_seen = False

    def _machine(self, gpus: Sequence[str] | None) -> ShellMachine:
        """Return what is told to start and end jobs."""
        return ShellMachine(self.tunnel, gpus)

    @property
    def name(self) -> str:
        """What the machine is called in records."""
        return self.tunnel.name

    @property
    def free(self) -> int:
        """How many more jobs it may have."""
        busy = self.reserved | {
            folder
            for folder, job in self.jobs.items()
            if job.observation is None or job.observation.phase in {"queued", "running"}
        }
        return self.slots - len(busy)

    async def submit(
        self,
        ref: JobRef,
        placement: Placement,
        request: Request,
        fields: bytes,
        run_json: bytes,
    ) -> bool:
        """Start a job and follow it; see `ShellMachine.submit`."""
        started = await self.machine.submit(ref, placement, request, fields, run_json)
        if started:
            self.follow(ref, placement)
        return started

    def follow(self, ref: JobRef, placement: Placement) -> FollowedJob:
        """Look at a job from now on."""
        job = self.jobs.get(ref.folder)
        if job is None:
            job = self.jobs[ref.folder] = FollowedJob(ref, placement)
        self._wake.set()
        return job

    def cancel(self, placement: Placement, grace_s: float) -> None:
        """Have a job ended, as soon as the machine can be reached."""
        self._cancels[placement.folder] = grace_s
        self._wake.set()

    async def run(self) -> None:
        """Look at the jobs for as long as there are any, until cancelled."""
        pause = self.look_s
        while True:
            if not self._unfinished() and not self._cancels:
                await self._wake.wait()
            self._wake = anyio.Event()
            try:
                changed = await self._round()
                pause = self.look_s if changed else min(pause * 1.5, self.slow_look_s)
                self.say(None)
            except HostError as error:
                self.say(error)
                if not self._was_seen:
                    # Not seen says nothing about a job: nothing is reported until it is seen again.
                    for job in self._unfinished():
                        job.observation = job.gone_since = None
                pause = random.uniform(0, min(pause * 2, _RETRY_S)) if error.retryable else _RETRY_S
                pause = max(pause, self.look_s)
            with anyio.move_on_after(pause):
                await self._wake.wait()
                pause = self.look_s

    def say(self, error: HostError | None, then: str = "") -> None:
        """Report to the logger what is wrong with the machine, once until that changes.

        Args:
            error: What is wrong; None if nothing is.
            then: What follows from it.
        """
        told = "" if error is None else str(error)
        if told != self._said:
            if told:
                logger.warning("%s%s", told, then and f"; {then}")
            else:
                logger.info("%s answers again", self.name)
            self._said = told

    def _unfinished(self) -> list[FollowedJob]:
        return [
            job
            for job in self.jobs.values()
            if job.observation is None or job.observation.phase != "ended"
        ]

    async def _round(self) -> bool:
        """Ask about all jobs in one request, and copy what is new."""
        self._was_seen = False
        await self.machine.prepare()
        await self._end_asked()
        jobs = self._to_look_at()
        if not jobs:
            return False
        answer = await self._look(jobs)
        self._was_seen = True
        round_ = Round(answer, time.time_ns())
        async with anyio.create_task_group() as copying:
            for job, look in zip(jobs, answer.looks, strict=True):
                copying.start_soon(self._take_in, job, look, round_, name=f"copy {job.ref.name}")
        if round_.changed:
            self._changed()
        if round_.error is not None:
            raise round_.error
        return round_.changed

    async def _look(self, jobs: Sequence[FollowedJob]) -> Answer:
        """Ask about the folders of jobs, all in one request."""
        return await self.machine.look([job.placement for job in jobs])

    async def _end_asked(self) -> None:
        """Have those jobs ended whose end was asked for."""
        if cancels := dict(self._cancels):
            await self.machine.cancel(cancels)
            for folder, grace_s in cancels.items():
                if self._cancels.get(folder) == grace_s:
                    del self._cancels[folder]

    def _to_look_at(self) -> list[FollowedJob]:
        """Return the jobs whose folders may hold something new."""
        return self._unfinished()

    def _is_gone(self, job: FollowedJob, look: Look, answer: Answer) -> bool:
        """Whether nothing of a job is alive; says nothing about one that has ended."""
        return look.is_gone(answer)

    async def _take_in(self, job: FollowedJob, look: Look, round_: Round) -> None:
        """Copy a job's files, then say what was seen: its end comes after all of its output."""
        ended = decoded(look.exit) is not None
        is_over = ended or self._is_gone(job, look, round_.answer)
        copied = await self._mirror.copy(job, look.files, is_over=is_over, final=ended)
        if copied.anything:
            job.written_at = time.monotonic()
            round_.changed = True
        round_.error = copied.error or round_.error
        if not copied.is_enough:
            if copied.error is None:
                job.observation = job.gone_since = None
            return
        seen = self._judge(job, look, round_)
        if seen is not None and seen != job.observation:
            job.observation = seen
            round_.changed = True

    def _keep(self, job: FollowedJob, look: Look, round_: Round) -> Observation | None:
        """Keep the job's records here, so that they read as those of a local one."""
        began = decoded(look.pid)
        for name, line in (("pid.json", look.pid), ("exit.json", look.exit)):
            record = decoded(line)
            if record is not None and name not in job.records:
                boot = began.boot if began is not None else round_.answer.boot
                time_ns = round_.time_of(boot, record.uptime)
                # An answer that was late has put the start later than it was.
                started_ns = job.recorded.started_ns if job.recorded is not None else 0
                job.keep(name, line, max(time_ns, started_ns))
                job.recorded = seen_there(job.ref.folder, self.name)
        return job.recorded

    def _judge(self, job: FollowedJob, look: Look, round_: Round) -> Observation | None:
        """Return what may be told of a job."""
        seen = self._keep(job, look, round_)
        if (seen is not None and seen.phase == "ended") or not self._is_gone(
            job, look, round_.answer
        ):
            job.gone_since = None
            return seen or Observation(phase="queued", host=self.name)
        if job.gone_since is None:
            job.gone_since = time.monotonic()
        if time.monotonic() - job.gone_since < MISSING_S:
            # Between a process's end and its record there is a moment.
            return job.observation
        if seen is None:
            return Observation(phase="gone", host=self.name)
        return replace(seen, phase="gone")


def seen_there(folder: str, host: str) -> Observation | None:
    """Return what a job's records say, with the name by which its machine is reached."""
    seen = observe_folder(folder)
    return seen and replace(seen, host=host)


class Round:
    """What one look at a machine brought."""

    __slots__ = ("answer", "changed", "error", "now_ns")

    def __init__(self, answer: Answer, now_ns: int) -> None:
        self.answer = answer
        self.now_ns = now_ns
        self.changed = False
        self.error: HostError | None = None

    def time_of(self, boot: str, uptime: float) -> int:
        """Return the time of something by our clock: the machine's own may be wrong.

        Args:
            boot: The boot id of the machine where it happened.
            uptime: Seconds since that boot.
        """
        if boot != self.answer.boot or not 0 <= uptime <= self.answer.uptime:
            # On another machine than the one that answers, as with Slurm; before a reboot; or a
            # record that the job has spoilt.
            return self.now_ns
        return self.now_ns - int((self.answer.uptime - uptime) * 1e9)
