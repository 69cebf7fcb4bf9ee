"""Which ends get another attempt, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.attempt import OUT_OF_MEMORY
from runbus.jobs._state import JobState

if TYPE_CHECKING:
    from runbus.abc import JobSpec, RetryCause
    from runbus.jobs._verdict import End

__all__ = ["cause_of", "delay_s", "gets_another"]

BACKOFF_MAX_S = 300.0
"""The longest wait before another attempt."""


def cause_of(end: End) -> RetryCause | None:
    """Return why an attempt did not succeed; None if it did, or was ended on request."""
    if end.state is JobState.TIMEOUT:
        return "timeout"
    if end.state is JobState.LOST:
        return "lost"
    if end.state is not JobState.FAILED:
        return None
    if end.seen is None:
        return "start"
    if end.seen.reason.startswith(OUT_OF_MEMORY):
        return "oom"
    return "exit" if end.seen.signal is None else "signal"


def gets_another(job: JobSpec, end: End) -> bool:
    """Whether a job gets another attempt after one ended so."""
    cause = cause_of(end)
    if cause is None or job.attempt > job.retries:
        return False
    code = end.seen.exit_code if end.seen and cause == "exit" else None
    return cause in job.retry_on or code in job.retry_on


def delay_s(job: JobSpec) -> float:
    """Return the seconds between the end of this attempt and the next one."""
    doublings = min(job.attempt - 1, 60)
    return float(min(BACKOFF_MAX_S, job.backoff_s * 2**doublings))
