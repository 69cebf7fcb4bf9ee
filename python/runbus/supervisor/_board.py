"""What is known of the jobs that a supervisor leads, and what is to be done next: a pure decision.

No clock, no task and no file is touched here. What happens comes in through the methods of `Board`,
each with the moment it happened at; `decide` says what to do about it. Work is done only for jobs
that something happened to, so a step costs the same with ten jobs and with ten thousand.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from runbus.abc import GRACE_S
from runbus.jobs import FAILURES, End, JobState, delay_s, gets_another, late_start
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
from runbus.supervisor._seats import Seats
from runbus.supervisor._standing import REQUEUED, TOO_SOON, Standing, Step, bounded
from runbus.supervisor._waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from runbus.abc import JobSpec, Observation
    from runbus.attempt import Written
    from runbus.jobs import JobRecord

__all__ = ["Board", "decide"]

_UNBEGUN = Step.HELD, Step.WAITING, Step.QUEUED, Step.SEATED
_UNRECORDED = Step.FINDING, Step.GONE, Step.DRAINING, Step.ENDED, Step.CLOSING


class Board:
    """The jobs that are led: what was recorded of them, asked for, and seen.

    No job has a seat before `set_seats` says how many there are.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Standing] = {}
        self._seats = Seats()
        self._queues: dict[str, Hashable] = {}
        self._timers: list[tuple[float, str]] = []
        self._touched: dict[str, None] = {}
        self._ask_all: tuple[str, float] | None = None
        self._fails_fast = False
        self._waiting = Waiting()
        self._groups: dict[str, list[str]] = {}
        self._group_ends: dict[str, JobRecord] = {}
        self._unfinished = 0

    @property
    def is_over(self) -> bool:
        """Whether every job has ended."""
        return not self._unfinished

    @property
    def has_news(self) -> bool:
        """Whether something happened that `decide` has not been asked about."""
        return bool(self._touched)

    def is_due(self, now: float) -> bool:
        """Whether `decide` may have something to say: something happened, or a time has come."""
        return bool(self._touched or (self._timers and self._timers[0][0] <= now))

    @property
    def next_due(self) -> float | None:
        """When `decide` should be asked again although nothing happens; None for never."""
        return self._timers[0][0] if self._timers else None

    def set_seats(self, max_parallel: int, limits: Mapping[str, int | None]) -> None:
        """Say how many jobs run at a time: in all, and on each executor; None for any number."""
        self._seats.set(max_parallel, limits)

    def add_seats(self, executor: str, limit: int | None) -> None:
        """Say how many jobs run at a time on a further executor; None for any number."""
        self._seats.add(executor, limit)

    def set_apart(self, executors: Iterable[str]) -> None:
        """Say whose jobs are not counted among those that run at a time; before any is added."""
        for executor in executors:
            self._seats.set_apart(executor)

    def set_queues(self, queues: Mapping[str, Hashable]) -> None:
        """Say which executors' queues hold jobs back until others have ended; before any is added.

        Args:
            queues: What `Capabilities.after` says of each executor.
        """
        self._queues |= queues

    def fail_fast(self) -> None:
        """Say that the first job that fails ends all others; before the first is added."""
        self._fails_fast = True

    def add(
        self, spec: JobSpec, record: JobRecord, now: float, *, waited_s: float = 0.0,
        is_inherited: bool = False, parents: Mapping[str, JobRecord] | None = None,
    ) -> None:  # fmt: skip
        """Lead one more job.

        Args:
            spec: The job, as of its latest attempt.
            record: What is recorded of it.
            now: This moment.
            waited_s: How long ago its latest attempt was submitted.
            is_inherited: An earlier process may have submitted it without recording that.
            parents: What is recorded of the jobs of this experiment that it depends on, by name.
        """
        job = Standing(
            spec, record, now, waited_s=waited_s, is_inherited=is_inherited,
            cause_to_end=self._ask_all, queue=self._queues.get(spec.executor),
        )  # fmt: skip
        self._jobs[spec.name] = job
        if job.step is not Step.OVER:
            self._unfinished += 1
        if spec.group:
            self._groups.setdefault(spec.group, []).append(spec.name)
            if (cause := self._group_ends.get(spec.group)) is not None:
                self._end_with(job, cause)
        if job.step is Step.OVER:
            self._note_failure(job)
        is_held = bool(job.waits_for)
        for parent in list(job.waits_for):
            experiment, name = parent
            if not experiment and parents and (state := parents[name].state).is_terminal:
                job.parent_ended(parent, state)
            else:
                self._waiting.add(job, parent, self._jobs.get(name))
        if is_held and not job.waits_for:
            job.wait_from(now - waited_s)
        if job.step is not Step.OVER or job.may_go_on:
            self._touched[spec.name] = None

    def ask_to_end(
        self, reason: str, grace_s: float, name: str | None = None, *, since_ns: int = 0
    ) -> None:
        """Somebody wants the end of a job, or of all there are and will be.

        What had ended by itself before `since_ns` did not end for that reason.
        """
        if name is None:
            self._ask_all = reason, grace_s
        for one in self._jobs if name is None else (name,):
            if (job := self._jobs.get(one)) is not None and job.step is not Step.OVER:
                sooner = min(grace_s, job.cause_to_end[1]) if job.cause_to_end else grace_s
                job.cause_to_end = reason, sooner
                job.asked_ns = since_ns
                self._touched[one] = None

    def recorded(self, record: JobRecord, now: float) -> None:
        """A fact about a job is in the journal, and `record` is what that adds up to."""
        job = self._jobs.get(record.name)
        if job is None or job.step is Step.OVER:
            return
        before, job.record = job.record, record
        if record.state.is_terminal:
            job.step = Step.OVER
            self._unfinished -= 1
            self._give_up_seat(job)
            self._tell_children(("", record.name), record.state, now)
            self._note_failure(job)
            self._touch_seated(job.spec.group)
            self._let_go_ahead()
        elif record.attempt > before.attempt:
            job.step = Step.WAITING
            job.end = None
            self._waiting.out_of_queue(job)
            self._touch_seated(job.spec.group)
            if record.handle:
                # It waits already, and has never given up its seat.
                job.begin_attempt(now)
            else:
                job.due = now + job.pause_s
                self._give_up_seat(job)
        elif record.handle and job.step in (Step.FINDING, Step.SUBMITTING):
            self._touch_seated(job.spec.group)
            job.step = Step.WATCHED
            job.grace_sent = None
            self._touch(self._waiting.in_queue(job))
        else:
            return
        self._touched[record.name] = None

    def parent_ended(self, experiment: str, name: str, state: JobState | None) -> None:
        """A job has ended that others may wait for.

        Args:
            experiment: Which other experiment it is of; empty for this one.
            name: The job.
            state: How it ended; None if nobody can know, because its experiment was removed.
        """
        # One that waits for jobs of other experiments is in no queue yet: no time is counted.
        self._tell_children((experiment, name), state, 0.0)

    def _tell_children(self, parent: tuple[str, str], state: JobState | None, now: float) -> None:
        """Tell the jobs that wait for one that it has ended."""
        for job in self._waiting.ended(parent):
            if not job.parent_ended(parent, state):
                continue
            self._touched[job.spec.name] = None
            if not job.waits_for and job.step is not Step.WAITING:
                job.wait_from(now)
                if job.goes_ahead:
                    self._take_seat(job)
                    self._touch(self._waiting.behind(job))
                if job.step is Step.SUBMITTING and job.spec.timeouts.queue_s is not None:
                    self._wake_at(now + job.spec.timeouts.queue_s, job)

    def _touch(self, jobs: Iterable[Standing]) -> None:
        for job in jobs:
            self._touched[job.spec.name] = None

    def _send_ahead(self, job: Standing) -> None:
        """Let a queue hold a job back, if there will be a seat for it whatever else needs one."""
        # One that is to get its own seat from another may end before that, and leave none.
        leave_one = all(one.has_seat and not one.has_heir for one in job.in_queue.values())
        has_room = leave_one or self._seats.has_room(self._unfinished, job.spec.executor)
        if has_room and not self._seats.is_limited(job.spec.executor):
            self._seat_behind(job)
        else:
            self._waiting.keep_back(job)

    def _seat_behind(self, job: Standing) -> None:
        """Give a seat to a job that waits in a queue: its own, or what it waits for leaves it."""
        if self._seats.has_room(self._unfinished, job.spec.executor):
            self._take_seat(job)
            return
        job.goes_ahead = True
        for _, name in job.waits_for:
            self._jobs[name].has_heir = True

    def _let_go_ahead(self) -> None:
        """Look again at jobs for which there was no room in a queue."""
        if self._waiting.has_kept_back and self._seats.has_room(self._unfinished):
            self._touch(job for job in self._waiting.let_go() if job.step is Step.HELD)

    def _hold(self, job: Standing) -> None:
        """Let a job wait here for what it was to wait for in a queue."""
        job.step = Step.HELD
        self._give_up_seat(job)

    def _note_failure(self, job: Standing) -> None:
        """End the group of a job that did not succeed, and all jobs if they end with a failure."""
        record, group = job.record, job.spec.group
        is_fine = record.state is JobState.SUCCEEDED or record.is_stopped_early
        if group and not is_fine and group not in self._group_ends:
            self._group_ends[group] = record
            for name in self._groups[group]:
                self._end_with(self._jobs[name], record)
        if self._fails_fast and record.state in FAILURES and self._ask_all is None:
            reason = f"job {record.name!r} ended as {record.state}, and the first failure ends all"
            self.ask_to_end(reason, GRACE_S)

    def _end_with(self, job: Standing, cause: JobRecord) -> None:
        """End a job, unless it is over, because one of its group has ended without success."""
        reason = f"job {cause.name!r} of its group ended as {cause.state}"
        if cause.state is JobState.SKIPPED and job.step in _UNBEGUN:
            job.end = End(JobState.SKIPPED, reason, None)
            job.step = Step.ENDED
            self._touched[job.spec.name] = None
        else:
            self.ask_to_end(reason, GRACE_S, job.spec.name, since_ns=cause.ended_ns)

    def next_attempt(self, spec: JobSpec) -> None:
        """The job is as `spec` says from its next attempt on; before `recorded` tells of it."""
        self._jobs[spec.name].spec = spec

    def not_found(self, name: str) -> None:
        """No earlier process has submitted the job."""
        job = self._jobs[name]
        job.is_inherited = False
        self._touch_seated(job.spec.group)
        job.step = Step.SEATED  # or it is to end: it was not looked for otherwise
        self._touched[name] = None

    def not_submitted(self, name: str, end: End | None = None) -> None:
        """The attempt came to an end without a job that could be watched.

        Args:
            name: The job.
            end: How; None if it was withdrawn.
        """
        job = self._jobs[name]
        self._touched[name] = None
        if end is not None and job.waits_for and not job.refused:
            # Its queue does not hold it back. Nothing is lost: it is submitted once it may begin.
            job.queue = None
            job.in_queue.clear()
            self._hold(job)
            return
        if end is None or job.refused:
            end = job.end_unbegun
        elif job.sent_ahead and job.reason_to_end is None:
            # What it was to wait for has ended meanwhile: it is submitted without that.
            end = End(JobState.SKIPPED, TOO_SOON, None)
        job.end = end or End(JobState.TIMEOUT, late_start(job.spec.timeouts.queue_s or 0), None)
        job.step = Step.ENDED

    def saw(self, name: str, seen: Observation | None, written: Written, now: float) -> None:
        """Take in a look at the attempt of a job.

        Args:
            name: The job.
            seen: What was seen; None if it was not.
            written: What has been written to its logs.
            now: When.
        """
        job = self._jobs[name]
        if job.step is Step.OVER and seen is not None:
            self._revive(job, seen)
        if job.step is not Step.WATCHED:
            return
        overdue = job.patience.take_in(seen, written, now)
        if overdue and not job.overdue and job.reason_to_end is None:
            job.overdue = overdue
            self._touched[name] = None
        if seen is None:
            return
        seen = bounded(seen)
        is_new = seen != job.seen
        job.seen = seen
        if job.take_look(seen, now):
            job.step = Step.GONE
            is_new = True
        if is_new:
            self._touched[name] = None

    def _revive(self, job: Standing, seen: Observation) -> None:
        """Let a job that has ended continue if its backend has begun it anew."""
        if not job.may_go_on or not job.begun_anew(seen):
            return
        job.end = End(JobState.PREEMPTED, seen.reason or REQUEUED, bounded(seen))
        job.step = Step.ENDED
        job.cause_to_end = job.cause_to_end or self._ask_all
        self._unfinished += 1
        self._touched[job.spec.name] = None

    def drained(self, name: str) -> None:
        """Everything that the attempt wrote has been handed on."""
        self._jobs[name].tell()
        self._touched[name] = None

    def is_wanted(self, name: str) -> bool:
        """Whether the job is to run: nobody has asked for its end, nor is what it needs missing."""
        return self._jobs[name].end_unbegun is None

    def _give_up_seat(self, job: Standing) -> None:
        job.goes_ahead = False
        if job.has_seat:
            job.has_seat = False
            self._seats.give_up(job.spec.executor)

    def _take_seat(self, job: Standing) -> None:
        job.goes_ahead = False
        job.has_seat = True
        self._seats.take(job.spec.executor)

    def _take_touched(self, now: float) -> Iterator[Standing]:
        """Yield the jobs that something happened to, or whose time has come, to the last."""
        while True:
            while self._timers and self._timers[0][0] <= now:
                self._touched[heapq.heappop(self._timers)[1]] = None
            for name in list(self._touched):
                del self._touched[name]
                yield self._jobs[name]
            if not self._touched and not self._fill_seats():
                return

    def _fill_seats(self) -> bool:
        """Give free seats to jobs that wait for one; return whether any was given."""
        given = False
        while names := self._seats.next(self._is_queued):
            for name in names:
                job = self._jobs[name]
                self._take_seat(job)
                job.step = Step.SEATED
                self._touched[name] = None
            given = True
        return given

    def _is_queued(self, name: str) -> bool:
        return self._jobs[name].step is Step.QUEUED

    def _queue(self, job: Standing) -> None:
        job.step = Step.QUEUED
        if job.spec.group:
            self._queue_group(job.spec.group)
        else:
            has_begun = job.record.attempt > 1
            self._seats.queue(((job.spec.name, job.spec.executor),), has_begun=has_begun)

    def _queue_group(self, group: str) -> None:
        """Let those of a group wait for seats that have none; the last that may begin lets all."""
        members = [self._jobs[name] for name in self._groups.get(group, ())]
        waiting = [one for one in members if one.step is Step.QUEUED]
        if waiting and not any(one.step in (Step.HELD, Step.WAITING) for one in members):
            jobs = [(one.spec.name, one.spec.executor) for one in waiting]
            self._seats.queue(jobs, has_begun=any(one.record.attempt > 1 for one in waiting))

    def _may_have_ended(self, group: str) -> bool:
        """Whether it is not found out or recorded yet what became of one of a group."""
        members = self._groups.get(group, ())
        return any(self._jobs[name].step in _UNRECORDED for name in members)

    def _touch_seated(self, group: str) -> None:
        """Look again at those of a group that have waited for what is known of the others."""
        members = [self._jobs[name] for name in self._groups.get(group, ())]
        self._touch(one for one in members if one.step is Step.SEATED)

    def _wake_at(self, at: float, job: Standing) -> None:
        heapq.heappush(self._timers, (at, job.spec.name))


