"""Which ends get another attempt, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runbus.attempt import OUT_OF_MEMORY
from runbus.jobs._state import JobState

if TYPE_CHECKING:
    from runbus.events import RetryCause, RetryPolicy
    from runbus.jobs._verdict import End

__all__ = ["attempt_heading", "cause_of", "delay_s", "gets_another", "is_last"]

BACKOFF_MAX_S = 300.0
"""The longest wait before another attempt."""


def cause_of(end: End) -> RetryCause | None:
    """Return why an attempt did not succeed; None if it did, or was ended on request."""
    if end.state is JobState.TIMEOUT:
        return "timeout"
    if end.state is JobState.LOST:
        return "lost"
    if end.state is JobState.PREEMPTED:
        return "preempted"
    if end.state is not JobState.FAILED:
        return None
    if end.seen is None:
        return "start"
    if end.seen.reason.startswith(OUT_OF_MEMORY):
        return "oom"
    return "exit" if end.seen.signal is None else "signal"


class Tried(Protocol):
    """A job as of one of its attempts: what is handed to an executor, or what is recorded."""

    @property
    def attempt(self) -> int:
        """Which attempt, from 1."""
        ...

    @property
    def retry(self) -> RetryPolicy:
        """After which ends it gets another."""
        ...


def is_last(job: Tried, *, requeued: int) -> bool:
    """Whether no end of an attempt brings another one; see `gets_another`."""
    return job.attempt - requeued > job.retry.retries


def gets_another(job: Tried, end: End, *, requeued: int = 0, is_asked_to_end: bool = False) -> bool:
    """Whether a job gets another attempt after one ended so.

    Args:
        job: The job.
        end: How the attempt ended.
        requeued: How many of its attempts its backend has begun by itself.
        is_asked_to_end: Whether somebody wants its end: then it gets none, however it ended.
    """
    cause = cause_of(end)
    if cause is None or is_asked_to_end or is_last(job, requeued=requeued):
        return False
    code = end.seen.exit_code if end.seen and cause == "exit" else None
    return cause in job.retry.on or code in job.retry.on


def delay_s(job: Tried, *, requeued: int = 0) -> float:
    """Return the seconds between the end of this attempt and the next one."""
    doublings = min(job.attempt - requeued - 1, 60)
    return float(min(BACKOFF_MAX_S, job.retry.backoff_s * 2**doublings))


def attempt_heading(attempt: int) -> str:
    """Return the line that goes before what an attempt has written, where there are several."""
    return f"==> attempt {attempt} <=="
