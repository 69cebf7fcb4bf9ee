"""Where one job stands: what is known of it beyond its record."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.jobs import End, JobState, Patience

if TYPE_CHECKING:
    from runbus.abc import JobSpec, Observation
    from runbus.events import Condition
    from runbus.jobs import JobRecord

__all__ = ["GONE_LOOKS", "GONE_S", "Standing", "Step", "bounded", "refusal"]

WORD_MAX = 200
"""The longest word of a backend that is recorded, in characters."""

GONE_LOOKS, GONE_S = 3, 2.0
"""A job that is neither there nor recorded as ended is LOST only after so many looks in a row,
over so many seconds."""


class Step(enum.Enum):
    """Where a job is on its way. What takes time has a step that waits for it.

    A job is HELD until the jobs that it depends on have ended.
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
    """One job and what is known of it beyond its record."""

    __slots__ = (
        "cancel_noted", "cause_to_end", "due", "end", "gone_looks", "gone_since", "grace_sent",
        "has_seat", "has_started", "is_inherited", "overdue", "patience", "pause_s", "record",
        "seen", "spec", "step", "waiting_since", "waits_for",
    )  # fmt: skip

    def __init__(
        self, spec: JobSpec, record: JobRecord, now: float, *, waited_s: float, is_inherited: bool,
        cause_to_end: tuple[str, float] | None,
    ) -> None:  # fmt: skip
        self.spec = spec
        self.record = record
        self.due = now
        self.is_inherited = is_inherited
        self.step = Step.OVER if record.state.is_terminal else Step.WAITING
        # Once it was to begin, what it waited for has ended.
        is_new = record.attempt == 1 and not record.handle and self.step is not Step.OVER
        self.waits_for = {one.parent: one.when for one in spec.depends_on} if is_new else {}
        if self.waits_for:
            self.step = Step.HELD
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

    @property
    def reason_to_end(self) -> str | None:
        """Why the job was asked to end; None if it was not."""
        if self.cause_to_end is not None:
            return self.cause_to_end[0]
        return "it was cancelled" if self.record.cancelling else None

    @property
    def may_go_on(self) -> bool:
        """Whether the job has ended in a way that its backend may take back."""
        return self.record.state is JobState.PREEMPTED and bool(self.record.handle)

    def begun_anew(self, seen: Observation | None) -> int:
        """Return how often the backend has begun the job anew since that was last recorded."""
        return max(0, seen.requeues - self.record.requeues) if seen is not None else 0

    def parent_ended(self, parent: tuple[str, str], state: JobState | None) -> bool:
        """Take in that a job that this one waits for has ended; return whether it is held no more.

        It is then free to begin, or ends as SKIPPED because the other ended otherwise than it
        needs.

        Args:
            parent: The other's experiment, empty for this one, and its name.
            state: How it ended; None if nobody can know, because its experiment was removed.
        """
        when = self.waits_for.pop(parent, None)
        if when is None or self.step is not Step.HELD:
            return False
        experiment, name = parent
        of = f" of {experiment}" if experiment else ""
        if why_not := refusal(when, state):
            reason = f"{why_not.format(repr(name) + of)} {state or ''}".rstrip()
            self.end = End(JobState.SKIPPED, reason, None)
            self.step = Step.ENDED
        elif not self.waits_for:
            self.step = Step.WAITING
        return self.step is not Step.HELD

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
