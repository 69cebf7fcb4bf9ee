"""Carrying out what is decided: at once what is quick, and by a task a job what takes time."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import anyio.abc
import anyio.to_thread
from msgspec.structs import replace

from runbus._files import make_folders
from runbus._home import ENV_RESULT, RESULT
from runbus.abc import GRACE_S, JobRef
from runbus.attempt import note_work
from runbus.errors import (
    HostError,
    JobNotStarted,
    JournalError,
    LeaseLost,
    RunbusError,
    SubmitUnknown,
    os_reason,
)
from runbus.events import (
    Accelerator,
    Bootstrap,
    Cluster,
    ClusterSpec,
    ImageTransform,
    JobFact,
    JobStarted,
    TaskStart,
)
from runbus.jobs import End, Facts, JobState
from runbus.supervisor._attempt import Attempt
from runbus.supervisor._batches import Batches
from runbus.supervisor._board import decide
from runbus.supervisor._collect import Collector
from runbus.supervisor._decisions import (
    Cancel,
    Decision,
    Drain,
    Find,
    Finish,
    Follow,
    LookOn,
    NoteCancel,
    NoteOverdue,
    NoteSeen,
    NoteStart,
    Requeue,
    Retry,
    Submit,
    Withdraw,
)
from runbus.supervisor._hand import Hand
from runbus.supervisor._time import Alarm, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from runbus._clock import AlarmClock
    from runbus.abc import Executor, JobSpec, Request
    from runbus.bus import Bus
    from runbus.jobs import JobStore
    from runbus.supervisor._board import Board
    from runbus.supervisor._run_feed import RunFeed
    from runbus.supervisor._watch import Watch

__all__ = ["Work"]

logger = logging.getLogger("runbus.supervisor")

FIND_S, FIND_MAX_S = 0.5, 30.0
"""Seconds between two questions to a backend that does not answer: at first, and at the most."""


class Work:
    """Has the decisions about the jobs of one experiment made, and carries them out.

    Each job has a hand that does what is decided for it, one thing after the other.

    Args:
        bus: Where facts go.
        store: The experiment's journal.
        board: What is known of the jobs.
        executors: What runs them, by the names that they use.
        watches: What looks at them there.
        feed: What hands on what they write.
        clock: Where the time of what happens here comes from.
        filled: Returns a job with the values that other jobs have returned. Called in a thread.

    Attributes:
        alarm: Rung when something was done, so that it is looked again what is to be done when.
        tasks: Where the jobs' tasks run; nothing is carried out while it is None.
    """

    def __init__(
        self,
        bus: Bus,
        store: JobStore,
        board: Board,
        *,
        executors: Mapping[str, Executor],
        watches: Mapping[str, Watch],
        feed: RunFeed,
        clock: AlarmClock,
        filled: Callable[[JobSpec], JobSpec] | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._board = board
        self._executors = executors
        self._watches = watches
        self._feed = feed
        self._clock = clock
        self._filled = filled
        self._facts = Facts(clock)
        self._collector = Collector(executors, clock, store.check)
        self._hands: dict[str, Hand] = {}
        self._attempts: dict[str, Attempt] = {}
        self._batches: dict[Hashable, Batches] = {}
        self._may_submit = asyncio.Event()
        self.alarm = Alarm(clock)
        self.tasks: anyio.abc.TaskGroup | None = None

    def act(self) -> None:
        """Carry out what is to be done now: what takes time is left to the tasks of the jobs.

        Called where something happened, so that no turn of the loop lies between a job's end and
        the start of the next.
        """
        if self.tasks is None:
            return
        # What is recorded on the way may lead on to more.
        while self._board.is_due(now := self._clock.monotonic()):
            self._carry_out(decide(self._board, now), self.tasks)
        # When to look again may have changed, too.
        self.alarm.ring()

    def let_submit(self) -> None:
        """Submit jobs from now on: what is intended is on the disk."""
        self._may_submit.set()

    def _carry_out(self, decisions: Sequence[Decision], tasks: anyio.abc.TaskGroup) -> None:
        cancelled: dict[tuple[str, float], list[JobRef]] = {}
        for decision in decisions:
            if isinstance(decision, Cancel):
                refs = cancelled.setdefault((decision.job.executor, decision.grace_s), [])
                refs.append(self._attempts[decision.job.name].ref)
            elif isinstance(decision, LookOn):
                self._look_at(decision.job, decision.handle)
            else:
                if isinstance(decision, Submit) and (batches := self._batches_of(decision.job)):
                    batches.expect(decision.job.name)
                self._hand_over(decision, self._hand_of(decision.job, tasks))
        if cancelled:
            self._store.check()
        for (executor, grace_s), refs in cancelled.items():
            cancel = self._watches[executor].cancel
            tasks.start_soon(cancel, refs, grace_s, name=f"cancel on {executor}")

    def _batches_of(self, job: JobSpec) -> Batches | None:
        """Return what hands jobs to the executor of one; None if that takes them one by one.

        Those of a group that begin together go to one of their executors.
        """
        executor = self._executors[job.executor]
        given = executor.capabilities
        group = job.group if given.together is not None else ""
        if not (given.batches or group):
            return None
        key: Hashable = (given.together, group) if group else job.executor
        if (batches := self._batches.get(key)) is None:
            batches = self._batches[key] = Batches(executor, self._store.check, self._clock, group)
        return batches

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
                hand.put(self._noted(self._facts.overdue(job, decision.reason)))
            case NoteSeen():
                hand.put(self._noted(self._facts.observed(job, decision.seen)))
            case NoteStart():
                hand.put(self._noted(self._facts.started(job, decision.seen)))
            case Withdraw():
                hand.withdraw(decision.grace_s)
            case Follow():
                self._watch(job, decision.handle)
                hand.put(decision)
            case _:
                hand.put(decision)

    def _note_cancel(self, job: JobSpec, reason: str, hand: Hand) -> None:
        try:
            hand.put(self._noted(self._facts.cancel_requested(job, reason)))
        except LeaseLost:
            raise
        except JournalError as error:
            # On a full disk jobs can be ended all the same.
            logger.warning("that job %r was cancelled is not on record: %s", job.name, error)

    def _noted(self, fact: JobFact) -> JobFact:
        """Record a fact and tell the board; it is for the caller to publish it."""
        if (record := self._store.record(fact)) is not None:
            self._board.recorded(record, self._clock.monotonic())
        return fact

    def _recorded(self, fact: JobFact) -> JobFact:
        """Record a fact and carry out what follows; it is for the caller to publish it."""
        self._noted(fact)
        self.act()
        return fact

    async def _serve(self, hand: Hand) -> None:
        """Carry out what is decided for one job, one thing after the other, to its end."""
        job = None
        while job is None or hand.is_busy:
            match task := await hand.take():
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
                case Retry():
                    await self._collect(task)
                    await self._prepare_next(task)
                case Requeue():
                    await self._prepare_next(task)
                case Finish():
                    await self._collect(task)
                    await self._tell_end(task.job, task.end)
                    job = task.job
        del self._hands[job.name]

    def _report(self, what: Callable[..., None], *about: object) -> None:
        """Tell the board what came of a decision."""
        what(*about)
        self.act()

    async def _look_up(self, job: JobSpec, hand: Hand) -> None:
        """Find out whether an earlier process submitted the job, and continue with it if so."""
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
            # Nothing of this is done anywhere: a dry run does the same.
            request = self._executors[job.executor].plan(await self._prepared(job))
            await self._may_submit.wait()
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
        finally:
            if batches := self._batches_of(job):
                batches.excuse(job.name)

    async def _find(self, executor: Executor, job: JobSpec) -> JobRef | None:
        """Look a job up until its backend answers: before that it is unknown."""
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
        self._note_work(job)
        ref: JobRef | None = None
        with hand.withdrawable():
            while ref is None:
                self._store.check()
                try:
                    ref = await self._call_submit(executor, request, hand)
                except SubmitUnknown as error:
                    logger.warning("%s", error)
                    if batches := self._batches_of(job):
                        batches.expect(job.name)
                    ref = await self._find(executor, job)
                    if ref is not None and batches:
                        batches.excuse(job.name)
        hand.submitted()
        if ref is None:
            # It may have been on its way.
            await self._withdraw(job, hand.grace_s)
        return ref

    async def _call_submit(self, executor: Executor, request: Request, hand: Hand) -> JobRef:
        batches = self._batches_of(request.job)
        if batches is None or self.tasks is None:
            return await executor.submit(request)
        return await batches.submit(request, hand, self.tasks)

    def _note_work(self, job: JobSpec) -> None:
        """Note where a job will have worked whose artifacts are to be collected.

        Raises:
            JobNotStarted: It cannot be written.
        """
        if job.artifacts:
            try:
                note_work(job)
            except OSError as error:
                raise JobNotStarted(job.name, os_reason(error)) from error

    async def _withdraw(self, job: JobSpec, grace_s: float) -> None:
        """Make sure that what has not begun does not begin."""
        self._store.check()
        gone = JobRef(name=job.name, folder=job.folder, handle="")
        await self._executors[job.executor].cancel([gone], grace_s)

    async def _prepared(self, job: JobSpec) -> JobSpec:
        """Give the job what others returned, and let plugins change it and its image."""
        if self._filled is not None and job.takes_outputs:
            job = await anyio.to_thread.run_sync(self._filled, job)
        event = job.transform()
        if (draft := await self._bus.apply(event)) is not event.value:
            job = job.with_draft(draft)
        gpus = job.resources.gpus
        spec = ClusterSpec(accelerator=Accelerator(count=gpus) if gpus else None)
        cluster = Cluster(name=job.name, executor=job.executor, spec=spec)
        about: dict[str, Any] = {"job": job.name, "executor": job.executor, "cluster": cluster}
        image = await self._bus.apply(ImageTransform(value=job.image, **about))
        lines = await self._bus.collect(Bootstrap(**about))
        return replace(
            job,
            env={**job.env, ENV_RESULT: os.path.join(job.folder, RESULT)},
            image=image,
            bootstrap=(*job.bootstrap, *(line for _, line in lines)),
        )

    def _watch(self, job: JobSpec, handle: str) -> None:
        """Look at an attempt from now on, and hand on what it writes."""
        self._feed.open(job)
        self._look_at(job, handle)

    def _look_at(self, job: JobSpec, handle: str) -> None:
        ref = JobRef(name=job.name, folder=job.folder, handle=handle)
        attempt = self._attempts[job.name] = Attempt(job, ref)
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

    async def _collect(self, decision: Retry | Finish) -> None:
        """Have the run of a job keep what the attempt left; nothing is left by one never seen."""
        if decision.end.seen is not None:
            await self._collector.collect(decision.job)

    async def _tell_end(self, job: JobSpec, end: End) -> None:
        ended = self._facts.ended(job, end)
        await self._feed.end(job, ended)
        await self._bus.publish(self._recorded(ended))

    async def tell_late(self, job: JobSpec, end: End) -> None:
        """Tell the end of a job that was LOST, which was found after all."""
        await self._bus.publish(self._recorded(self._facts.ended(job, end)))

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
