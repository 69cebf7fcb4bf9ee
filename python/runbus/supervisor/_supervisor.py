"""Takes the jobs of an experiment from intent to end, and tells the journal and the bus."""

from __future__ import annotations

import logging
import os
from collections import deque
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, Clock
from runbus.abc import JobRef
from runbus.errors import HostError, JournalError, RunbusError, SubmitUnknown, innermost
from runbus.events import Bootstrap, ImageTransform, RunFinished, TaskStart
from runbus.jobs import (
    End,
    JobRecord,
    JobState,
    Patience,
    delay_s,
    gets_another,
    intents,
    late_start,
    read_requests,
    verdict,
)
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._feed import MetricFeed
from runbus.supervisor._output import JobOutput
from runbus.supervisor._records import RecordFeed
from runbus.supervisor._seats import Seats
from runbus.supervisor._teller import Teller
from runbus.supervisor._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runbus.abc import Executor, JobSpec, Observation, Request
    from runbus.bus import Bus
    from runbus.jobs import JobStore

__all__ = ["Supervisor"]

logger = logging.getLogger("runbus.jobs")

CANCEL_GRACE_S = 10.0
"""Seconds between TERM and KILL where the caller does not say."""

KILL_S = 5.0
"""How long the end of killed jobs is waited for."""

REQUESTS_S = 0.25
"""How often it is looked whether another process asks for something."""

