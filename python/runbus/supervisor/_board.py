"""What is known of the jobs that a supervisor leads, and what is to be done next: a pure decision.

No clock, no task and no file is touched here. What happens comes in through the methods of `Board`,
each with the moment it happened at; `decide` says what to do about it. Work is done only for jobs
that something happened to, so a step costs the same with ten jobs and with ten thousand.
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from runbus.abc import GRACE_S
from runbus.jobs import End, JobState, Patience, delay_s, gets_another, late_start, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runbus.abc import JobSpec, Observation
    from runbus.attempt import Written
    from runbus.jobs import JobRecord

__all__ = [
    "Board",
    "Cancel",
    "Decision",
    "Drain",
    "Find",
    "Finish",
    "Follow",
    "NoteCancel",
    "NoteOverdue",
    "NoteSeen",
    "NoteStart",
    "Requeue",
    "Retry",
    "Submit",
    "Withdraw",
    "decide",
]

REQUEUED = "its machine was taken away, and its backend begins it anew"

WORD_MAX = 200
"""The longest word of a backend that is recorded, in characters."""

GONE_LOOKS, GONE_S = 3, 2.0
"""A job that is neither there nor recorded as ended is LOST only after so many looks in a row,
over so many seconds."""


class Find(NamedTuple):
    """Ask the backend whether an earlier process submitted the job without living to record it."""

    job: JobSpec


class Submit(NamedTuple):
    """Submit the job. It has a seat."""

    job: JobSpec


class Withdraw(NamedTuple):
    """Give up submitting: what has not begun must not begin."""

    job: JobSpec
    grace_s: float


class Follow(NamedTuple):
    """Watch the attempt that a backend has."""

    job: JobSpec
    handle: str


class NoteStart(NamedTuple):
    """Tell that its process runs."""

    job: JobSpec
    seen: Observation


class NoteSeen(NamedTuple):
    """Tell what the backend newly says of a job that has not ended."""

    job: JobSpec
    seen: Observation


class NoteCancel(NamedTuple):
    """Tell that its end was asked for."""

    job: JobSpec
    reason: str


class NoteOverdue(NamedTuple):
    """Tell that a time-out is over."""

    job: JobSpec
    reason: str


class Cancel(NamedTuple):
    """Have the backend end the attempt."""

    job: JobSpec
    grace_s: float


class Drain(NamedTuple):
    """The attempt is over: hand on everything it wrote, then call `Board.drained`."""

    job: JobSpec


class Retry(NamedTuple):
    """Tell how the attempt ended, and make ready for the next one."""

    job: JobSpec
    end: End
    delay_s: float


class Requeue(NamedTuple):
    """Tell that the backend has begun the job anew, and watch that attempt, the next one."""

    job: JobSpec
    end: End
    attempt: int


class Finish(NamedTuple):
    """Tell how the job ended."""

    job: JobSpec
    end: End


Decision = (
    Find | Submit | Withdraw | Follow | NoteStart | NoteSeen | NoteCancel | NoteOverdue | Cancel
    | Drain | Retry | Requeue | Finish
)  # fmt: skip


class _Step(enum.Enum):
    """Where a job is on its way. What takes time has a step that waits for it."""

    WAITING = enum.auto()
    QUEUED = enum.auto()
    SEATED = enum.auto()
    FINDING = enum.auto()
    SUBMITTING = enum.auto()
    WATCHED = enum.auto()
    GONE = enum.auto()
    DRAINING = enum.auto()
    ENDED = enum.auto()
    CLOSING = enum.auto()
    OVER = enum.auto()


class _Standing:
    """One job and what is known of it beyond its record."""

    __slots__ = (
        "cancel_noted", "cause_to_end", "due", "end", "gone_looks", "gone_since", "grace_sent",
        "has_seat", "has_started", "is_inherited", "overdue", "patience", "pause_s", "record",
        "seen", "spec", "step", "waiting_since",
    )  # fmt: skip

    def __init__(
        self, spec: JobSpec, record: JobRecord, now: float, *, waited_s: float, is_inherited: bool,
        cause_to_end: tuple[str, float] | None,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.record = record
        self.due = now
        self.is_inherited = is_inherited
        self.step = _Step.OVER if record.state.is_terminal else _Step.WAITING
        self.has_seat = False
        self.cause_to_end = cause_to_end
        self.cancel_noted = record.cancelling
        self.end: End | None = None
        self.pause_s = 0.0
        self.begin_attempt(now - waited_s)

    def begin_attempt(self, now: float) -> None:
        """Forget what was seen of the attempt before; this one has been sent off `now`."""
        self.waiting_since = now
        self.patience = Patience(self.spec.timeouts, now)
        self.has_started = self.record.started_ns > 0
        self.seen: Observation | None = None
        self.gone_looks = 0
        self.gone_since = 0.0
        self.overdue = self.record.overdue
        self.grace_sent: float | None = None


class Board:
    """The jobs that are led: what was recorded of them, asked for, and seen.

    No job has a seat before `set_seats` says how many there are.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _Standing] = {}
        self._seats = 0
        self._places: dict[str, int] = {}
        self._queues: dict[str, deque[tuple[int, str]]] = {}
        self._turns = itertools.count()
        self._timers: list[tuple[float, str]] = []
        self._touched: dict[str, None] = {}
        self._ask_all: tuple[str, float] | None = None
        self._unfinished = 0

    @property
    def is_over(self) -> bool:
        """Whether every job has ended."""
        return not self._unfinished

    @property
    def has_news(self) -> bool:
        """Whether something happened that `decide` has not been asked about."""
        return bool(self._touched)

    @property
    def next_due(self) -> float | None:
        """When `decide` should be asked again although nothing happens; None for never."""
        return self._timers[0][0] if self._timers else None

    def set_seats(self, max_parallel: int, limits: Mapping[str, int | None]) -> None:
        """Say how many jobs run at a time: in all, and on each executor; None for any number."""
        self._seats = max_parallel
        self._places = {name: limit for name, limit in limits.items() if limit is not None}

    def add(
        self, spec: JobSpec, record: JobRecord, now: float, *, waited_s: float = 0.0,
        is_inherited: bool = False,
    ) -> None:  # fmt: skip
        """Lead one more job.

        Args:
            spec: The job, as of its latest attempt.
            record: What is recorded of it.
            now: This moment.
            waited_s: How long ago its latest attempt was submitted.
            is_inherited: An earlier process may have submitted it without recording that.
        """
        job = _Standing(
            spec, record, now, waited_s=waited_s, is_inherited=is_inherited,
            cause_to_end=self._ask_all,
        )  # fmt: skip
        self._jobs[spec.name] = job
        if job.step is not _Step.OVER:
            self._unfinished += 1
            self._touched[spec.name] = None

    def ask_to_end(self, reason: str, grace_s: float, name: str | None = None) -> None:
        """Somebody wants the end of a job, or of all there are and will be."""
        if name is None:
            self._ask_all = reason, grace_s
        for one in self._jobs if name is None else (name,):
            if (job := self._jobs.get(one)) is not None and job.step is not _Step.OVER:
                sooner = min(grace_s, job.cause_to_end[1]) if job.cause_to_end else grace_s
                job.cause_to_end = reason, sooner
                self._touched[one] = None

    def recorded(self, record: JobRecord, now: float) -> None:
        """A fact about a job is in the journal, and `record` is what that adds up to."""
        job = self._jobs.get(record.name)
        if job is None or job.step is _Step.OVER:
            return
        before, job.record = job.record, record
        if record.state.is_terminal:
            job.step = _Step.OVER
            self._unfinished -= 1
            self._give_up_seat(job)
        elif record.attempt > before.attempt:
            job.step = _Step.WAITING
            job.end = None
            if record.handle:
                # It waits already, and has never given up its seat.
                job.begin_attempt(now)
            else:
                job.due = now + job.pause_s
                self._give_up_seat(job)
        elif record.handle and job.step in (_Step.FINDING, _Step.SUBMITTING):
            job.step = _Step.WATCHED
            job.grace_sent = None
        else:
            return
        self._touched[record.name] = None

    def next_attempt(self, spec: JobSpec) -> None:
        """The job is as `spec` says from its next attempt on; before `recorded` tells of it."""
        self._jobs[spec.name].spec = spec

    def not_found(self, name: str) -> None:
        """No earlier process has submitted the job."""
        job = self._jobs[name]
        job.is_inherited = False
        job.step = _Step.SEATED if job.has_seat else _Step.WAITING
        self._touched[name] = None

    def not_submitted(self, name: str, end: End | None = None) -> None:
        """The attempt came to an end without a job that could be watched.

        Args:
            name: The job.
            end: How; None if it was withdrawn.
        """
        job = self._jobs[name]
        if end is None and (reason := _reason_to_end(job)) is not None:
            end = End(JobState.CANCELLED, reason, None)
        job.end = end or End(JobState.TIMEOUT, late_start(job.spec.timeouts.queue_s or 0), None)
        job.step = _Step.ENDED
        self._touched[name] = None

    def saw(self, name: str, seen: Observation | None, written: Written, now: float) -> bool:
        """Take in a look at the attempt of a job.

        Args:
            name: The job.
            seen: What was seen; None if it was not.
            written: What has been written to its logs.
            now: When.

        Returns:
            Whether it was new.
        """
        job = self._jobs[name]
        if job.step is not _Step.WATCHED:
            return False
        overdue = job.patience.take_in(seen, written, now)
        if overdue and not job.overdue and _reason_to_end(job) is None:
            job.overdue = overdue
            self._touched[name] = None
        if seen is None:
            return False
        seen = _bounded(seen)
        is_new = seen != job.seen
        job.seen = seen
        if _is_final(job, seen, now):
            job.step = _Step.GONE
            is_new = True
        if is_new:
            self._touched[name] = None
        return is_new

    def drained(self, name: str) -> None:
        """Everything that the attempt wrote has been handed on."""
        job = self._jobs[name]
        assert job.seen is not None
        if _begun_anew(job, job.seen):
            job.end = End(JobState.PREEMPTED, job.seen.reason or REQUEUED, job.seen)
        else:
            job.end = End(*verdict(job.seen, _reason_to_end(job), job.record.overdue), job.seen)
        job.step = _Step.ENDED
        self._touched[name] = None

    def is_wanted(self, name: str) -> bool:
        """Whether nobody has asked for the end of the job."""
        return _reason_to_end(self._jobs[name]) is None

    def _give_up_seat(self, job: _Standing) -> None:
        if job.has_seat:
            job.has_seat = False
            self._seats += 1
            if job.spec.executor in self._places:
                self._places[job.spec.executor] += 1

    def _take_seat(self, job: _Standing) -> None:
        job.has_seat = True
        self._seats -= 1
        if job.spec.executor in self._places:
            self._places[job.spec.executor] -= 1

    def _take_touched(self, now: float) -> Iterator[_Standing]:
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
        """Give free seats to jobs that wait for one; return whether any was given.

        First come, first served; but those who wait for a full executor keep no others out.
        """
        given = False
        while self._seats > 0:
            heads = []
            for executor, queue in self._queues.items():
                while queue and self._jobs[queue[0][1]].step is not _Step.QUEUED:
                    queue.popleft()  # its end was asked for meanwhile
                if queue and self._places.get(executor, 1) > 0:
                    heads.append((*queue[0], queue))
            if not heads:
                break
            _, name, queue = min(heads)
            queue.popleft()
            job = self._jobs[name]
            self._take_seat(job)
            job.step = _Step.SEATED
            self._touched[name] = None
            given = True
        return given

    def _queue(self, job: _Standing) -> None:
        job.step = _Step.QUEUED
        queue = self._queues.setdefault(job.spec.executor, deque())
        queue.append((next(self._turns), job.spec.name))

    def _wake_at(self, at: float, job: _Standing) -> None:
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


