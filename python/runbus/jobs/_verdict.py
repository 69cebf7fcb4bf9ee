"""How an attempt ended: what was seen of it, and what was asked of it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from runbus.attempt import CANCELLED, TIME_LIMIT
from runbus.jobs._state import JobState

if TYPE_CHECKING:
    from runbus.abc import Observation

__all__ = ["RAN_TOO_LONG", "End", "verdict"]

RAN_TOO_LONG = "it reached its time limit"
"""Why a job is TIMEOUT that ran for longer than it may; more follows if it had to be killed."""


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
        return JobState.LOST, seen.reason or "its process is gone and left no exit record"
    if seen.reason == TIME_LIMIT:
        had_to = ", and was killed, since it did not end" if seen.signal == signal.SIGKILL else ""
        return JobState.TIMEOUT, RAN_TOO_LONG + had_to
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
    code = "without an exit code" if seen.exit_code is None else f"exit code {seen.exit_code}"
    return JobState.FAILED, seen.reason or code


def _signal_name(number: int) -> str:
    """Return what a signal is called; most of those for real-time use have only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
