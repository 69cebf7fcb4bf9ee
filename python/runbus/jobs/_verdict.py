"""How a job ended: what its records say, what was asked of it, and the two together."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from runbus.attempt import CANCELLED, TIME_LIMIT, observe_folder
from runbus.jobs._retry import gets_another
from runbus.jobs._state import JobRecord, JobState

if TYPE_CHECKING:
    from runbus.abc import Observation

__all__ = ["End", "current_record", "unrecorded_end", "verdict"]


class End(NamedTuple):
    """How an attempt ended."""

    state: JobState
    reason: str
    seen: Observation | None


def verdict(
    seen: Observation, cancel_reason: str | None, overdue: str = ""
) -> tuple[JobState, str]:
    """Return the terminal state of a job that is over, and the reason in words.

    Args:
        seen: What was seen of it: "ended", "preempted" or "gone".
        cancel_reason: Why its end was asked for; None if nobody asked.
        overdue: Which time-out it was ended for; empty if for none.
    """
    if seen.phase == "gone" and not (overdue and not seen.started_ns):
        return JobState.LOST, "its process is gone and left no exit record"
    if seen.reason == TIME_LIMIT:
        return JobState.TIMEOUT, "it reached its time limit"
    if overdue:
        return JobState.TIMEOUT, overdue
    # A job that was asked to end and then exits with 0 has not done all that it was to do.
    if seen.exit_code == 0 and not (cancel_reason is not None and seen.reason == CANCELLED):
        return JobState.SUCCEEDED, ""
    if cancel_reason is not None:
        return JobState.CANCELLED, cancel_reason
    if seen.phase == "preempted":
        return JobState.PREEMPTED, seen.reason or "its machine was taken away"
    if seen.signal is not None:
        return JobState.FAILED, seen.reason or f"killed by {_signal_name(seen.signal)}"
    return JobState.FAILED, seen.reason or f"exit code {seen.exit_code}"


def current_record(experiment_folder: str, job: JobRecord) -> JobRecord:
    """Return a job's record as it will be once somebody leads the experiment; changes nothing.

    The journal tells it, unless the attempt's own exit record tells more: then the attempt is over,
    and the job too unless it gets another one. A LOST job that has left a record after all was not.
    """
    end = unrecorded_end(experiment_folder, job)
    if end is None or (seen := end.seen) is None:
        return job
    if not job.state.is_terminal and gets_another(job, end, requeued=job.requeued):
        return replace(job, state=JobState.PENDING, handle="", reason=end.reason)
    return replace(
        job,
        state=end.state,
        host=job.host or seen.host,
        started_ns=job.started_ns or seen.started_ns,
        ended_ns=seen.ended_ns,
        duration_s=seen.duration_s,
        cpu_s=seen.cpu_s,
        exit_code=seen.exit_code,
        signal=seen.signal,
        reason=end.reason,
        evidence=seen.evidence,
        is_suspended=False,
    )


def unrecorded_end(experiment_folder: str, job: JobRecord) -> End | None:
    """Return how a job's latest attempt ended, by its own exit record, if the journal says less.

    None if the journal knows its end, or there is no such record. A LOST job has no known end.
    """
    if job.state.is_terminal and job.state is not JobState.LOST:
        return None
    seen = observe_folder(os.path.join(experiment_folder, job.folder))
    if seen is None or seen.phase != "ended":
        return None
    return End(*verdict(seen, "cancelled" if job.cancelling else None, job.overdue), seen)


def _signal_name(number: int) -> str:
    """Return what a signal is called; most of those for real-time use have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
