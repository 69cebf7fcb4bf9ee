"""What the fields of a job may be, in Python as in a batch file."""

from __future__ import annotations

from typing import Any

import pytest

from runbus import Command, Job
from runbus.errors import UsageError
from runbus.experiment import sweep

TRUE = Command(("true",))


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", "", "name is '': expected str of length >= 1"),
        ("timeout_s", -1, "timeout_s is -1: expected int >= 1"),
        ("timeout_s", "1", "timeout_s is '1': expected int | null, got str"),
        ("queue_timeout_s", 1.5, "queue_timeout_s is 1.5: expected int | null, got float"),
        ("idle_timeout_s", 10**22, f"idle_timeout_s is {10**22}: expected int <= 3155760000"),
        ("retries", -1, "retries is -1: expected int >= 0"),
        ("retry_on", ("exit", 300), "retry_on has 300: expected int <= 255"),
        ("backoff_s", float("nan"), "backoff_s is nan: expected float >= 0"),
        ("gpus", -1, "gpus is -1: expected int >= 0"),
        ("cpus", "zz", "cpus is 'zz': expected str matching"),
        ("nice", 99, "nice is 99: expected int <= 19"),
    ],
)
def test_a_job_is_refused_in_python_as_in_a_batch_file(
    field: str, value: object, problem: str
) -> None:
    fields: dict[str, Any] = {"name": "a", "task": TRUE, field: value}

    with pytest.raises(UsageError) as caught:
        Job(**fields)

    assert str(caught.value).startswith(problem)


def test_what_a_batch_file_takes_is_taken_in_python() -> None:
    job = Job(
        name="n" * 200, task=TRUE, timeout_s=1, queue_timeout_s=None, retries=1000, gpus=8,
        cpus="0-3,6", nice=19, backoff_s=0, retry_on=("exit", 255),
    )  # fmt: skip

    assert job.cpus == "0-3,6"


def test_a_sweep_over_long_values_gives_names_that_jobs_may_have() -> None:
    names = [job.name for job in sweep(TRUE, [f"path={'a' * 200}1,{'a' * 200}2"])]

    assert len(set(names)) == 2
    assert max(map(len, names)) <= 200
