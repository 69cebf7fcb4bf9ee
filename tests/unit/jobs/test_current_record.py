"""Where a job stands by its own record, with nobody there to tell the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.events import RetryPolicy
from runbus.jobs import JobRecord, JobState, current_record

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
        f'{{"status":{status},"uptime":3.5,"user":"0m1s","sys":"0m0.5s","reason":""}}'
    )


def test_without_a_record_of_its_end_the_journal_counts(folder: Path) -> None:
    assert current_record(str(folder), RUNNING) is RUNNING


def test_the_exit_record_tells_all_of_the_end(folder: Path) -> None:
    leave_exit(folder, 3)

    ended = current_record(str(folder), RUNNING)

    assert (ended.state, ended.exit_code, ended.reason) == (JobState.FAILED, 3, "exit code 3")
    assert (ended.duration_s, ended.cpu_s) == (2.5, 1.5)
    assert ended.ended_ns > 0


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
