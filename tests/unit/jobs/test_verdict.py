"""How a job ended, from what was seen and what was asked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runbus.abc import Observation
from runbus.attempt import CANCELLED, TIME_LIMIT
from runbus.jobs import JobState, verdict

SUCCEEDED = Observation(phase="ended", exit_code=0)
FAILED = Observation(phase="ended", exit_code=3)
UNTOLD = Observation(phase="ended")
KILLED = Observation(phase="ended", signal=15)
GONE = Observation(phase="gone", started_ns=1)
NEVER_STARTED = Observation(phase="gone")
TOO_LONG = Observation(phase="ended", signal=15, reason=TIME_LIMIT)
NO_MEMORY = Observation(phase="ended", signal=9, reason="out of memory")
COMPLAINED = Observation(phase="ended", exit_code=126, reason="cannot open the log files")
LATE = "it had not started after 10 s, its queue timeout"
TAKEN = replace(KILLED, phase="preempted")
LOST = "its process is gone and left no exit record"


@pytest.mark.parametrize(
    ("seen", "cancelled", "overdue", "state", "reason"),
    [
        (SUCCEEDED, None, "", JobState.SUCCEEDED, ""),
        (SUCCEEDED, "by hand", "", JobState.SUCCEEDED, ""),
        (FAILED, None, "", JobState.FAILED, "exit code 3"),
        (FAILED, "by hand", "", JobState.CANCELLED, "by hand"),
        (UNTOLD, None, "", JobState.FAILED, "without an exit code"),
        (KILLED, None, "", JobState.FAILED, "killed by SIGTERM"),
        (KILLED, "by hand", "", JobState.CANCELLED, "by hand"),
        (KILLED, None, LATE, JobState.TIMEOUT, LATE),
        (KILLED, "by hand", LATE, JobState.TIMEOUT, LATE),
        (GONE, None, "", JobState.LOST, LOST),
        (GONE, "by hand", "", JobState.LOST, LOST),
        (GONE, None, LATE, JobState.LOST, LOST),
        (NEVER_STARTED, None, "", JobState.LOST, LOST),
        (NEVER_STARTED, None, LATE, JobState.TIMEOUT, LATE),
        (TOO_LONG, None, "", JobState.TIMEOUT, "it reached its time limit"),
        (TOO_LONG, "by hand", LATE, JobState.TIMEOUT, "it reached its time limit"),
        (
            replace(TOO_LONG, signal=9),
            None,
            "",
            JobState.TIMEOUT,
            "it reached its time limit, and was killed, since it did not end",
        ),
        (NO_MEMORY, None, "", JobState.FAILED, "out of memory"),
        (COMPLAINED, None, "", JobState.FAILED, "cannot open the log files"),
        (TAKEN, None, "", JobState.PREEMPTED, "its machine was taken away"),
        (
            replace(TAKEN, reason="the spot price rose"),
            None,
            "",
            JobState.PREEMPTED,
            "the spot price rose",
        ),
        (TAKEN, "by hand", "", JobState.CANCELLED, "by hand"),
        (replace(SUCCEEDED, reason=CANCELLED), "by hand", "", JobState.CANCELLED, "by hand"),
        (replace(SUCCEEDED, reason=CANCELLED), None, "", JobState.SUCCEEDED, ""),
    ],
)
def test_what_was_seen_and_asked_decides_how_a_job_ended(
    seen: Observation, cancelled: str | None, overdue: str, state: JobState, reason: str
) -> None:
    assert verdict(seen, cancelled, overdue) == (state, reason)


def test_nobody_asked_and_no_time_out_is_over_unless_told() -> None:
    assert verdict(FAILED, None) == (JobState.FAILED, "exit code 3")
