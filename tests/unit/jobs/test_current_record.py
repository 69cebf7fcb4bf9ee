"""Where a job stands by its own record, with nobody there to tell the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runbus._clock import SYSTEM_CLOCK
from runbus.abc import JobSpec
from runbus.events import RetryPolicy
from runbus.jobs import Facts, JobRecord, JobState, current_record, fold, unrecorded_end

RUNNING = JobRecord(
    name="j", run_id="e-1", executor="local", folder="jobs/1-j/1", state=JobState.RUNNING,
    attempt=1, intended_ns=1, handle="7", host="h", started_ns=5,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / RUNNING.folder).mkdir(parents=True)
    return tmp_path


def leave_exit(folder: Path, status: int) -> None:
    (folder / RUNNING.folder / "pid.json").write_text(
        '{"pid":7,"start":1,"boot":"b","host":"h","uptime":1.0}'
    )
    (folder / RUNNING.folder / "exit.json").write_text(
        f'{{"status":{status},"uptime":3.5,"user":"0m1s","sys":"0m0.5s","reason":"","max_rss":4096}}'
    )


def test_without_a_record_of_its_end_the_journal_counts(folder: Path) -> None:
    assert current_record(str(folder), RUNNING) is RUNNING


def test_the_exit_record_tells_all_of_the_end(folder: Path) -> None:
    leave_exit(folder, 3)

    ended = current_record(str(folder), RUNNING)

    assert (ended.state, ended.exit_code, ended.reason) == (JobState.FAILED, 3, "exit code 3")
    assert (ended.duration_s, ended.cpu_s) == (2.5, 1.5)
    assert ended.ended_ns > 0


JOB = JobSpec(
    experiment_id="e", name="j", run_id="e-1", executor="local", argv=("true",), cwd="/", env={},
    folder="jobs/1-j/1", run_folder="runs/e-1",
)  # fmt: skip


@pytest.mark.parametrize("status", [0, 3, 143])
@pytest.mark.parametrize(
    "known",
    [
        {},
        {"cancelling": True},
        {"overdue": "it wrote nothing for 5 s, its idle timeout"},
        {"is_suspended": True, "native_state": "SUSPENDED", "evidence": "squeue"},
        {"state": JobState.QUEUED, "host": "", "started_ns": 0},
        {"state": JobState.LOST},
    ],
)
def test_it_is_what_the_next_leader_will_record(
    known: dict[str, Any], status: int, folder: Path
) -> None:
    job = replace(RUNNING, **known)
    leave_exit(folder, status)
    facts, end = Facts(SYSTEM_CLOCK), unrecorded_end(str(folder), job)
    assert end is not None
    assert end.seen is not None
    led: JobRecord | None = job
    if not job.started_ns:
        led = fold(led, facts.started(JOB, end.seen))
    led = fold(led, facts.ended(JOB, end))

    found = current_record(str(folder), job)

    assert found == replace(led, submitted_ns=found.submitted_ns)  # type: ignore[type-var]


def test_a_job_that_was_ended_for_a_time_out_says_which(folder: Path) -> None:
    leave_exit(folder, 143)
    late = "it wrote nothing for 5 s, its idle timeout"

    found = current_record(str(folder), replace(RUNNING, overdue=late))

    assert (found.state, found.reason) == (JobState.TIMEOUT, late)


def test_a_job_that_was_asked_to_end_says_so_in_words(folder: Path) -> None:
    leave_exit(folder, 3)

    assert current_record(str(folder), replace(RUNNING, cancelling=True)).reason == "cancelled"


def test_a_job_that_gets_another_attempt_has_no_handle_and_says_why(folder: Path) -> None:
    leave_exit(folder, 3)
    job = replace(RUNNING, retry=RetryPolicy(retries=1))

    found = current_record(str(folder), job)
    third = replace(job, attempt=3, requeued=1)

    assert (found.handle, found.reason) == ("", "exit code 3")
    assert current_record(str(folder), third).state is JobState.FAILED
    assert current_record(str(folder), replace(third, requeued=2)).state is JobState.PENDING


def test_a_job_with_attempts_left_is_not_over(folder: Path) -> None:
    leave_exit(folder, 3)
    job = replace(RUNNING, retry=RetryPolicy(retries=1))

    assert current_record(str(folder), job).state is JobState.PENDING
    assert current_record(str(folder), replace(job, attempt=2)).state is JobState.FAILED
    assert current_record(str(folder), replace(job, cancelling=True)).state is JobState.CANCELLED
    other = replace(job, retry=RetryPolicy(retries=1, on=("signal", 7)))
    assert current_record(str(folder), other).state is JobState.FAILED


def test_a_lost_job_that_left_a_record_was_not_lost(folder: Path) -> None:
    leave_exit(folder, 0)

    found = current_record(str(folder), replace(RUNNING, state=JobState.LOST))

    assert found.state is JobState.SUCCEEDED


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.CANCELLED, JobState.TIMEOUT])
def test_what_the_journal_tells_of_an_end_stays(folder: Path, state: JobState) -> None:
    leave_exit(folder, 3)
    job = replace(RUNNING, state=state)

    assert current_record(str(folder), job) is job
