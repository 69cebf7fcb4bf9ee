"""What is recorded of a job: all that was seen of it, and when."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from runbus.abc import JobSpec, Observation
from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobObserved,
    JobOverdue,
    JobRequeued,
    JobRetrying,
    JobStarted,
    JobSubmitted,
)
from runbus.jobs import End, Facts, JobState
from runbus.testing import FakeClock

JOB = JobSpec(
    experiment_id="e", name="j", run_id="e-1", executor="x", argv=("true",), cwd="/", env={},
    folder="f", run_folder="r", attempt=3,
)  # fmt: skip
SEEN = Observation(
    phase="ended", host="there", pid=8, started_ns=20, ended_ns=30, duration_s=1.5, cpu_s=2.5,
    max_rss_bytes=9, exit_code=7, reason="its own", wrapper="script", native_state="word",
    evidence="squeue", requeues=5,
)  # fmt: skip
KILLED = replace(SEEN, exit_code=None, signal=6)
UNSEEN = End(JobState.FAILED, "no such machine", None)
TOLD: dict[str, Any] = {"native_state": "word", "evidence": "squeue"}
UNTOLD: dict[str, Any] = {"native_state": "", "evidence": ""}

facts = Facts(FakeClock(time_ns=10))


def about(time_ns: int = 10) -> dict[str, Any]:
    return {"experiment_id": "e", "job": "j", "run_id": "e-1", "attempt": 3, "time_ns": time_ns}


def test_what_is_asked_and_told_here_is_of_now() -> None:
    assert facts.submitted(JOB, "h") == JobSubmitted(**about(), handle="h")
    assert facts.cancel_requested(JOB, "by hand") == JobCancelRequested(**about(), reason="by hand")
    assert facts.overdue(JOB, "too late") == JobOverdue(**about(), reason="too late")
    observed = facts.observed(JOB, replace(SEEN, phase="suspended"))
    assert observed == JobObserved(**about(), phase="suspended", **TOLD)


def test_a_start_is_of_when_it_was_seen_to_be() -> None:
    assert facts.started(JOB, SEEN) == JobStarted(**about(20), host="there", pid=8, **TOLD)
    assert facts.started(JOB, replace(SEEN, started_ns=0)).time_ns == 10


def test_an_end_tells_all_that_was_seen_of_it() -> None:
    ended = JobEnded(
        **about(30), **TOLD, state="FAILED", exit_code=7, signal=None, reason="why",
        duration_s=1.5, cpu_s=2.5, max_rss_bytes=9, wrapper="script",
    )  # fmt: skip
    assert facts.ended(JOB, End(JobState.FAILED, "why", SEEN)) == ended
    killed = facts.ended(JOB, End(JobState.FAILED, "why", KILLED))
    assert killed == replace(ended, exit_code=None, signal=6)
    assert facts.ended(JOB, UNSEEN) == JobEnded(
        **about(), **UNTOLD, state="FAILED", exit_code=None, signal=None, reason="no such machine",
        duration_s=0.0,
    )  # fmt: skip


def test_an_attempt_that_is_tried_again_tells_how_it_ended_and_what_follows() -> None:
    then: dict[str, Any] = {"next_attempt": 4, "folder": "jobs/1-j/4", "delay_s": 0.5}
    for seen, code, signal in ((SEEN, 7, None), (KILLED, None, 6)):
        end = End(JobState.TIMEOUT, "why", seen)
        assert facts.retrying(JOB, end, folder="jobs/1-j/4", delay_s=0.5) == JobRetrying(
            **about(30), state="TIMEOUT", exit_code=code, signal=signal, reason="why", **then
        )
    assert facts.retrying(JOB, UNSEEN, folder="jobs/1-j/4", delay_s=0.5) == JobRetrying(
        **about(), state="FAILED", exit_code=None, signal=None, reason="no such machine", **then
    )


def test_an_attempt_that_its_backend_begins_anew_tells_how_often_it_did() -> None:
    end = End(JobState.PREEMPTED, "taken away", SEEN)
    requeued = JobRequeued(
        **about(), requeues=5, reason="taken away", next_attempt=6, folder="jobs/1-j/6"
    )
    assert facts.requeued(JOB, end, attempt=6, folder="jobs/1-j/6") == requeued
