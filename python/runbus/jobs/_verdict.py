"""How a job ended: what its records say, what was asked of it, and the two together."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from runbus.attempt import TIME_LIMIT, observe_folder
from runbus.jobs._state import JobRecord, JobState

if TYPE_CHECKING:
    from runbus.abc import Observation

__all__ = ["End", "current_state", "verdict"]


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
        seen: What was seen of it: "ended" or "gone".
        cancel_reason: Why its end was asked for; None if nobody asked.
        overdue: Which time-out it was ended for; empty if for none.
    """
    if seen.phase == "gone" and not (overdue and not seen.started_ns):
        return JobState.LOST, "its process is gone and left no exit record"
    if seen.reason == TIME_LIMIT:
        return JobState.TIMEOUT, "it reached its time limit"
    if overdue:
        return JobState.TIMEOUT, overdue
    if seen.exit_code == 0:
        return JobState.SUCCEEDED, ""
    if cancel_reason is not None:
        return JobState.CANCELLED, cancel_reason
    if seen.signal is not None:
        return JobState.FAILED, seen.reason or f"killed by {_signal_name(seen.signal)}"
    return JobState.FAILED, seen.reason or f"exit code {seen.exit_code}"


def current_state(experiment_folder: str, job: JobRecord) -> JobState:
    """Return where a job stands now, also if whoever should have recorded its end has died.

    The journal tells it, unless the attempt's own exit record tells more.
    """
    if job.state.is_terminal:
        return job.state
    seen = observe_folder(os.path.join(experiment_folder, job.folder))
    if seen is None or seen.phase != "ended":
        return job.state
    return verdict(seen, "cancelled" if job.cancelling else None, job.overdue)[0]


def _signal_name(number: int) -> str:
    """Return what a signal is called; most of those for real-time use have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
