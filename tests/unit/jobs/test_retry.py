"""Which ends get another attempt."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Observation, RetryPolicy
from runbus.events import RetryCause
from runbus.jobs import End
from runbus.jobs._retry import BACKOFF_MAX_S, cause_of, delay_s, gets_another
from runbus.jobs._state import JobState

JOB = JobSpec(
    experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), cwd="/",
    env={}, folder="/f", run_folder="/r", retry=RetryPolicy(retries=3),
)  # fmt: skip


def failed(**seen: object) -> End:
    return End(JobState.FAILED, "", Observation(phase="ended", **seen))  # type: ignore[arg-type]


ENDS = {
    "exit": failed(exit_code=7),
    "signal": failed(signal=11),
    "oom": failed(signal=9, reason="out of memory"),
    "timeout": End(JobState.TIMEOUT, "", Observation(phase="ended", signal=15)),
    "lost": End(JobState.LOST, "", Observation(phase="gone")),
    "preempted": End(JobState.PREEMPTED, "", Observation(phase="preempted")),
    "start": End(JobState.FAILED, "no such machine", None),
}
FINAL = [End(state, "", None) for state in (JobState.SUCCEEDED, JobState.CANCELLED)]


@pytest.mark.parametrize("cause", ENDS)
def test_every_cause_is_told_apart_and_retried_alone(cause: RetryCause) -> None:
    asked = replace(JOB, retry=RetryPolicy(retries=3, on=(cause,)))

    assert cause_of(ENDS[cause]) == cause
    assert [name for name, end in ENDS.items() if gets_another(asked, end)] == [cause]


@pytest.mark.parametrize("cause", ENDS)
def test_without_a_word_every_cause_is_retried(cause: str) -> None:
    assert gets_another(JOB, ENDS[cause])


@pytest.mark.parametrize("end", FINAL)
def test_success_and_cancel_are_never_retried(end: End) -> None:
    assert not gets_another(JOB, end)


@pytest.mark.parametrize("cause", ENDS)
def test_a_job_that_was_asked_to_end_is_not_retried_however_it_ended(cause: str) -> None:
    assert not gets_another(JOB, ENDS[cause], is_asked_to_end=True)


def test_exit_codes_are_retried_by_number() -> None:
    asked = replace(JOB, retry=RetryPolicy(retries=3, on=(75, "lost")))

    assert gets_another(asked, failed(exit_code=75))
    assert not gets_another(asked, failed(exit_code=7))
    assert not gets_another(asked, failed(signal=11))
    assert not gets_another(asked, failed(exit_code=75, reason="out of memory"))
    assert gets_another(asked, ENDS["lost"])


def test_attempts_end_when_the_retries_are_used_up() -> None:
    attempts = [gets_another(replace(JOB, attempt=number), ENDS["exit"]) for number in range(1, 6)]

    assert attempts == [True, True, True, False, False]


def test_attempts_that_a_backend_begins_by_itself_are_no_retries() -> None:
    third = replace(JOB, attempt=3, retry=RetryPolicy(retries=1, backoff_s=0.5))

    assert [gets_another(third, ENDS["exit"], requeued=number) for number in (0, 1, 2)] == [
        False, False, True,
    ]  # fmt: skip
    assert [delay_s(third, requeued=number) for number in (0, 1, 2)] == [2.0, 1.0, 0.5]


def test_waits_double_up_to_five_minutes() -> None:
    asked = replace(JOB, retry=RetryPolicy(backoff_s=0.5))
    waits = [delay_s(replace(asked, attempt=number)) for number in (1, 2, 3, 900)]

    assert waits == [0.5, 1.0, 2.0, BACKOFF_MAX_S]