def decide(board: Board, now: float) -> list[Decision]:
    """Return what is to be done now, in this order; the same history gives the same decisions.

    Each is to be carried out once. What comes of it is told to the board, by `recorded` first of
    all; until then the job waits for that, and only its end can be asked for.
    """
    decisions: list[Decision] = []
    for job in board._take_touched(now):
        decisions += _decide_one(board, job, now)
    return decisions


def _decide_one(board: Board, job: Standing, now: float) -> Iterator[Decision]:
    if job.step is Step.OVER:
        if job.may_go_on:
            yield LookOn(job.spec, job.record.handle)
        return
    reason = job.reason_to_end
    if reason is not None and not job.cancel_noted and not job.record.state.is_terminal:
        job.cancel_noted = True
        yield NoteCancel(job.spec, reason)
    if job.step in (Step.HELD, Step.WAITING, Step.QUEUED, Step.SEATED):
        yield from _before_its_start(board, job, now)
    elif job.step is Step.SUBMITTING:
        yield from _while_submitted(job, now)
    if job.step in (Step.WATCHED, Step.GONE):
        yield from _while_watched(job)
    if job.step is Step.ENDED:
        assert job.end is not None
        job.step = Step.CLOSING
        yield _at_its_end(job, job.end)


def _at_its_end(job: Standing, end: End) -> Decision:
    requeued = job.record.requeued
    if (again := job.begun_anew(end.seen)) > 0:
        return Requeue(job.spec, end, job.spec.attempt + again)
    if end.reason == TOO_SOON:
        job.pause_s = 0.0
        return Retry(job.spec, end, 0.0)
    is_asked_to_end = job.reason_to_end is not None
    if gets_another(job.spec, end, requeued=requeued, is_asked_to_end=is_asked_to_end):
        job.pause_s = delay_s(job.spec, requeued=requeued)
        return Retry(job.spec, end, job.pause_s)
    return Finish(job.spec, end)


