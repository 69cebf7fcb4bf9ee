"""Takes the jobs of an experiment from intent to end, and tells the journal and the bus."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK, AlarmClock
from runbus._files import make_folders
from runbus.abc import GRACE_S, JobRef
from runbus.attempt import log_state
from runbus.errors import LeaseLost, innermost
from runbus.jobs import (
    JobRecord,
    JobState,
    intents,
    read_requests,
    requests_stamp,
    unrecorded_end,
)
from runbus.supervisor._board import Board
from runbus.supervisor._early_stop import EarlyStops
from runbus.supervisor._elsewhere import Elsewhere
from runbus.supervisor._poll import polls_of
from runbus.supervisor._run_feed import RunFeed
from runbus.supervisor._time import Alarm, sleep
from runbus.supervisor._watch import Watch
from runbus.supervisor._work import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runbus.abc import Executor, JobSpec, Observation
    from runbus.bus import Bus
    from runbus.jobs import JobStore, StoreSync
    from runbus.supervisor._attempt import Attempt

__all__ = ["Supervisor"]

KILL_S = 5.0
"""How long the end of killed jobs is waited for."""

SYNC_S = 1.0
"""How long the end of a job may be told before it is on the disk, with others of that time."""

REQUESTS_S, QUIET_REQUESTS_S = 0.25, 2.0
"""How often it is looked whether another process asks for something; and where all is quiet."""

LISTING_S = 10.0
"""How often their folder is read even if it seems unchanged."""

QUIET_S = 5.0
"""After how long without any news it is."""


class Supervisor:
    """Runs the jobs of one experiment, `max_parallel` at a time.

    What to do is decided in one place, by `decide`, from what is recorded, asked for and seen, and
    carried out by `Work`. Each fact is in the journal before it is on the bus. All intents are
    durable before the first job is submitted: it is prepared meanwhile. Ends are durable a second
    after they were recorded. A job ends on the bus after all of its output.

    A job that has ended as PREEMPTED is looked at while others run, and once if none does: if its
    backend has begun it anew, it continues with another attempt.

    Args:
        bus: Where facts, log lines and metric batches go.
        executors: What runs the jobs, by the names that the jobs use.
        store: The experiment's journal.
        clock: Where the time of what happens here comes from.
        fail_fast: Whether the first job that fails ends all others.
        filled: Returns a job with the values that other jobs have returned. Called in a thread.
    """

    def __init__(
        self,
        bus: Bus,
        executors: Mapping[str, Executor],
        store: JobStore,
        *,
        clock: AlarmClock = SYSTEM_CLOCK,
        fail_fast: bool = False,
        filled: Callable[[JobSpec], JobSpec] | None = None,
    ) -> None:
        self._bus = bus
        self._executors = dict(executors)
        self._store = store
        self._clock = clock
        self._feed = RunFeed(bus, clock, store.check)
        self._watches = {name: self._watch_of(executor) for name, executor in executors.items()}
        self._specs: dict[str, JobSpec] = {}
        self._board = Board()
        self._work = Work(
            bus, store, self._board, executors=self._executors, watches=self._watches,
            feed=self._feed, clock=clock, filled=filled,
        )  # fmt: skip
        self._early_stops = EarlyStops(bus, self.cancel)
        self._is_over = False
        self._only_here = False
        self._elsewhere = Elsewhere(store.folder)
        self._ended = anyio.Event()
        self._stamp, self._next_listing = 0, 0.0
        self._adding = 0
        self._syncing = anyio.Lock()
        self._watching: anyio.abc.TaskGroup | None = None
        self._begun = anyio.Event()
        if fail_fast:
            self._board.fail_fast()

    async def run(
        self, jobs: Sequence[JobSpec], *, max_parallel: int, only_here: bool = False
    ) -> list[JobRecord]:
        """Run all jobs to their ends and return their records, in the order given.

        Jobs of the experiment that are not given are neither started nor ended. Those that `add`
        brings meanwhile follow in the records. Cancelling this cancels the jobs, waits until they
        have ended, and then is cancelled.

        Args:
            jobs: The jobs.
            max_parallel: How many run at a time.
            only_here: Whether those that run elsewhere (`Capabilities.elsewhere`) are not counted.

        Raises:
            LeaseLost: Another process leads the experiment now; jobs continue.
            JournalError: The journal cannot be written; jobs that run already continue by
                themselves.
        """
        self._specs = {job.name: job for job in jobs}
        self._only_here = only_here
        machine = _Machine(self._clock)
        async with anyio.create_task_group() as group:
            group.start_soon(machine.drive, self._run_all, jobs, max_parallel, name="run jobs")
            try:
                await machine.stopped.wait()
            except anyio.get_cancelled_exc_class():
                await self._wind_up(machine)
                raise
            finally:
                self._begun.set()
        if machine.error is not None:
            raise machine.error
        return [self._store.jobs[name] for name in self._specs]

    async def add(
        self, jobs: Sequence[JobSpec], executors: Mapping[str, Executor] | None = None
    ) -> None:
        """Lead further jobs of the experiment while `run` runs; after that, nothing happens.

        Cancelled, it leads all of them or none.

        Args:
            jobs: The jobs; what they depend on was given before, or is among them.
            executors: What runs them, besides what the supervisor has.

        Raises:
            LeaseLost: Another process leads the experiment now.
            JournalError: The journal cannot be written.
        """
        await self._begun.wait()
        if self._watching is None or self._is_over:
            return
        self._adding += 1
        try:
            for name, executor in (executors or {}).items():
                if name not in self._executors:
                    await self._take_along(name, executor, self._watching)
            # What is on record nobody but this process would begin.
            with anyio.CancelScope(shield=True):
                inherited = set(self._store.jobs)
                await self._intend(jobs)
                await self._sync()
                self._specs |= {job.name: job for job in jobs}
                await self._early_stops.watch(jobs, self._watching)
                self._put_on_board(jobs, inherited)
        finally:
            self._adding -= 1
            self._work.alarm.ring()

    async def _take_along(
        self, name: str, executor: Executor, watches: anyio.abc.TaskGroup
    ) -> None:
        self._executors[name] = executor
        self._watches[name] = self._watch_of(executor)
        self._board.add_seats(name, executor.limits().jobs)
        self._set_queues({name: executor})
        watches.start_soon(self._watches[name].run, name=f"watch {name}")
        await executor.make_ready()

    def _set_queues(self, executors: Mapping[str, Executor]) -> None:
        able = {name: one.capabilities for name, one in executors.items()}
        self._board.set_queues({name: one.after for name, one in able.items()})
        if self._only_here:
            self._board.set_apart(name for name, one in able.items() if one.elsewhere)

    def _watch_of(self, executor: Executor) -> Watch:
        return Watch(executor, self._feed, self._take_in, self._clock, polls_of(self._bus))

    async def cancel(self, reason: str, grace_s: float, job: str | None = None) -> None:
        """Ask a job, or all that were given to `run`, to end, and do not submit it again.

        Returns at once.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
            job: The job's name; None for all jobs.
        """
        self._board.ask_to_end(reason, grace_s, job)
        self._work.alarm.ring()

    async def _wind_up(self, machine: _Machine) -> None:
        """End all jobs because `run` was cancelled, in bounded time."""
        with anyio.CancelScope(shield=True):
            await self.cancel("the experiment was cancelled", GRACE_S)
            await machine.stopped.wait(self._clock.monotonic() + GRACE_S + KILL_S)
            machine.scope.cancel()

    async def _run_all(self, jobs: Sequence[JobSpec], max_parallel: int) -> None:
        inherited = set(self._store.jobs)
        await self._intend(jobs)
        # First of all: the disk takes longest.
        syncing = self._store.begin_sync()
        async with anyio.create_task_group() as watches:
            watches.start_soon(self._sync_intents, syncing, name="sync intents")
            watches.start_soon(self._make_ready, name="make ready")
            await self._early_stops.watch(jobs, watches)
            watches.start_soon(self._feed.run, name="feed")
            for name, watch in self._watches.items():
                watches.start_soon(watch.run, name=f"watch {name}")
            limits = {name: one.limits().jobs for name, one in self._executors.items()}
            self._board.set_seats(max_parallel, limits)
            self._set_queues(self._executors)
            self._put_on_board(jobs, inherited)
            watches.start_soon(self._sync_ends, name="sync ends")
            self._watching = watches
            self._begun.set()
            if self._board.is_over:
                await self._look_at_preempted()
            async with anyio.create_task_group() as self._work.tasks:
                await self._lead()
            self._work.tasks = self._watching = None
            watches.cancel_scope.cancel()
        await self._tell_late_ends(list(self._specs.values()))
        await self._sync()

    async def _intend(self, jobs: Sequence[JobSpec]) -> None:
        for fact in intents(self._store, jobs, self._clock):
            self._store.record(fact)
            await self._bus.publish(fact)

    async def _sync_intents(self, syncing: StoreSync) -> None:
        async with self._syncing:
            await self._synced(syncing)
        await self._look_at_copies()
        self._work.let_submit()

    async def _sync(self) -> None:
        async with self._syncing:
            await self._synced(self._store.begin_sync())

    async def _synced(self, syncing: StoreSync) -> None:
        # Cancelled, this waits until it is done: the last sync must not come beside it.
        with anyio.CancelScope(shield=True):
            await anyio.wait_readable(syncing)
        syncing.wait()

    async def _sync_ends(self) -> None:
        """Have the ends of jobs survive a power failure while other jobs still run."""
        while True:
            await self._ended.wait()
            await sleep(self._clock, SYNC_S)
            self._ended = anyio.Event()
            if self._store.has_unsynced_ends:
                await self._sync()

    async def _make_ready(self) -> None:
        for executor in {id(one): one for one in self._executors.values()}.values():
            await executor.make_ready()

    async def _tell_late_ends(self, jobs: Sequence[JobSpec]) -> None:
        """Tell the ends of jobs that were LOST and have left their records after all."""
        for job in jobs:
            record = self._store.jobs[job.name]
            if record.state is JobState.LOST and (
                end := unrecorded_end(self._store.folder, record)
            ):
                latest = replace(job, attempt=record.attempt)
                await self._work.tell_late(latest, end)

    async def _look_at_preempted(self) -> None:
        """Look once whether jobs that have ended as PREEMPTED were begun anew by their backends."""
        for executor, refs in self._handed_over(lambda one: one is JobState.PREEMPTED).items():
            for ref, seen in (await self._executors[executor].observe(refs)).items():
                self._board.saw(ref.name, seen, (), self._clock.monotonic())

    async def _look_at_copies(self) -> None:
        """Let executors know which copies of jobs they have, before they are given others."""
        for executor, refs in self._handed_over(lambda one: not one.is_terminal).items():
            if self._executors[executor].capabilities.copies:
                await self._executors[executor].observe(refs)

    def _handed_over(self, is_meant: Callable[[JobState], bool]) -> dict[str, list[JobRef]]:
        """Return the attempts that executors have of jobs in some states, by the executors."""
        refs: dict[str, list[JobRef]] = {}
        for record in map(self._store.jobs.__getitem__, self._specs):
            if record.handle and is_meant(record.state):
                folder = self._store.absolute(record.folder)
                ref = JobRef(name=record.name, folder=folder, handle=record.handle)
                refs.setdefault(record.executor, []).append(ref)
        return refs

    def _put_on_board(self, jobs: Sequence[JobSpec], inherited: set[str]) -> None:
        """Put jobs on the board, as of their latest attempts."""
        self._elsewhere.add(jobs)
        now = self._clock.monotonic()
        for job in jobs:
            record = self._store.jobs[job.name]
            folder = self._store.absolute(record.folder)
            if job.name in inherited and not record.handle:
                # Its folder is not on the disk with its intent: a power failure may have taken it.
                with suppress(OSError):  # which submitting the job tells better
                    make_folders(folder)
            waited_ns = self._clock.time_ns() - self._waits_since(job, record)
            self._board.add(
                replace(job, attempt=record.attempt, folder=folder),
                record,
                now,
                waited_s=max(0, waited_ns) / 1e9 if record.submitted_ns else 0.0,
                # The process that intended it may have submitted it, too.
                is_inherited=job.name in inherited,
                parents=self._store.jobs,
            )

    def _waits_since(self, job: JobSpec, record: JobRecord) -> int:
        """Return since when a job may have begun: it has been submitted, and its turn can come."""
        own = [self._store.jobs[one.job] for one in job.depends_on if not one.experiment]
        return max([record.submitted_ns, *(one.ended_ns for one in own)])

    async def _lead(self) -> None:
        """Decide and act whenever something happened, or a time has come, until all is over."""
        heeded: set[str] = set()
        next_look, quiet_since = 0.0, self._clock.monotonic()
        while True:
            done: list[str] = []
            now = self._clock.monotonic()
            self._store.beat(now)
            if now >= next_look:
                is_quiet = now - quiet_since >= QUIET_S
                # Where all is quiet the experiments of a process look at the same moments.
                next_look = (
                    now - now % QUIET_REQUESTS_S + QUIET_REQUESTS_S
                    if is_quiet
                    else now + REQUESTS_S
                )
                if not is_quiet or self._may_be_asked(now):
                    done = self._heed_requests(heeded)
                for experiment, name, state in self._elsewhere.ends():
                    self._board.parent_ended(experiment, name, state)
            self._work.act()
            if self._store.has_unsynced_ends:
                self._ended.set()
            if done:
                self._store.check()
            for path in done:
                os.unlink(path)
            if self._board.is_over and not self._adding:
                self._is_over = True
                return
            # All that happened until now has been acted on.
            self._work.alarm.clear()
            due = self._board.next_due
            if await self._work.alarm.wait(next_look if due is None else min(due, next_look)):
                quiet_since = self._clock.monotonic()

    def _may_be_asked(self, now: float) -> bool:
        """Whether there may be requests that were not there at the last look."""
        stamp = requests_stamp(self._store.folder)
        if stamp == self._stamp and now < self._next_listing:
            return False
        self._stamp, self._next_listing = stamp, now + LISTING_S
        return True

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

    def _take_in(self, attempt: Attempt, seen: Observation | None) -> None:
        """Tell the board what was seen of a job."""
        if self._is_over:
            return  # what begins anew now is for the next leader
        job = attempt.job
        written = log_state(job.folder) if job.timeouts.idle_s is not None else ()
        self._board.saw(job.name, seen, written, self._clock.monotonic())
        if self._board.has_news:
            self._work.act()
        if seen is not None and seen.phase == "running":
            self._feed.follow_metrics(job)


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
