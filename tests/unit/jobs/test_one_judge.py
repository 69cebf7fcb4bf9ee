"""Whether a job is over is judged alike by all: who reads, who leads, cancels or runs it again."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import anyio

from runbus import Command, Job, api
from runbus.attempt import CANCELLED, OUT_OF_MEMORY, TIME_LIMIT
from runbus.catalog import job_statuses
from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobOverdue,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    RetryPolicy,
)
from runbus.experiment import ExperimentDraft, jobs_to_retry
from runbus.jobs import FactReader, JobState, JobStore, intend

ENDS: list[tuple[int, int | None, str]] = [
    (0, None, ""),
    (0, None, CANCELLED),
    (3, None, ""),
    (126, None, "no space for its records"),
    (137, 9, ""),
    (137, 9, OUT_OF_MEMORY),
    (143, 15, TIME_LIMIT),
    (143, 15, CANCELLED),
]
POLICIES = [
    RetryPolicy(),
    RetryPolicy(retries=1, backoff_s=0.0),
    RetryPolicy(retries=1, on=("oom", 3), backoff_s=0.0),
]


@dataclass
class Case:
    """A job that ran without a leader: how it ended, and what its last leader had recorded."""

    end: tuple[int, int | None, str]
    retry: RetryPolicy
    is_cancelled: bool
    overdue: str


CASES = [Case(*each) for each in itertools.product(ENDS, POLICIES, (False, True), ("", "silent"))]


def leave_evidence(folder: str, case: Case) -> None:
    status, number, reason = case.end
    uptime = {"uptime": 1.0}
    pid = {"pid": 2**22 + 1, "start": 1, "boot": "b", "host": os.uname().nodename, **uptime}
    Path(folder, "pid.json").write_text(json.dumps(pid))
    end = {"status": status, "signal": number, "reason": reason, "user": "0m0s", "sys": "0m0s"}
    Path(folder, "exit.json").write_text(json.dumps(end | uptime))


def left_without_a_leader() -> tuple[str, dict[str, Case]]:
    """Make an experiment with a job for each case, all of them over and none reported."""
    cases = {f"j{number}": case for number, case in enumerate(CASES)}
    task = Command(("true",))
    jobs = [Job(name=name, task=task, retry=case.retry) for name, case in cases.items()]
    stored = ExperimentDraft("judged", jobs, max_parallel=8).prepare()
    store = JobStore(stored.folder)
    intend(store, stored.specs)
    for spec in stored.specs:
        case = cases[spec.name]
        about = {"experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id}
        when = {"attempt": 1, "time_ns": 2}
        store.record(JobSubmitted(**about, **when, handle="7"))  # type: ignore[arg-type]
        store.record(JobStarted(**about, **when, host="h", pid=7))  # type: ignore[arg-type]
        if case.overdue:
            store.record(JobOverdue(**about, **when, reason=case.overdue))  # type: ignore[arg-type]
        if case.is_cancelled:
            store.record(JobCancelRequested(**about, **when, reason="x"))  # type: ignore[arg-type]
        leave_evidence(spec.folder, case)
    store.close()
    return stored.folder, cases


def test_what_is_read_without_a_leader_is_what_the_next_leader_records() -> None:
    folder, cases = left_without_a_leader()
    read = {status.record.name: status.record for status in job_statuses(folder)}
    _, jobs = jobs_to_retry(folder)
    run_again = {job.name for job in jobs}
    over = {name for name, record in read.items() if record.state.is_terminal}

    async def lead() -> None:
        for name in over:
            assert not await api.cancel(folder, name, "x", 0.0)  # there is nothing to end
        await api.attach(folder)

    anyio.run(lead)

    told = {
        fact.job: fact
        for fact in FactReader(folder).poll()
        if isinstance(fact, JobEnded | JobRetrying) and fact.attempt == 1
    }
    for name, record in read.items():
        fact = told[name]
        assert isinstance(fact, JobEnded) == record.state.is_terminal == (name in over), cases[name]
        assert (fact.exit_code, fact.signal) == (record.exit_code, record.signal) or (
            record.state is JobState.PENDING
        ), cases[name]
        ended_badly = record.state.is_terminal and record.state is not JobState.SUCCEEDED
        assert (name in run_again) == ended_badly, cases[name]
        if isinstance(fact, JobEnded):
            assert fact.state == record.state, cases[name]
