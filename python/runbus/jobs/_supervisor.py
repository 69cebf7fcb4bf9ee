"""Takes the jobs of an experiment from intent to end, and tells the journal and the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, Clock
from runbus.errors import RunbusError
from runbus.events import (
    Bootstrap,
    ImageTransform,
    JobCancelRequested,
    JobEnded,
    JobIntended,
    JobStarted,
    JobSubmitted,
    TaskStart,
)
from runbus.jobs._evidence import verdict
from runbus.jobs._output import JobOutput
from runbus.jobs._state import JobRecord, JobState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from runbus.abc import Executor, JobRef, JobSpec, Observation
    from runbus.bus import Bus
    from runbus.events import JobFact
    from runbus.jobs._store import JobStore

    class _About(TypedDict):
        experiment_id: str
        job: str
        run_id: str
        attempt: int
        time_ns: int


__all__ = ["Supervisor"]

POLL_S = 0.025
"""How often a running job is looked at; what it writes is on the bus well within 100 ms."""

CANCEL_GRACE_S = 10.0
"""Seconds between TERM and KILL where the caller does not say."""

KILL_S = 5.0
"""How long the end of killed jobs is waited for."""

GONE_LOOKS = 3
"""A job that is neither there nor recorded as ended is LOST only after so many looks in a row."""


class Supervisor:
    """Runs the jobs of one experiment on one executor, `max_parallel` at a time.

    Each fact is in the journal before it is on the bus. All intents are durable before the first
    job is submitted. A job ends on the bus after all of its output.

    Args:
        bus: Where facts, log lines and metric batches go.
        executor: What runs the jobs.
        store: The experiment's journal.
        clock: Where the time of what happens here comes from.
    """

    def __init__(
        self, bus: Bus, executor: Executor, store: JobStore, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._bus = bus
        self._executor = executor
        self._store = store
        self._clock = clock
        self._active: dict[str, _Attempt] = {}
        self._cancel_reason: str | None = None
        self._cancel_grace_s = 0.0

    async def run(self, jobs: Sequence[JobSpec], *, max_parallel: int) -> list[JobRecord]:
        """Run all jobs to their ends and return their records, in the order given.

        Cancelling this cancels the jobs, waits until they have ended, and then is cancelled.

        Raises:
            JournalError: The journal cannot be written; jobs that run already go on by themselves.
        """
        machine = _Machine()
        async with anyio.create_task_group() as host:
            host.start_soon(machine.drive, self._run_all, jobs, max_parallel, name="run jobs")
            try:
                await machine.stopped.wait()
            except anyio.get_cancelled_exc_class():
                await self._wind_up(machine)
                raise
        if machine.error is not None:
            raise machine.error
        return [self._store.jobs[job.name] for job in jobs]

    async def _wind_up(self, machine: _Machine) -> None:
        """End all jobs because `run` was cancelled, in bounded time."""
        with anyio.CancelScope(shield=True):
            await self.cancel("the experiment was cancelled", CANCEL_GRACE_S)
            with anyio.move_on_after(CANCEL_GRACE_S + KILL_S):
                await machine.stopped.wait()
            machine.scope.cancel()

    async def _run_all(self, jobs: Sequence[JobSpec], max_parallel: int) -> None:
        for job in jobs:
            await self._tell(
                JobIntended(
                    **self._about(job),
                    executor=self._executor.name,
                    folder=self._store.relative(job.folder),
                )
            )
        # On a network file system a sync takes long: not in the loop's thread.
        await anyio.to_thread.run_sync(self._store.sync)
        slots = anyio.Semaphore(max_parallel)
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._watch, name="watch jobs")
            async with anyio.create_task_group() as attempts:
                for job in jobs:
                    await slots.acquire()
                    attempts.start_soon(self._attend, job, slots, name=f"job {job.name}")
            watch.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._store.sync)

    async def cancel(self, reason: str, grace_s: float) -> None:
        """Ask every job to end, and submit no more; returns at once.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
        """
        first = self._cancel_reason is None
        self._cancel_reason, self._cancel_grace_s = reason, grace_s
        active = list(self._active.values())
        if first:
            for attempt in active:
                await self._tell(JobCancelRequested(**self._about(attempt.job), reason=reason))
        await self._executor.cancel([attempt.ref for attempt in active], grace_s)

    async def _attend(self, job: JobSpec, slots: anyio.Semaphore) -> None:
        """Take one job from its intent to its end."""
        try:
            if self._cancel_reason is not None:
                await self._end(job, JobState.CANCELLED, reason=self._cancel_reason)
                return
            try:
                prepared = await self._prepared(job)
                request = self._executor.plan(prepared)
                about = TaskStart(job=job.name, attempt=job.attempt, executor=self._executor.name)
                async with self._bus.around(about):
                    await self._see_through(job, await self._executor.submit(request))
            except RunbusError as error:
                if not self._store.jobs[job.name].state.is_terminal:
                    await self._end(job, JobState.FAILED, reason=str(error))
        finally:
            slots.release()

    async def _prepared(self, job: JobSpec) -> JobSpec:
        """Let plugins change the image and add bootstrap lines."""
        about = {"job": job.name, "executor": self._executor.name}
        image = await self._bus.apply(ImageTransform(value=job.image, **about))
        lines = await self._bus.collect(Bootstrap(**about))
        return replace(job, image=image, bootstrap=(*job.bootstrap, *(line for _, line in lines)))

    async def _see_through(self, job: JobSpec, ref: JobRef) -> None:
        """Wait for the end of a job that was submitted."""
        await self._tell(JobSubmitted(**self._about(job), handle=ref.handle))
        attempt = _Attempt(job, ref)
        self._active[job.name] = attempt
        if self._cancel_reason is not None:
            await self._executor.cancel([ref], self._cancel_grace_s)
        await attempt.ended.wait()

    async def _watch(self) -> None:
        """Look at all jobs, hand on their output, and say what was seen."""
        next_tail = 0.0
        while True:
            await self._executor.wait_for_change(POLL_S)
            attempts = list(self._active.values())
            seen = await self._executor.observe([attempt.ref for attempt in attempts])
            now = self._clock.monotonic()
            tail, next_tail = (True, now + POLL_S) if now >= next_tail else (False, next_tail)
            for attempt in attempts:
                if observation := seen.get(attempt.job.name):
                    await self._take_in(attempt, observation)
                if tail and attempt.job.name in self._active:
                    await attempt.output.hand_on(self._bus)

    async def _take_in(self, attempt: _Attempt, seen: Observation) -> None:
        """Turn what was seen of a job into facts."""
        job = attempt.job
        if seen.started_ns and not attempt.has_started:
            attempt.has_started = True
            await self._tell(
                JobStarted(**self._about(job, seen.started_ns), host=seen.host, pid=seen.pid)
            )
        attempt.gone_looks = attempt.gone_looks + 1 if seen.phase == "gone" else 0
        if seen.phase != "ended" and attempt.gone_looks < GONE_LOOKS:
            return
        await attempt.output.hand_on(self._bus, final=True)
        attempt.output.close()
        state, reason = verdict(seen, self._cancel_reason)
        await self._end(job, state, reason=reason, seen=seen)
        del self._active[job.name]
        attempt.ended.set()

    async def _end(
        self, job: JobSpec, state: JobState, *, reason: str, seen: Observation | None = None
    ) -> None:
        await self._tell(
            JobEnded(
                **self._about(job, seen.ended_ns if seen else 0),
                state=state,
                exit_code=seen.exit_code if seen else None,
                signal=seen.signal if seen else None,
                reason=reason,
                duration_s=seen.duration_s if seen else 0.0,
            )
        )

    async def _tell(self, fact: JobFact) -> None:
        """Record a fact, then publish it."""
        self._store.record(fact)
        await self._bus.publish(fact)

    def _about(self, job: JobSpec, time_ns: int = 0) -> _About:
        return {
            "experiment_id": job.experiment_id,
            "job": job.name,
            "run_id": job.run_id,
            "attempt": job.attempt,
            "time_ns": time_ns or self._clock.time_ns(),
        }


class _Machine:
    """What runs the jobs, out of reach of whoever cancels the caller of `Supervisor.run`."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope(shield=True)
        self.stopped = anyio.Event()
        self.error: BaseException | None = None

    async def drive(
        self,
        run_all: Callable[[Sequence[JobSpec], int], Awaitable[None]],
        jobs: Sequence[JobSpec],
        max_parallel: int,
    ) -> None:
        """Run it to its end and keep its error for the caller."""
        try:
            with self.scope:
                await run_all(jobs, max_parallel)
        except Exception as error:
            self.error = error
            while isinstance(self.error, ExceptionGroup) and len(self.error.exceptions) == 1:
                self.error = self.error.exceptions[0]
        finally:
            self.stopped.set()


class _Attempt:
    """An attempt that was submitted and has not ended."""

    __slots__ = ("ended", "gone_looks", "has_started", "job", "output", "ref")

    def __init__(self, job: JobSpec, ref: JobRef) -> None:
        self.job = job
        self.ref = ref
        self.output = JobOutput(job)
        self.ended = anyio.Event()
        self.has_started = False
        self.gone_looks = 0
