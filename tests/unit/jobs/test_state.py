from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobFact,
    JobIntended,
    JobStarted,
    JobSubmitted,
)
from runbus.jobs import TERMINAL, JobRecord, JobState, fold

ABOUT: dict[str, Any] = {
    "experiment_id": "e",
    "job": "j",
    "run_id": "e-1",
    "attempt": 1,
    "time_ns": 1,
}
INTENDED = JobIntended(**ABOUT, executor="local", folder="jobs/1-j/1")
SUBMITTED = JobSubmitted(**ABOUT, handle="42")
STARTED = JobStarted(**ABOUT, host="here", pid=42)
CANCEL = JobCancelRequested(**ABOUT, reason="by hand")


def ended(state: JobState, exit_code: int | None = None) -> JobEnded:
    return JobEnded(
        **ABOUT, state=state, exit_code=exit_code, signal=None, reason="", duration_s=1.0
    )


def folded(*facts: JobFact) -> JobRecord:
    record = None
    for fact in facts:
        record = fold(record, fact)
    assert record is not None
    return record


def test_a_record_is_shown_in_one_short_line() -> None:
    record = folded(INTENDED, SUBMITTED, STARTED, ended(JobState.FAILED, 3))

    assert repr(record) == (
        "JobRecord(name='j', run_id='e-1', attempt=1, state='FAILED', exit_code=3, reason='')"
    )


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ([INTENDED], JobState.PENDING),
        ([INTENDED, SUBMITTED], JobState.QUEUED),
        ([INTENDED, SUBMITTED, STARTED], JobState.RUNNING),
        ([INTENDED, STARTED], JobState.RUNNING),
        ([INTENDED, STARTED, SUBMITTED], JobState.RUNNING),
        ([INTENDED, SUBMITTED, STARTED, ended(JobState.SUCCEEDED, 0)], JobState.SUCCEEDED),
        ([INTENDED, ended(JobState.CANCELLED)], JobState.CANCELLED),
        ([INTENDED, ended(JobState.FAILED), STARTED], JobState.FAILED),
        ([INTENDED, ended(JobState.FAILED), ended(JobState.SUCCEEDED)], JobState.FAILED),
        ([INTENDED, ended(JobState.LOST), ended(JobState.SUCCEEDED)], JobState.SUCCEEDED),
    ],
)
def test_facts_add_up_to_a_state(facts: list[JobFact], state: JobState) -> None:
    assert folded(*facts).state is state


def test_a_fact_about_a_job_nobody_intended_says_nothing() -> None:
    assert fold(None, STARTED) is None


def test_a_cancel_request_is_no_end() -> None:
    record = folded(INTENDED, SUBMITTED, STARTED, CANCEL)

    assert record.cancelling
    assert record.state is JobState.RUNNING


FACTS = st.sampled_from([INTENDED, SUBMITTED, STARTED, CANCEL, *map(ended, sorted(TERMINAL))])


@given(st.lists(FACTS))
def test_a_terminal_state_other_than_lost_never_changes(facts: list[JobFact]) -> None:
    record: JobRecord | None = None
    for fact in facts:
        before = record
        record = fold(record, fact)
        if before is not None and before.state in TERMINAL - {JobState.LOST}:
            assert record == before


@given(st.lists(FACTS))
def test_folding_a_fact_twice_is_folding_it_once(facts: list[JobFact]) -> None:
    once = twice = None
    for fact in facts:
        once = fold(once, fact)
        twice = fold(fold(twice, fact), fact)

    assert twice == once
