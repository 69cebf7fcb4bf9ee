"""Takes the jobs of an experiment from intent to end, and tells the journal and the bus."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypedDict

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, Clock
from runbus.abc import JobRef
from runbus.errors import JournalError, RunbusError, innermost
from runbus.events import (
    Bootstrap,
    ImageTransform,
    JobCancelRequested,
    JobEnded,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    RunFinished,
    TaskStart,
)
from runbus.jobs._attempt import Attempt, End
from runbus.jobs._evidence import verdict
from runbus.jobs._feed import MetricFeed
from runbus.jobs._intent import intents
from runbus.jobs._output import JobOutput
from runbus.jobs._requests import read_requests
from runbus.jobs._state import JobRecord, JobState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runbus.abc import Executor, JobSpec, Observation, Request
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

RETRIED = frozenset({JobState.FAILED, JobState.TIMEOUT, JobState.LOST})
"""The ends after which a job that has retries left gets another attempt."""

REQUESTS_S = 0.25
"""How often it is looked whether another process asks for something."""

BACKOFF_MAX_S = 300.0
"""The longest wait before another attempt."""


class Supervisor:
    """Runs the jobs of one experiment, `max_parallel` at a time.

    Each fact is in the journal before it is on the bus. All intents are durable before the first
    job is submitted. A job ends on the bus after all of its output.

    Args:
        bus: Where facts, log lines and metric batches go.
        executors: What runs the jobs, by the names that the jobs use.
        store: The experiment's journal.
        clock: Where the time of what happens here comes from.
    """

    def __init__(
        self,
        bus: Bus,
        executors: Mapping[str, Executor],
        store: JobStore,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._bus = bus
        self._executors = executors
        self._store = store
        self._clock = clock
        self._active: dict[str, Attempt] = {}
        self._specs: dict[str, JobSpec] = {}
        self._submitting: dict[str, anyio.CancelScope] = {}
        self._feed = MetricFeed(bus, clock)
        self._ending: dict[str, str] = {}
        self._ending_all: str | None = None
        self._ending_changed = anyio.Event()
        self._cancel_grace_s = 0.0

    async def run(self, jobs: Sequence[JobSpec], *, max_parallel: int) -> list[JobRecord]:
        """Run all jobs to their ends and return their records, in the order given.

        Cancelling this cancels the jobs, waits until they have ended, and then is cancelled.

        Raises:
            JournalError: The journal cannot be written; jobs that run already go on by themselves.
        """
        self._specs = {job.name: job for job in jobs}
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
        for fact in intents(self._store, jobs, self._clock):
            await self._tell(fact)
        # On a network file system a sync takes long: not in the loop's thread.
        await anyio.to_thread.run_sync(self._store.sync)
        slots = anyio.Semaphore(max_parallel)
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._heed_requests, name="cancel requests")
            watch.start_soon(self._feed.run, name="metrics")
            for name, executor in self._executors.items():
                watch.start_soon(self._watch, executor, name=f"watch {name}")
            async with anyio.create_task_group() as attempts:
                for job in self._unfinished(jobs):
                    await slots.acquire()
                    attempts.start_soon(self._attend, job, slots, name=f"job {job.name}")
            watch.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._store.sync)

    def _unfinished(self, jobs: Sequence[JobSpec]) -> list[JobSpec]:
        """Return the jobs that are not over, as of their latest attempts; those that run first."""
        unfinished = []
        for job in jobs:
            record = self._store.jobs[job.name]
            if not record.state.is_terminal:
                folder = self._store.absolute(record.folder)
                unfinished.append(replace(job, attempt=record.attempt, folder=folder))
        return sorted(unfinished, key=lambda job: not self._store.jobs[job.name].handle)

    async def cancel(self, reason: str, grace_s: float, job: str | None = None) -> None:
        """Ask a job, or all, to end, and do not submit it again; returns at once.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
            job: The job's name; None for all jobs.
        """
        for name, record in list(self._store.jobs.items()):
            if job in (None, name) and not (record.cancelling or record.state.is_terminal):
                about = self._about(self._specs[name], attempt=record.attempt)
                await self._tell(JobCancelRequested(**about, reason=reason))
        self._cancel_grace_s = grace_s
        if job is None:
            self._ending_all = reason
        else:
            self._ending[job] = reason
        self._ending_changed.set()
        self._ending_changed = anyio.Event()
        for name, scope in self._submitting.items():
            if job in (None, name):
                scope.cancel()
        attempts = [one for one in self._active.values() if job in (None, one.job.name)]
        for executor in self._executors.values():
            refs = [attempt.ref for attempt in attempts if attempt.executor is executor]
            await executor.cancel(refs, grace_s)

    async def _heed_requests(self) -> None:
        """Act on what other processes ask for."""
        while True:
            for path, request in read_requests(self._store.folder).items():
                await self.cancel(request.reason, request.grace_s, request.job)
                os.unlink(path)
            await anyio.sleep(REQUESTS_S)

    def _reason_to_end(self, job: str) -> str | None:
        """Return why a job was asked to end; None if it was not."""
        if (reason := self._ending.get(job, self._ending_all)) is not None:
            return reason
        record = self._store.jobs.get(job)
        return "it was cancelled" if record and record.cancelling else None

    async def _pause(self, job: str, delay_s: float) -> None:
        """Wait before another attempt, but not once nobody wants it any more."""
        with anyio.move_on_after(delay_s):
            while self._reason_to_end(job) is None:
                await self._ending_changed.wait()

    async def _attend(self, job: JobSpec, slots: anyio.Semaphore) -> None:
        """Take one job from its intent to its end, through as many attempts as it gets."""
        try:
            while True:
                end = await self._attempt(job)
                if end.state not in RETRIED or job.retries < job.attempt:
                    await self._tell_end(job, end)
                    return
                job, delay_s = await self._tell_retry(job, end)
                # Whoever waits for a slot may have it meanwhile.
                slots.release()
                await self._pause(job.name, delay_s)
                await slots.acquire()
        finally:
            slots.release()

    async def _attempt(self, job: JobSpec) -> End:
        """Submit a job, unless it was submitted before this process began, and await its end."""
        record = self._store.jobs[job.name]
        try:
            if record.handle:
                ref = JobRef(name=job.name, folder=job.folder, handle=record.handle)
                return await self._see_through(job, ref)
            if (reason := self._reason_to_end(job.name)) is not None:
                return End(JobState.CANCELLED, reason, None)
            executor = self._executors[job.executor]
            request = executor.plan(await self._prepared(job))
            about = TaskStart(job=job.name, attempt=job.attempt, executor=job.executor)
            async with self._bus.around(about):
                submitted = await self._submit(executor, request)
                if submitted is None:
                    return End(JobState.CANCELLED, self._reason_to_end(job.name) or "", None)
                await self._tell(JobSubmitted(**self._about(job), handle=submitted.handle))
                return await self._see_through(job, submitted)
        except JournalError:
            raise
        except RunbusError as error:
            return End(JobState.FAILED, str(error), None)

    async def _submit(self, executor: Executor, request: Request) -> JobRef | None:
        """Submit a job; None if it was asked to end while it waited for its turn there."""
        job = request.job
        ref: JobRef | None = None
        with anyio.CancelScope() as scope:
            self._submitting[job.name] = scope
            try:
                if self._reason_to_end(job.name) is not None:
                    scope.cancel()
                ref = await executor.submit(request)
            finally:
                del self._submitting[job.name]
        if ref is None:
            # It may have been on its way: what has not begun must not begin.
            gone = JobRef(name=job.name, folder=job.folder, handle="")
            await executor.cancel([gone], self._cancel_grace_s)
        return ref

    async def _prepared(self, job: JobSpec) -> JobSpec:
        """Let plugins change the image and add bootstrap lines."""
        about = {"job": job.name, "executor": job.executor}
        image = await self._bus.apply(ImageTransform(value=job.image, **about))
        lines = await self._bus.collect(Bootstrap(**about))
        return replace(job, image=image, bootstrap=(*job.bootstrap, *(line for _, line in lines)))

    async def _see_through(self, job: JobSpec, ref: JobRef) -> End:
        """Wait for the end of a job that was submitted."""
        attempt = Attempt(job, ref, self._executors[job.executor], JobOutput(job))
        attempt.has_started = self._store.jobs[job.name].started_ns > 0
        self._active[job.name] = attempt
        if self._reason_to_end(job.name) is not None:
            await attempt.executor.cancel([ref], self._cancel_grace_s)
        await attempt.ended.wait()
        await self._feed.drain(job)
        del self._active[job.name]
        assert attempt.last is not None
        return End(*verdict(attempt.last, self._reason_to_end(job.name)), attempt.last)

    async def _watch(self, executor: Executor) -> None:
        """Look at all jobs of an executor, hand on their output, and say what was seen."""
        next_tail = 0.0
        while True:
            await executor.wait_for_change(POLL_S)
            attempts = [
                one
                for one in self._active.values()
                if one.executor is executor and not one.ended.is_set()
            ]
            seen = await executor.observe([attempt.ref for attempt in attempts])
            now = self._clock.monotonic()
            tail, next_tail = (True, now + POLL_S) if now >= next_tail else (False, next_tail)
            for attempt in attempts:
                if observation := seen.get(attempt.job.name):
                    await self._take_in(attempt, observation)
                if tail and not attempt.ended.is_set():
                    await attempt.output.hand_on(self._bus)

    async def _take_in(self, attempt: Attempt, seen: Observation) -> None:
        """Turn what was seen of a job into facts."""
        job = attempt.job
        if seen.started_ns and not attempt.has_started:
            attempt.has_started = True
            await self._tell(
                JobStarted(**self._about(job, seen.started_ns), host=seen.host, pid=seen.pid)
            )
        if attempt.has_started and seen.phase == "running":
            self._feed.follow(job)
        if attempt.is_over(seen, self._clock.monotonic()):
            await attempt.output.hand_on(self._bus, final=True)
            attempt.output.close()
            attempt.ended.set()

    async def _tell_end(self, job: JobSpec, end: End) -> None:
        seen = end.seen
        if self._feed.has_begun(job):
            await self._bus.publish(
                RunFinished(
                    run_id=job.run_id,
                    experiment_id=job.experiment_id,
                    job=job.name,
                    state=end.state,
                    time_ns=self._clock.time_ns(),
                )
            )
        self._feed.forget(job)
        await self._tell(
            JobEnded(
                **self._about(job, seen.ended_ns if seen else 0),
                state=end.state,
                exit_code=seen.exit_code if seen else None,
                signal=seen.signal if seen else None,
                reason=end.reason,
                duration_s=seen.duration_s if seen else 0.0,
                cpu_s=seen.cpu_s if seen else 0.0,
            )
        )

    async def _tell_retry(self, job: JobSpec, end: End) -> tuple[JobSpec, float]:
        """Make ready for the next attempt and return it, with the seconds to wait before it."""
        folder = os.path.join(os.path.dirname(job.folder), str(job.attempt + 1))
        os.makedirs(folder, mode=0o700, exist_ok=True)
        delay_s = min(BACKOFF_MAX_S, job.backoff_s * 2 ** (job.attempt - 1))
        seen = end.seen
        await self._tell(
            JobRetrying(
                **self._about(job, seen.ended_ns if seen else 0),
                state=end.state,
                exit_code=seen.exit_code if seen else None,
                signal=seen.signal if seen else None,
                reason=end.reason,
                next_attempt=job.attempt + 1,
                folder=self._store.relative(folder),
                delay_s=delay_s,
            )
        )
        return replace(job, attempt=job.attempt + 1, folder=folder), delay_s

    async def _tell(self, fact: JobFact) -> None:
        """Record a fact, then publish it."""
        self._store.record(fact)
        await self._bus.publish(fact)

    def _about(self, job: JobSpec, time_ns: int = 0, *, attempt: int = 0) -> _About:
        return {
            "experiment_id": job.experiment_id,
            "job": job.name,
            "run_id": job.run_id,
            "attempt": attempt or job.attempt,
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
            self.error = innermost(error)
        finally:
            self.stopped.set()