def _before_its_start(board: Board, job: Standing, now: float) -> Iterator[Decision]:
    if job.record.handle:
        # It runs, seat or no seat.
        if job.waits_for:
            board._seat_behind(job)
        elif not job.has_seat:
            board._take_seat(job)
        job.step = Step.WATCHED
        board._touch(board._waiting.in_queue(job))
        board._queue_group(job.spec.group)
        yield Follow(job.spec, job.record.handle)
        return
    end = job.end_unbegun
    if job.step is Step.HELD and end is None and job.may_go_ahead:
        board._send_ahead(job)
    if job.is_inherited and (end is not None or job.has_turn):
        job.step = Step.FINDING
        yield Find(job.spec)
    elif end is not None:
        job.end = end
        job.step = Step.ENDED
    elif job.has_turn:
        yield from _with_its_seat(board, job, now)
    elif now < job.due:
        board._wake_at(job.due, job)
    elif job.step is Step.WAITING:
        board._queue(job)


def _with_its_seat(board: Board, job: Standing, now: float) -> Iterator[Decision]:
    if job.waits_for and not job.may_go_ahead:
        board._hold(job)
        return
    if board._may_have_ended(job.spec.group):
        return
    job.begin_attempt(now)
    job.step = Step.SUBMITTING
    if job.spec.timeouts.queue_s is not None:
        board._wake_at(now + job.spec.timeouts.queue_s, job)
    yield Submit(job.to_submit)