def _decide_one(board: Board, job: _Standing, now: float) -> Iterator[Decision]:
    if job.step is _Step.OVER:
        return
    reason = _reason_to_end(job)
    if reason is not None and not job.cancel_noted:
        job.cancel_noted = True
        yield NoteCancel(job.spec, reason)
    if job.step in (_Step.WAITING, _Step.QUEUED, _Step.SEATED):
        yield from _before_its_start(board, job, reason, now)
    elif job.step is _Step.SUBMITTING:
        yield from _while_submitted(job, reason, now)
    if job.step in (_Step.WATCHED, _Step.GONE):
        yield from _while_watched(job)
    if job.step is _Step.ENDED:
        assert job.end is not None
        job.step = _Step.CLOSING
        requeued = job.record.requeued
        if (again := _begun_anew(job, job.end.seen)) > 0:
            yield Requeue(job.spec, job.end, job.spec.attempt + again)
        elif gets_another(job.spec, job.end, requeued=requeued):
            job.pause_s = delay_s(job.spec, requeued=requeued)
            yield Retry(job.spec, job.end, job.pause_s)
        else:
            yield Finish(job.spec, job.end)


def _before_its_start(
    board: Board, job: _Standing, reason: str | None, now: float
) -> Iterator[Decision]:
    if job.record.handle:
        # It runs, seat or no seat.
        if not job.has_seat:
            board._take_seat(job)
        job.step = _Step.WATCHED
        yield Follow(job.spec, job.record.handle)
    elif job.is_inherited and (reason is not None or job.has_seat):
        job.step = _Step.FINDING
        yield Find(job.spec)
    elif reason is not None:
        job.end = End(JobState.CANCELLED, reason, None)
        job.step = _Step.ENDED
    elif job.has_seat:
        job.begin_attempt(now)
        job.step = _Step.SUBMITTING
        if job.spec.timeouts.queue_s is not None:
            board._wake_at(now + job.spec.timeouts.queue_s, job)
        yield Submit(job.spec)
    elif now < job.due:
        board._wake_at(job.due, job)
    elif job.step is _Step.WAITING:
        board._queue(job)


