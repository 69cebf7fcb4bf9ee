"""Takes the jobs of an experiment from intent to end, and tells the journal and the bus."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, AlarmClock
from runbus._files import make_folders
from runbus.abc import GRACE_S, JobRef
from runbus.attempt import log_state
from runbus.errors import (
    HostError,
    JournalError,
    LeaseLost,
    RunbusError,
    SubmitUnknown,
    innermost,
)
from runbus.events import Bootstrap, ImageTransform, JobFact, JobStarted, TaskStart
from runbus.jobs import End, Facts, JobRecord, JobState, intents, read_requests, unrecorded_end
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._board import (
    Board,
    Cancel,
    Decision,
    Drain,
    Find,
    Finish,
    Follow,
    NoteCancel,
    NoteOverdue,
    NoteSeen,
    NoteStart,
    Requeue,
    Retry,
    Submit,
    Withdraw,
    decide,
)
from runbus.supervisor._hand import Hand
from runbus.supervisor._run_feed import RunFeed
from runbus.supervisor._time import Alarm, sleep
from runbus.supervisor._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runbus.abc import Executor, JobSpec, Observation, Request
    from runbus.bus import Bus
    from runbus.jobs import JobStore

__all__ = ["Supervisor"]

logger = logging.getLogger("runbus.supervisor")

KILL_S = 5.0
"""How long the end of killed jobs is waited for."""

REQUESTS_S = 0.25
"""How often it is looked whether another process asks for something."""

FIND_S, FIND_MAX_S = 0.5, 30.0
"""Seconds between two questions to a backend that does not answer: at first, and at the most."""


class Supervisor:
    """Runs the jobs of one experiment, `max_parallel` at a time.

    What to do is decided in one place, by `decide`, from what is recorded, asked for and seen; each
    job has a hand that carries it out, one thing after the other. Each fact is in the journal
    before it is on the bus. All intents are durable before the first job is submitted. A job ends
    on the bus after all of its output.

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
        clock: AlarmClock = SYSTEM_CLOCK,
    ) -> None:
        self._bus = bus
        self._executors = executors
        self._store = store
        self._clock = clock
        self._facts = Facts(clock)
        self._feed = RunFeed(bus, clock, store.check)
        self._watches = {
            name: Watch(executor, self._feed, self._take_in, clock)
            for name, executor in executors.items()
        }
        self._specs: dict[str, JobSpec] = {}
        self._board = Board()
        self._alarm = Alarm(clock)
        self._hands: dict[str, Hand] = {}
        self._attempts: dict[str, Attempt] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._is_acting = False

    async def run(self, jobs: Sequence[JobSpec], *, max_parallel: int) -> list[JobRecord]:
        """Run all jobs to their ends and return their records, in the order given.

        Jobs of the experiment that are not given are neither started nor ended. Cancelling this
        cancels the jobs, waits until they have ended, and then is cancelled.

        Raises:
            LeaseLost: Another process leads the experiment now; jobs go on.
            JournalError: The journal cannot be written; jobs that run already go on by themselves.
        """
        self._specs = {job.name: job for job in jobs}
        machine = _Machine(self._clock)
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

    async def cancel(self, reason: str, grace_s: float, job: str | None = None) -> None:
        """Ask a job, or all that were given to `run`, to end, and do not submit it again.

        Returns at once.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
            job: The job's name; None for all jobs.
        """
        self._board.ask_to_end(reason, grace_s, job)
        self._alarm.ring()

    async def _wind_up(self, machine: _Machine) -> None:
        """End all jobs because `run` was cancelled, in bounded time."""
        with anyio.CancelScope(shield=True):
            await self.cancel("the experiment was cancelled", GRACE_S)
            await machine.stopped.wait(self._clock.monotonic() + GRACE_S + KILL_S)
            machine.scope.cancel()

    async def _run_all(self, jobs: Sequence[JobSpec], max_parallel: int) -> None:
        inherited = set(self._store.jobs)
        for fact in intents(self._store, jobs, self._clock):
            self._store.record(fact)
            await self._bus.publish(fact)
        # On a network file system a sync takes long: not in the loop's thread.
        await anyio.to_thread.run_sync(self._store.sync)
        self._fill_board(jobs, inherited, max_parallel)
        async with anyio.create_task_group() as watches:
            watches.start_soon(self._feed.run, name="feed")
            for name, watch in self._watches.items():
                watches.start_soon(watch.run, name=f"watch {name}")
            async with anyio.create_task_group() as self._tasks:
                await self._lead()
            self._tasks = None
            watches.cancel_scope.cancel()
        await self._find_lost(jobs)
        await anyio.to_thread.run_sync(self._store.sync)

    async def _find_lost(self, jobs: Sequence[JobSpec]) -> None:
        """Tell the ends of jobs that were LOST and have left their records after all."""
        for job in jobs:
            record = self._store.jobs[job.name]
            if record.state is JobState.LOST and (
                end := unrecorded_end(self._store.folder, record)
            ):
                latest = replace(job, attempt=record.attempt)
                await self._bus.publish(self._recorded(self._facts.ended(latest, end)))

    def _fill_board(self, jobs: Sequence[JobSpec], inherited: set[str], max_parallel: int) -> None:
        """Put the jobs on the board, as of their latest attempts."""
        limits = {name: one.limits().jobs for name, one in self._executors.items()}
        self._board.set_seats(max_parallel, limits)
        now = self._clock.monotonic()
        for job in jobs:
            record = self._store.jobs[job.name]
            waited_ns = self._clock.time_ns() - record.submitted_ns if record.submitted_ns else 0
            self._board.add(
                replace(job, attempt=record.attempt, folder=self._store.absolute(record.folder)),
                record,
                now,
                waited_s=max(0, waited_ns) / 1e9,
                # The process that intended it may have submitted it, too.
                is_inherited=job.name in inherited,
            )

    async def _lead(self) -> None:
        """Decide and act whenever something happened, or a time has come, until all is over."""
        heeded: set[str] = set()
        next_look = 0.0
        while True:
            done: list[str] = []
            now = self._clock.monotonic()
            self._store.beat(now)
            if now >= next_look:
                next_look = now + REQUESTS_S
                done = self._heed_requests(heeded)
            self._act()
            if done:
                self._store.check()
            for path in done:
                os.unlink(path)
            if self._board.is_over:
                return
            # All that happened until now has been acted on.
            self._alarm.clear()
            due = self._board.next_due
            await self._alarm.wait(next_look if due is None else min(due, next_look))

    def _heed_requests(self, heeded: set[str]) -> list[str]:
        """Take in what other processes ask for; return the files that are then done with.

        What concerns other jobs, too, is left there.
        """
        done = []
        others = self._store.jobs.keys() - self._specs.keys()
        for path, request in read_requests(self._store.folder, put_aside=True).items():
            if path not in heeded:
                heeded.add(path)
                self._board.ask_to_end(request.reason, request.grace_s, request.job)
            if not (others if request.job is None else request.job in others):
                done.append(path)
        return done

    def _act(self) -> None:
        """Carry out what is to be done now: what takes time is left to the tasks of the jobs.

        Called where something happened, so that no turn of the loop lies between a job's end and
        the start of the next.
        """
        if self._tasks is None or self._is_acting:
            return
        self._is_acting = True
        try:
            # What is recorded on the way may lead on to more.
            while decisions := decide(self._board, self._clock.monotonic()):
                self._carry_out(decisions, self._tasks)
        finally:
            self._is_acting = False
        # When to look again may have changed, too.
        self._alarm.ring()

    def _carry_out(self, decisions: Sequence[Decision], tasks: anyio.abc.TaskGroup) -> None:
        cancelled: dict[tuple[str, float], list[JobRef]] = {}
        for decision in decisions:
            if isinstance(decision, Cancel):
                refs = cancelled.setdefault((decision.job.executor, decision.grace_s), [])
                refs.append(self._attempts[decision.job.name].ref)
            else:
                self._hand_over(decision, self._hand_of(decision.job, tasks))
        if cancelled:
            self._store.check()
        for (executor, grace_s), refs in cancelled.items():
            cancel = self._watches[executor].cancel
            tasks.start_soon(cancel, refs, grace_s, name=f"cancel on {executor}")

    def _hand_of(self, job: JobSpec, tasks: anyio.abc.TaskGroup) -> Hand:
        """Return the hand of a job; the first thing to do for it starts its task."""
        if (hand := self._hands.get(job.name)) is None:
            hand = self._hands[job.name] = Hand()
            tasks.start_soon(self._serve, hand, name=f"job {job.name}")
        return hand

    def _hand_over(self, decision: Decision, hand: Hand) -> None:
        """Give a hand what is decided for its job; facts are recorded first."""
        job = decision.job
        match decision:
            case NoteCancel():
                self._note_cancel(job, decision.reason, hand)
            case NoteOverdue():
                hand.put(self._recorded(self._facts.overdue(job, decision.reason)))
            case NoteSeen():
                hand.put(self._recorded(self._facts.observed(job, decision.seen)))
            case NoteStart():
                hand.put(self._recorded(self._facts.started(job, decision.seen)))
            case Withdraw():
                hand.withdraw(decision.grace_s)
            case Follow():
                self._watch(job, decision.handle)
                hand.put(decision)
            case _:
                hand.put(decision)

    def _note_cancel(self, job: JobSpec, reason: str, hand: Hand) -> None:
        try:
            hand.put(self._recorded(self._facts.cancel_requested(job, reason)))
        except LeaseLost:
            raise
        except JournalError as error:
            # On a full disk jobs can be ended all the same.
            logger.warning("that job %r was cancelled is not on record: %s", job.name, error)

    def _recorded(self, fact: JobFact) -> JobFact:
        """Record a fact and tell the board; it is for the caller to publish it."""
        if (record := self._store.record(fact)) is not None:
            self._board.recorded(record, self._clock.monotonic())
            self._act()
        return fact

    async def _serve(self, hand: Hand) -> None:
        """Carry out what is decided for one job, one thing after the other, to its end."""
        while not isinstance(task := await hand.take(), Finish):
            match task:
                case JobFact():
                    await self._bus.publish(task)
                case Find():
                    await self._look_up(task.job, hand)
                case Submit():
                    await self._attempt(task.job, hand)
                case Follow():
                    if self._store.jobs[task.job.name].started_ns:
                        self._feed.begin(task.job)
                    await self._see_through(task.job, hand)
                    self._report(self._board.drained, task.job.name)
                case Retry() | Requeue():
                    await self._prepare_next(task)
        await self._tell_end(task.job, task.end)
        del self._hands[task.job.name]

    def _report(self, what: Callable[..., None], *about: object) -> None:
        """Tell the board what came of a decision."""
        what(*about)
        self._act()

    async def _look_up(self, job: JobSpec, hand: Hand) -> None:
        """Find out whether an earlier process submitted the job, and go on with it if so."""
        found = await self._find(self._executors[job.executor], job)
        if found is None:
            if not self._board.is_wanted(job.name):
                # A leader that was replaced may be about to submit it.
                await self._withdraw(job, GRACE_S)
            self._report(self._board.not_found, job.name)
            return
        self._watch(job, found.handle)
        await self._bus.publish(self._recorded(self._facts.submitted(job, found.handle)))
        await self._see_through(job, hand)
        self._report(self._board.drained, job.name)

    async def _attempt(self, job: JobSpec, hand: Hand) -> None:
        """Submit a job and see it through to its end, between the wrappers that plugins give."""
        try:
            request = self._executors[job.executor].plan(await self._prepared(job))
            about = TaskStart(job=job.name, attempt=job.attempt, executor=job.executor)
            async with self._bus.around(about):
                ref = await self._submit(request, hand)
                if ref is not None:
                    self._watch(job, ref.handle)
                    await self._bus.publish(self._recorded(self._facts.submitted(job, ref.handle)))
                    await self._see_through(job, hand)
        except JournalError:
            raise
        except RunbusError as error:
            # Nobody else will see the error: what to do about it goes with the reason.
            reason = f"{error}; {error.hint}" if error.hint else str(error)
            self._report(self._board.not_submitted, job.name, End(JobState.FAILED, reason, None))
        else:
            told = self._board.not_submitted if ref is None else self._board.drained
            self._report(told, job.name)

    async def _find(self, executor: Executor, job: JobSpec) -> JobRef | None:
        """Look a job up until its backend answers: before that nobody knows."""
        pause_s = FIND_S
        while True:
            try:
                return await executor.find(job)
            except HostError as error:
                logger.warning("cannot tell whether job %r was submitted: %s", job.name, error)
                await sleep(self._clock, pause_s)
                pause_s = min(pause_s * 2, FIND_MAX_S)

    async def _submit(self, request: Request, hand: Hand) -> JobRef | None:
        """Submit a job; None if that was given up before a backend took it."""
        job = request.job
        executor = self._executors[job.executor]
        ref: JobRef | None = None
        with hand.withdrawable():
            while ref is None:
                self._store.check()
                try:
                    ref = await executor.submit(request)
                except SubmitUnknown as error:
                    logger.warning("%s", error)
                    ref = await self._find(executor, job)
        hand.submitted()
        if ref is None:
            # It may have been on its way.
            await self._withdraw(job, hand.grace_s)
        return ref

    async def _withdraw(self, job: JobSpec, grace_s: float) -> None:
        """Make sure that what has not begun does not begin."""
        self._store.check()
        gone = JobRef(name=job.name, folder=job.folder, handle="")
        await self._executors[job.executor].cancel([gone], grace_s)

    async def _prepared(self, job: JobSpec) -> JobSpec:
        """Let plugins change the image and add bootstrap lines."""
        about = {"job": job.name, "executor": job.executor}
        image = await self._bus.apply(ImageTransform(value=job.image, **about))
        lines = await self._bus.collect(Bootstrap(**about))
        return replace(job, image=image, bootstrap=(*job.bootstrap, *(line for _, line in lines)))

    def _watch(self, job: JobSpec, handle: str) -> None:
        """Look at an attempt from now on."""
        ref = JobRef(name=job.name, folder=job.folder, handle=handle)
        attempt = self._attempts[job.name] = Attempt(job, ref)
        self._feed.open(job)
        self._watches[job.executor].add(attempt)

    async def _see_through(self, job: JobSpec, hand: Hand) -> None:
        """Tell what happens to an attempt until it is over and all that it wrote is handed on."""
        while not isinstance(task := await hand.take(), Drain):
            if isinstance(task, JobFact):
                await self._bus.publish(task)
            if isinstance(task, JobStarted):
                self._feed.begin(job)
        self._watches[job.executor].remove(self._attempts.pop(job.name))
        await self._feed.drain(job)

    def _take_in(self, attempt: Attempt, seen: Observation | None) -> None:
        """Tell the board what was seen of a job."""
        job = attempt.job
        written = log_state(job.folder) if job.timeouts.idle_s is not None else ()
        self._board.saw(job.name, seen, written, self._clock.monotonic())
        if self._board.has_news:
            self._act()
        if seen is not None and seen.phase == "running":
            self._feed.follow_metrics(job)

    async def _tell_end(self, job: JobSpec, end: End) -> None:
        ended = self._facts.ended(job, end)
        await self._feed.end(job, ended)
        await self._bus.publish(self._recorded(ended))

    async def _prepare_next(self, decision: Retry | Requeue) -> None:
        """Make ready for the next attempt."""
        job = decision.job
        following = decision.attempt if isinstance(decision, Requeue) else job.attempt + 1
        folder = os.path.join(os.path.dirname(job.folder), str(following))
        make_folders(folder)
        self._board.next_attempt(replace(job, attempt=following, folder=folder))
        relative = self._store.relative(folder)
        fact: JobFact
        if isinstance(decision, Requeue):
            fact = self._facts.requeued(job, decision.end, attempt=following, folder=relative)
        else:
            delay_s = decision.delay_s
            fact = self._facts.retrying(job, decision.end, folder=relative, delay_s=delay_s)
        await self._bus.publish(self._recorded(fact))


class _Machine:
    """What runs the jobs, out of reach of a cancellation of the caller of `Supervisor.run`."""

    def __init__(self, clock: AlarmClock) -> None:
        self.scope = anyio.CancelScope(shield=True)
        self.stopped = Alarm(clock)
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
            # Several parts may notice in one turn of the loop that another process leads now.
            self.error = innermost(error, cause=LeaseLost)
        finally:
            self.stopped.ring()