def _while_submitted(job: Standing, now: float) -> Iterator[Decision]:
    limit_s = job.spec.timeouts.queue_s
    is_late = limit_s is not None and now >= job.waiting_since + limit_s
    if (is_late or job.end_unbegun is not None) and job.grace_sent is None:
        job.grace_sent = job.cause_to_end[1] if job.cause_to_end else GRACE_S
        yield Withdraw(job.spec, job.grace_sent)


def _while_watched(job: Standing) -> Iterator[Decision]:
    seen = job.seen
    # The look that shows its start may come before the ends are told of those that it waited for.
    is_untold = job.is_ahead and seen is not None and (seen.started_ns or job.step is Step.GONE)
    if seen is not None and not is_untold and not job.begun_anew(seen):
        if seen.started_ns and not job.has_started:
            job.has_started = True
            yield NoteStart(job.spec, seen)
            if seen.phase == "suspended":  # which a start does not say
                yield NoteSeen(job.spec, seen)
        elif job.step is Step.WATCHED and job.is_news(seen):
            yield NoteSeen(job.spec, seen)
    if job.step is Step.GONE:
        if not is_untold:
            job.step = Step.DRAINING
            yield Drain(job.spec)
        return
    if job.overdue and not job.record.overdue:
        yield NoteOverdue(job.spec, job.overdue)
    is_to_end = job.overdue or job.record.cancelling or job.refused
    grace_s: float | None = GRACE_S if is_to_end else None
    if job.cause_to_end is not None:
        grace_s = job.cause_to_end[1]
    if grace_s is not None and (job.grace_sent is None or grace_s < job.grace_sent):
        job.grace_sent = grace_s
        yield Cancel(job.spec, grace_s)