def _while_submitted(job: _Standing, reason: str | None, now: float) -> Iterator[Decision]:
    limit_s = job.spec.timeouts.queue_s
    is_late = limit_s is not None and now >= job.waiting_since + limit_s
    if (reason is not None or is_late) and job.grace_sent is None:
        job.grace_sent = job.cause_to_end[1] if job.cause_to_end else GRACE_S
        yield Withdraw(job.spec, job.grace_sent)


def _while_watched(job: _Standing) -> Iterator[Decision]:
    seen = job.seen
    if seen is not None and not _begun_anew(job, seen):
        if seen.started_ns and not job.has_started:
            job.has_started = True
            yield NoteStart(job.spec, seen)
            if seen.phase == "suspended":  # which a start does not say
                yield NoteSeen(job.spec, seen)
        elif job.step is _Step.WATCHED and _says_news(job.record, seen):
            yield NoteSeen(job.spec, seen)
    if job.step is _Step.GONE:
        job.step = _Step.DRAINING
        yield Drain(job.spec)
        return
    if job.overdue and not job.record.overdue:
        yield NoteOverdue(job.spec, job.overdue)
    grace_s: float | None = GRACE_S if job.overdue or job.record.cancelling else None
    if job.cause_to_end is not None:
        grace_s = job.cause_to_end[1]
    if grace_s is not None and (job.grace_sent is None or grace_s < job.grace_sent):
        job.grace_sent = grace_s
        yield Cancel(job.spec, grace_s)


