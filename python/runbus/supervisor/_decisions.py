"""What a supervisor may decide to do for a job; each is to be carried out once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runbus.abc import JobSpec, Observation
    from runbus.jobs import End

__all__ = [
    "Cancel",
    "Decision",
    "Drain",
    "Find",
    "Finish",
    "Follow",
    "LookOn",
    "NoteCancel",
    "NoteOverdue",
    "NoteSeen",
    "NoteStart",
    "Requeue",
    "Retry",
    "Submit",
    "Withdraw",
]


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


class LookOn(NamedTuple):
    """The job has ended because its machine was taken away: its backend may begin it anew."""

    job: JobSpec
    handle: str


class Finish(NamedTuple):
    """Tell how the job ended."""

    job: JobSpec
    end: End


Decision = (
    Find | Submit | Withdraw | Follow | NoteStart | NoteSeen | NoteCancel | NoteOverdue | Cancel
    | Drain | Retry | Requeue | LookOn | Finish
)  # fmt: skip
