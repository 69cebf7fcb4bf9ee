"""Every fact in every state: what becomes of the state, and of each field of the record."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import asdict, replace

from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobFact,
    JobIntended,
    JobObserved,
    JobOverdue,
    JobRequeued,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    RetryPolicy,
)
from runbus.jobs import TERMINAL, JobRecord, JobState, fold

ABOUT: dict[str, Any] = {
    "experiment_id": "e", "job": "j", "run_id": "e-1", "attempt": 3, "time_ns": 100,
}  # fmt: skip
TOLD: dict[str, Any] = {"native_state": "word", "evidence": "squeue"}
FACTS: dict[str, JobFact] = {
    "submitted": JobSubmitted(**ABOUT, handle="h2"),
    "started": JobStarted(**ABOUT, **TOLD, host="there", pid=8),
    "made": JobObserved(**ABOUT, **TOLD, phase="provisioning"),
    "stands": JobObserved(**ABOUT, **TOLD, phase="suspended"),
    "requeued": JobRequeued(**ABOUT, requeues=5, reason="taken", next_attempt=5, folder="f5"),
    "retrying": JobRetrying(
        **ABOUT, state="FAILED", exit_code=1, signal=None, reason="again", next_attempt=4,
        folder="f4", delay_s=1.0,
    ),
    "overdue": JobOverdue(**ABOUT, reason="too late"),
    "cancel": JobCancelRequested(**ABOUT, reason="by hand"),
    "ended": JobEnded(
        **ABOUT, **TOLD, state="SUCCEEDED", exit_code=0, signal=2, reason="over", duration_s=7.0,
        cpu_s=8.0, max_rss_bytes=9, wrapper="script",
    ),
}  # fmt: skip

STATES = """
state        submitted started made stands requeued retrying overdue cancel ended
INTENT       QUEUED    RUNNING MADE .      QUEUED   PENDING  .       .      DONE
PENDING      QUEUED    RUNNING MADE .      QUEUED   PENDING  .       .      DONE
QUEUED       -         RUNNING MADE .      QUEUED   PENDING  .       .      DONE
PROVISIONING -         RUNNING .    .      QUEUED   PENDING  .       .      DONE
RUNNING      -         -       .    .      QUEUED   PENDING  .       .      DONE
SUCCEEDED    -         -       -    -      -        -        -       -      -
FAILED       -         -       -    -      -        -        -       -      -
CANCELLED    -         -       -    -      -        -        -       -      -
TIMEOUT      -         -       -    -      -        -        -       -      -
PREEMPTED    -         -       -    -      QUEUED   -        -       -      -
LOST         -         -       -    -      -        -        -       -      DONE
SKIPPED      -         -       -    -      -        -        -       -      -
"""
"""The state after a fact; `.` if it stays, and `-` if the fact changes nothing at all."""

SHORT = {"MADE": JobState.PROVISIONING, "DONE": JobState.SUCCEEDED}
(_, *_HEAD), *_ROWS = [line.split() for line in STATES.strip().splitlines()]
CASES = [
    pytest.param(state, fact, then, id=f"{state}-{fact}")
    for state, *thens in _ROWS
    for fact, then in zip(_HEAD, thens, strict=True)
]

FULL = JobRecord(
    name="j", run_id="e-1", executor="x", folder="f3", state=JobState.INTENT, attempt=3,
    intended_ns=1, handle="h1", host="here", submitted_ns=200, started_ns=300, ended_ns=400,
    duration_s=1.5, cpu_s=2.5, max_rss_bytes=11, wrapper="program", exit_code=4, signal=6,
    reason="before", cancelling=False, overdue="late", package="code", retry=RetryPolicy(retries=9),
    native_state="old", evidence="older", is_suspended=True, requeues=3, requeued=7,
)  # fmt: skip
NEW: dict[str, Any] = {
    "host": "", "started_ns": 0, "ended_ns": 0, "duration_s": 0.0, "cpu_s": 0.0,
    "max_rss_bytes": None, "wrapper": "", "exit_code": None, "signal": None, "overdue": "",
    "native_state": "", "evidence": "", "is_suspended": False,
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "submitted": {"handle": "h2", "submitted_ns": 100},
    "started": {"host": "there", "started_ns": 100, "submitted_ns": 100, **TOLD},
    "made": {**TOLD, "is_suspended": False},
    "stands": {**TOLD, "is_suspended": True},
    "requeued": {
        **NEW, "attempt": 5, "folder": "f5", "submitted_ns": 100, "reason": "taken", "requeues": 5,
        "requeued": 9,
    },
    "retrying": {
        **NEW, "attempt": 4, "folder": "f4", "submitted_ns": 0, "reason": "again", "handle": "",
        "requeues": 0,
    },
    "overdue": {"overdue": "too late"},
    "cancel": {"cancelling": True},
    "ended": {
        "ended_ns": 100, "duration_s": 7.0, "cpu_s": 8.0, "max_rss_bytes": 9, "wrapper": "script",
        "exit_code": 0, "signal": 2, "reason": "over", "is_suspended": False, **TOLD,
    },
}  # fmt: skip


def test_the_table_has_every_state() -> None:
    assert [row[0] for row in _ROWS] == list(JobState)
    assert {state for state in JobState if state.is_terminal} == TERMINAL
    assert list(JobState).index(JobState.SUCCEEDED) == len(JobState) - len(TERMINAL)


@pytest.mark.parametrize(("state", "what", "then"), CASES)
def test_a_fact_makes_of_a_record_what_the_table_says(state: str, what: str, then: str) -> None:
    before = replace(FULL, state=JobState(state))

    after = fold(before, FACTS[what])

    if then == "-":
        assert after is before
        return
    expected = replace(before, **CHANGES[what])
    if then != ".":
        expected = replace(expected, state=SHORT.get(then) or JobState(then))
    assert after is not None
    assert asdict(after) == asdict(expected)


def test_an_attempt_that_was_not_to_begin_is_followed_by_one_that_is_no_retry() -> None:
    again = FACTS["retrying"]
    assert isinstance(again, JobRetrying)
    retried, begun = fold(FULL, again), fold(FULL, replace(again, state="SKIPPED"))
    assert retried is not None
    assert begun is not None
    assert (retried.requeued, begun.requeued) == (FULL.requeued, FULL.requeued + 1)


def test_only_what_has_not_begun_can_be_skipped() -> None:
    skipped = JobEnded(
        **ABOUT, state="SKIPPED", exit_code=None, signal=None, reason="r", duration_s=0.0
    )
    then = {state: fold(replace(FULL, state=state), skipped) for state in JobState}
    changed = [str(state) for state, after in then.items() if after and after.state != state]
    assert changed == ["INTENT", "PENDING", "QUEUED", "PROVISIONING"]


@pytest.mark.parametrize("what", ["made", "stands", "requeued", "overdue"])
def test_a_fact_about_another_attempt_changes_nothing(what: str) -> None:
    before = replace(FULL, state=JobState.RUNNING)

    for attempt in (2, 4):
        assert fold(before, replace(FACTS[what], attempt=attempt)) is before


def test_a_start_later_than_the_submission_moves_no_submission() -> None:
    before = replace(FULL, state=JobState.QUEUED, submitted_ns=50)

    after = fold(before, FACTS["started"])

    assert after is not None
    assert (after.submitted_ns, after.started_ns) == (50, 100)


def test_an_intent_makes_a_record_once() -> None:
    intent = JobIntended(
        **ABOUT, executor="x", folder="f3", package="code", retry=RetryPolicy(retries=9)
    )

    record = fold(None, intent)

    assert record == JobRecord(
        name="j", run_id="e-1", executor="x", folder="f3", state=JobState.PENDING, attempt=3,
        intended_ns=100, package="code", retry=RetryPolicy(retries=9),
    )  # fmt: skip
    assert fold(FULL, intent) is FULL


@pytest.mark.parametrize("what", FACTS)
def test_a_fact_about_a_job_that_nobody_intended_makes_no_record(what: str) -> None:
    assert fold(None, FACTS[what]) is None


@pytest.mark.parametrize("state", sorted(TERMINAL - {JobState.SKIPPED}))
def test_a_job_that_has_not_ended_may_end_in_any_way(state: str) -> None:
    for before in set(JobState) - TERMINAL:
        after = fold(replace(FULL, state=before), replace(FACTS["ended"], state=state))
        assert after is not None
        assert after.state == state
