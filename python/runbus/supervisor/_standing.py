"""Where one job stands: what is known of it beyond its record."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.abc import UNMET, After
from runbus.attempt import CANCELLED
from runbus.jobs import End, JobState, Patience, is_last, verdict

if TYPE_CHECKING:
    from collections.abc import Hashable

    from runbus.abc import JobSpec, Observation
    from runbus.events import Condition
    from runbus.jobs import JobRecord

__all__ = ["GONE_LOOKS", "GONE_S", "REQUEUED", "TOO_SOON", "Standing", "Step", "bounded", "refusal"]

REQUEUED = "its machine was taken away, and its backend begins it anew"
TOO_SOON = "its turn came before the ends of what it waits for were on record"
"""Why an attempt ended that is followed by another, which begins now that they are."""

MANY = 100
"""For how many others a queue holds a job back, at the most: it looks at each again and again."""

WORD_MAX = 200
"""The longest word of a backend that is recorded, in characters."""

GROUP_ENDED = "another job of its group ended without success"

GONE_LOOKS, GONE_S = 3, 2.0
"""A job that is neither there nor recorded as ended is LOST only after so many looks in a row,
over so many seconds."""


class Step(enum.Enum):
    """Where a job is on its way. What takes time has a step that waits for it.

    A job is HELD until the jobs that it depends on have ended, or until all that have not are in a
    queue that holds it back from then on: it is sent ahead. That it has started, and that it is
    GONE, is told once they have ended.
    """

    HELD = enum.auto()
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


class Standing:
    """One job and what is known of it beyond its record.

    Args:
        queue: Which queue of its backend may hold it back; None if there is none.
    """

    __slots__ = (
        "asked_ns", "cancel_noted", "cause_to_end", "due", "end", "goes_ahead", "gone_looks",
        "gone_since", "grace_sent", "has_heir", "has_seat", "has_started", "in_queue",
        "is_inherited", "overdue", "patience", "pause_s", "queue", "record", "refused", "seen",
        "sent_ahead", "spec", "step", "waiting_since", "waits_for",
    )  # fmt: skip

    def __init__(
        self, spec: JobSpec, record: JobRecord, now: float, *, waited_s: float, is_inherited: bool,
        cause_to_end: tuple[str, float] | None, queue: Hashable,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.record = record
        self.due = now
        self.is_inherited = is_inherited
        self.step = Step.OVER if record.state.is_terminal else Step.WAITING
        # Once it was to begin, what it waited for has ended; in a queue it may wait yet.
        is_new = record.attempt == 1 and not record.handle and self.step is not Step.OVER
        self.waits_for = {one.parent: one.when for one in spec.depends_on} if is_new else {}
        if self.waits_for:
            self.step = Step.HELD
        elif queue is not None and record.attempt == 1 and self.step is not Step.OVER:
            self.waits_for = {one.parent: one.when for one in spec.depends_on if not one.experiment}
        self.queue = queue
        self.in_queue: dict[tuple[str, str], Standing] = {}
        self.refused = ""
        # Sent ahead without a seat, it gets the one that those it waits for leave to nobody else.
        self.goes_ahead = False
        self.has_heir = False
        self.has_seat = False
        self.cause_to_end = cause_to_end
        self.asked_ns = 0
        self.cancel_noted = record.cancelling
        self.end: End | None = None
        self.pause_s = 0.0
        self.begin_attempt(now - waited_s)

    def begin_attempt(self, now: float) -> None:
        """Forget what was seen of the attempt before; this one has been sent off `now`."""
        self.wait_from(math.inf if self.waits_for else now)
        self.has_started = self.record.started_ns > 0
        self.seen: Observation | None = None
        self.gone_looks = 0
        self.gone_since = 0.0
        self.overdue = self.record.overdue
        self.grace_sent: float | None = None
        self.sent_ahead = bool(self.waits_for)

    def wait_from(self, now: float) -> None:
        """Count how long it waits for its start from now on."""
        self.waiting_since = now
        self.patience = Patience(self.spec.timeouts, now)

    @property
    def may_go_ahead(self) -> bool:
        """Whether its queue knows all that it waits for, so that it can be held back there."""
        return 0 < len(self.waits_for) == len(self.in_queue) <= MANY

    @property
    def to_submit(self) -> JobSpec:
        """The job as it is submitted: its queue is told what it waits for yet."""
        if not self.waits_for:
            return self.spec
        after = tuple(
            After(job=parent[1], folder=self.in_queue[parent].spec.folder, when=when)
            for parent, when in self.waits_for.items()
        )
        return replace(self.spec, after=after)

    @property
    def can_be_held_back(self) -> bool:
        """Whether it may wait in a queue."""
        is_there = self.queue is not None and self.step is Step.HELD
        return is_there and self.spec.can_wait_in_queue

    def can_be_waited_for(self, when: Condition) -> bool:
        """Whether its queue knows it, and cannot let begin too soon what waits for its end.

        Where another attempt may follow, the end of this one is not that of the job: what needs its
        success does not begin after a failure, and anything else would.
        """
        is_there = self.queue is not None and self.step is Step.WATCHED
        is_final = when == "afterok" or is_last(self.spec, requeued=self.record.requeued)
        return is_there and is_final

    @property
    def reason_to_end(self) -> str | None:
        """Why the job was asked to end; None if it was not."""
        if self.cause_to_end is not None:
            return self.cause_to_end[0]
        return "it was cancelled" if self.record.cancelling else None

    @property
    def has_turn(self) -> bool:
        """Whether it may be submitted."""
        return self.has_seat or self.goes_ahead

    @property
    def end_unbegun(self) -> End | None:
        """How the job ends, unless it has begun; None if it is to begin."""
        if self.refused:
            return End(JobState.SKIPPED, self.refused, None)
        reason = self.reason_to_end
        return None if reason is None else End(JobState.CANCELLED, reason, None)

    @property
    def may_go_on(self) -> bool:
        """Whether the job has ended in a way that its backend may take back."""
        return self.record.state is JobState.PREEMPTED and bool(self.record.handle)

    def begun_anew(self, seen: Observation | None) -> int:
        """Return how often the backend has begun the job anew since that was last recorded."""
        return max(0, seen.requeues - self.record.requeues) if seen is not None else 0

    def parent_ended(self, parent: tuple[str, str], state: JobState | None) -> bool:
        """Take in that a job that this one waits for has ended; return whether that changes it.

        It is then free to begin, or ends as SKIPPED because the other ended otherwise than it
        needs; or it is no longer held back by others than those that its queue knows.

        Args:
            parent: The other's experiment, empty for this one, and its name.
            state: How it ended; None if nobody can know, because its experiment was removed.
        """
        when = self.waits_for.pop(parent)
        if self.step in (Step.ENDED, Step.CLOSING, Step.OVER):
            return False
        self.in_queue.pop(parent, None)
        experiment, name = parent
        of = f" of {experiment}" if experiment else ""
        if why_not := refusal(when, state):
            self._refuse(f"{why_not.format(repr(name) + of)} {state or ''}".rstrip())
        elif self.step is Step.HELD and not self.waits_for:
            self.step = Step.WAITING
        return bool(why_not) or not self.waits_for or self.may_go_ahead

    def _refuse(self, reason: str) -> None:
        """Let it end as SKIPPED, unless its end was asked for before."""
        if self.step is Step.HELD and not (self.is_inherited and self.queue is not None):
            self.end = End(JobState.SKIPPED, reason, None)
            self.step = Step.ENDED
        elif self.reason_to_end is None:
            # Its queue may have it, though nobody lived to record that: it is to be looked for.
            self.refused = self.refused or reason

    def tell(self) -> None:
        """Say how its attempt ended."""
        assert self.seen is not None
        self.end = self._told(self.seen)
        self.step = Step.ENDED

    def _told(self, seen: Observation) -> End:
        reason = self.reason_to_end
        if self.begun_anew(seen):
            return End(JobState.PREEMPTED, seen.reason or REQUEUED, seen)
        if self.refused and not seen.started_ns:
            return End(JobState.SKIPPED, self.refused, None)
        reason = self.refused or reason
        if reason is None and seen.reason == UNMET:
            return End(JobState.SKIPPED, TOO_SOON, None)
        if 0 < seen.ended_ns < self.asked_ns and seen.reason != CANCELLED:
            reason = None  # it had ended before that: its group ended because of it, perhaps
        if reason is None and seen.reason == CANCELLED and self.spec.group:
            # Its backend has done so while nobody led it.
            reason = GROUP_ENDED
        return End(*verdict(seen, reason, self.record.overdue), seen)

    @property
    def is_ahead(self) -> bool:
        """Whether what becomes of it is not to be told before the ends of those it waits for."""
        return bool(self.waits_for) and self.reason_to_end is None

    def is_news(self, seen: Observation) -> bool:
        """Whether a backend says of a job that has not ended what is not recorded yet."""
        record, is_suspended = self.record, seen.phase == "suspended"
        is_being_made = seen.phase == "provisioning" and record.state is JobState.QUEUED
        is_known = (record.native_state, record.is_suspended) == (seen.native_state, is_suspended)
        return not is_known or is_being_made

    def take_look(self, seen: Observation, now: float) -> bool:
        """Take note of a look and return whether it, with those before, is the attempt's end.

        One look at which the job is gone is no evidence: it may be starting, or its record on its
        way.
        """
        if seen.phase in ("ended", "preempted") or self.begun_anew(seen):
            return True
        if seen.phase != "gone":
            self.gone_looks = 0
            return False
        if not self.gone_looks:
            self.gone_since = now
        self.gone_looks += 1
        return self.gone_looks >= GONE_LOOKS and now - self.gone_since >= GONE_S


def refusal(when: Condition, state: JobState | None) -> str:
    """Return why a job does not run whose parent ended so; empty if it runs.

    The text lacks the parent's name, and the state after it.
    """
    if state is None:
        return "it needs job {}, and that was removed"
    if when == "afterok" and state is not JobState.SUCCEEDED:
        return "it needs job {} to succeed, and that ended as"
    # One that was skipped has not failed: it was never to run.
    if when == "afternotok" and state in (JobState.SUCCEEDED, JobState.SKIPPED):
        return "it runs only if job {} fails, and that ended as"
    return ""


def bounded(seen: Observation) -> Observation:
    """Return what was seen, with no more of the backend's words than are worth recording."""
    if len(seen.native_state) <= WORD_MAX and len(seen.evidence) <= WORD_MAX:
        return seen
    return replace(
        seen, native_state=seen.native_state[:WORD_MAX], evidence=seen.evidence[:WORD_MAX]
    )