def _reason_to_end(job: _Standing) -> str | None:
    """Return why the job was asked to end; None if it was not."""
    if job.cause_to_end is not None:
        return job.cause_to_end[0]
    return "it was cancelled" if job.record.cancelling else None


def _begun_anew(job: _Standing, seen: Observation | None) -> int:
    """Return how often the backend has begun the job anew since that was last recorded."""
    return max(0, seen.requeues - job.record.requeues) if seen is not None else 0


def _says_news(record: JobRecord, seen: Observation) -> bool:
    """Whether a backend says of a job that has not ended what is not recorded yet."""
    is_suspended = seen.phase == "suspended"
    is_being_made = seen.phase == "provisioning" and record.state is JobState.QUEUED
    is_known = (record.native_state, record.is_suspended) == (seen.native_state, is_suspended)
    return not is_known or is_being_made


def _bounded(seen: Observation) -> Observation:
    """Return what was seen, with no more of the backend's words than are worth recording."""
    if len(seen.native_state) <= WORD_MAX and len(seen.evidence) <= WORD_MAX:
        return seen
    return replace(
        seen, native_state=seen.native_state[:WORD_MAX], evidence=seen.evidence[:WORD_MAX]
    )


def _is_final(job: _Standing, seen: Observation, now: float) -> bool:
    """Take note of a look and return whether it, with those before, is the end of the attempt.

    One look at which the job is gone is no evidence: it may be starting, or its record on its way.
    """
    if seen.phase in ("ended", "preempted") or _begun_anew(job, seen):
        return True
    if seen.phase != "gone":
        job.gone_looks = 0
        return False
    if not job.gone_looks:
        job.gone_since = now
    job.gone_looks += 1
    return job.gone_looks >= GONE_LOOKS and now - job.gone_since >= GONE_S