FIND_S, FIND_MAX_S = 0.5, 30.0
"""Seconds between two questions to a backend that does not answer: at first, and at the most."""


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
        self._teller = Teller(bus, store, clock)
        self._watches = {
            name: Watch(executor, bus, self._take_in, clock) for name, executor in executors.items()
        }
        self._inherited: set[str] = set()
        self._specs: dict[str, JobSpec] = {}
        self._submitting: dict[str, anyio.CancelScope] = {}
        self._seats: Seats | None = None
        self._feed = MetricFeed(bus, clock)
        self._records = RecordFeed(bus, clock, self._feed.has_begun)
        self._ending: dict[str, str] = {}
        self._ending_all: str | None = None
        self._ending_changed = anyio.Event()
        self._cancel_grace_s = 0.0

    async def run(self, jobs: Sequence[JobSpec], *, max_parallel: int) -> list[JobRecord]:
        """Run all jobs to their ends and return their records, in the order given.

        Jobs of the experiment that are not given are neither started nor ended. Cancelling this
        cancels the jobs, waits until they have ended, and then is cancelled.

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
        # Whoever intended these may have submitted them, too.
        self._inherited = set(self._store.jobs)
        for fact in intents(self._store, jobs, self._clock):
            await self._teller.tell(fact)
        # On a network file system a sync takes long: not in the loop's thread.
        await anyio.to_thread.run_sync(self._store.sync)
        seats = self._seats = Seats(self._executors, max_parallel)
        unfinished = self._unfinished(jobs)
        async with anyio.create_task_group() as watches:
            watches.start_soon(self._heed_requests, name="cancel requests")
            watches.start_soon(self._feed.run, name="metrics")
            watches.start_soon(self._records.run, name="records")
            for name, watch in self._watches.items():
                watches.start_soon(watch.run, name=f"watch {name}")
            async with anyio.create_task_group() as attempts:
                for name in self._executors:
                    queue = [job for job in unfinished if job.executor == name]
                    attempts.start_soon(self._seat, queue, seats, attempts, name=f"seat {name}")
            watches.cancel_scope.cancel()
        await anyio.to_thread.run_sync(self._store.sync)

    async def _seat(
        self, queue: Sequence[JobSpec], seats: Seats, attempts: anyio.abc.TaskGroup
    ) -> None:
        """Attend to the jobs of one executor, in their order, as there are seats.

        Jobs that were asked to end are not submitted any more: they need none, and wait for none.
        """
        waiting = deque(queue)
        while waiting:
            wanted: deque[JobSpec] = deque()
            for job in waiting:
                if self._reason_to_end(job.name) is None:
                    wanted.append(job)
                else:
                    attempts.start_soon(self._attend, job, seats, False, name=f"job {job.name}")
            waiting = wanted
            while waiting and await seats.take(waiting[0].executor):
                job = waiting.popleft()
                attempts.start_soon(self._attend, job, seats, True, name=f"job {job.name}")

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
        """Ask a job, or all that were given to `run`, to end, and do not submit it again.

        Returns at once.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
            job: The job's name; None for all jobs.
        """
        for name, spec in self._specs.items():
            record = self._store.jobs.get(name)
            if record is None or record.cancelling or record.state.is_terminal:
                continue
            if job in (None, name):
                await self._teller.cancel_requested(spec, record.attempt, reason)
        self._cancel_grace_s = grace_s
        if job is None:
            self._ending_all = reason
        else:
            self._ending[job] = reason
        self._ending_changed.set()
        self._ending_changed = anyio.Event()
        if self._seats is not None:
            self._seats.look_again()
        for name, scope in self._submitting.items():
            if job in (None, name):
                scope.cancel()
        for watch in self._watches.values():
            await watch.cancel(job, grace_s)

    async def _heed_requests(self) -> None:
        """Act on what other processes ask for; what concerns other jobs, too, is left there."""
        heeded: set[str] = set()
        while True:
            for path, request in read_requests(self._store.folder).items():
                if path not in heeded:
                    heeded.add(path)
                    await self.cancel(request.reason, request.grace_s, request.job)
                others = self._store.jobs.keys() - self._specs.keys()
                if not (others if request.job is None else request.job in others):
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

    async def _attend(self, job: JobSpec, seats: Seats, is_seated: bool) -> None:
        """Take one job from its intent to its end, through as many attempts as it gets."""
        try:
            while True:
                end = await self._attempt(job)
                if not gets_another(job, end):
                    await self._tell_end(job, end)
                    return
                wait_s = delay_s(job)
                job = await self._next_attempt(job, end, wait_s)
                # Whoever waits for a seat may have it meanwhile.
                if is_seated:
                    seats.give_back(job.executor)
                is_seated = False
                await self._pause(job.name, wait_s)
                while not is_seated and self._reason_to_end(job.name) is None:
                    is_seated = await seats.take(job.executor)
        finally:
            if is_seated:
                seats.give_back(job.executor)

    async def _attempt(self, job: JobSpec) -> End:
        """Submit a job, unless it was submitted before this process began, and await its end."""
        record = self._store.jobs[job.name]
        waiting_since = self._clock.monotonic()
        try:
            if record.handle:
                waited_s = max(0, self._clock.time_ns() - record.submitted_ns) / 1e9
                ref = JobRef(name=job.name, folder=job.folder, handle=record.handle)
                return await self._see_through(job, ref, waiting_since - waited_s)
            executor = self._executors[job.executor]
            if (found := await self._inherited_ref(executor, job)) is not None:
                return await self._see_through(job, found, waiting_since)
            if (reason := self._reason_to_end(job.name)) is not None:
                return End(JobState.CANCELLED, reason, None)
            request = executor.plan(await self._prepared(job))
            about = TaskStart(job=job.name, attempt=job.attempt, executor=job.executor)
            async with self._bus.around(about):
                submitted = await self._submit(executor, request)
                if submitted is None:
                    if (reason := self._reason_to_end(job.name)) is not None:
                        return End(JobState.CANCELLED, reason, None)
                    return End(JobState.TIMEOUT, late_start(job.queue_timeout_s or 0), None)
                return await self._see_through(job, submitted, waiting_since)
        except JournalError:
            raise
        except RunbusError as error:
            # Nobody else will see the error: what to do about it goes with the reason.
            reason = f"{error}; {error.hint}" if error.hint else str(error)
            return End(JobState.FAILED, reason, None)

    async def _inherited_ref(self, executor: Executor, job: JobSpec) -> JobRef | None:
        """Return a job that an earlier process submitted without living to record it."""
        if job.name not in self._inherited:
            return None
        self._inherited.discard(job.name)
        return await self._find(executor, job)

    async def _find(self, executor: Executor, job: JobSpec) -> JobRef | None:
        """Look a job up until its backend answers: before that nobody knows."""
        pause_s = FIND_S
        while True:
            try:
                return await executor.find(job)
            except HostError as error:
                logger.warning("cannot tell whether job %r was submitted: %s", job.name, error)
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, FIND_MAX_S)

    async def _submit(self, executor: Executor, request: Request) -> JobRef | None:
        """Submit a job; None if it was asked to end, or waited too long, before it was taken."""
        job = request.job
        ref: JobRef | None = None
        limit_s = job.queue_timeout_s
        with anyio.move_on_after(limit_s) as scope:
            self._submitting[job.name] = scope
            try:
                if self._reason_to_end(job.name) is not None:
                    scope.cancel()
                while ref is None:
                    try:
                        ref = await executor.submit(request)
                    except SubmitUnknown as error:
                        logger.warning("%s", error)
                        ref = await self._find(executor, job)
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

    async def _see_through(self, job: JobSpec, ref: JobRef, waiting_since: float) -> End:
        """Wait for the end of a job that was submitted."""
        if not self._store.jobs[job.name].handle:
            await self._teller.submitted(job, ref.handle)
        self._records.follow(job)
        attempt = Attempt(job, ref, JobOutput(job, self._clock), Patience(job, waiting_since))
        record = self._store.jobs[job.name]
        attempt.has_started = record.started_ns > 0
        watch = self._watches[job.executor]
        watch.add(attempt)
        if self._reason_to_end(job.name) is not None:
            await watch.cancel(job.name, self._cancel_grace_s)
        elif record.overdue:
            await watch.cancel(job.name, CANCEL_GRACE_S)
        await attempt.ended.wait()
        await self._feed.drain(job)
        watch.remove(attempt)
        assert attempt.last is not None
        overdue = self._store.jobs[job.name].overdue
        return End(*verdict(attempt.last, self._reason_to_end(job.name), overdue), attempt.last)

    async def _take_in(self, attempt: Attempt, seen: Observation | None) -> bool:
        """Turn what was seen of a job into facts; return whether it was new."""
        job, now = attempt.job, self._clock.monotonic()
        overdue = attempt.patience.exceeded(seen, now)
        is_ending = self._store.jobs[job.name].overdue or self._reason_to_end(job.name) is not None
        if overdue and not is_ending:
            await self._teller.overdue(job, overdue)
            await self._watches[job.executor].cancel(job.name, CANCEL_GRACE_S)
        if seen is None:
            return False
        is_new = seen != attempt.last
        if seen.started_ns and not attempt.has_started:
            attempt.has_started = True
            await self._teller.started(job, seen)
        if attempt.has_started and seen.phase == "running":
            self._feed.follow(job)
        if attempt.is_over(seen, now):
            await attempt.output.hand_on(self._bus, final=True)
            attempt.output.close()
            attempt.ended.set()
        return is_new

    async def _tell_end(self, job: JobSpec, end: End) -> None:
        await self._records.finish(job)
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
        await self._teller.ended(job, end)

    async def _next_attempt(self, job: JobSpec, end: End, wait_s: float) -> JobSpec:
        """Make ready for the next attempt and return it."""
        folder = os.path.join(os.path.dirname(job.folder), str(job.attempt + 1))
        os.makedirs(folder, mode=0o700, exist_ok=True)
        await self._teller.retrying(job, end, folder=folder, delay_s=wait_s)
        return replace(job, attempt=job.attempt + 1, folder=folder)


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
