"""What goes into an experiment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from runbus._secrets import Secret
from runbus.abc import RETRY_CAUSES, RetryCause
from runbus.config import (
    SecretField,
    Task,
    Value,
    check_task,
    expand_sweeps,
    job_field_problem,
    parse_value,
)
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config import Batch

__all__ = ["Job", "jobs_of_batch", "sweep"]

_LIKE_IN_A_BATCH = {
    "name": "name",
    "retries": "retries",
    "backoff_s": "backoff",
    "gpus": "gpus",
    "cpus": "cpus",
    "nice": "nice",
    "timeout_s": "timeout",
    "queue_timeout_s": "queue_timeout",
    "idle_timeout_s": "idle_timeout",
}
"""Fields of a job that may be what the field of this name may be in a batch file."""

_LONGEST_NAME = 200


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to run within an experiment.

    Attributes:
        name: What it is called; unique within the experiment.
        task: What to run.
        config: What the run records as its config.
        env: What is added to the job's environment; what must stay secret as a `Secret`.
        cwd: The folder it starts in; the current one if None.
        executor: The executor it runs on; the experiment's if None.
        retries: How many more attempts it gets if it fails.
        retry_on: After what it gets one: causes, and exit codes as numbers.
        backoff_s: Seconds before the second attempt; doubled for each one after.
        gpus: How many GPUs it needs for itself.
        cpus: The processors it may run on, as `taskset -c` takes them; all if empty.
        nice: How much it yields to others, from 0 to 19.
        timeout_s: Seconds that it may run before it is ended, as TIMEOUT; None for no limit.
        queue_timeout_s: Seconds from its submission to its start; None for no limit.
        idle_timeout_s: Seconds that it may run without a byte of output; None for no limit.

    Raises:
        TaskInvalid: The task is none.
        UsageError: A field is not what it may be in a batch file, such as a time-out below 1 or a
            `retry_on` that names what is no cause.
    """

    name: str
    task: Task
    config: dict[str, Value] = {}
    env: dict[str, str | Secret] = {}
    cwd: str | None = None
    executor: str | None = None
    retries: int = 0
    retry_on: tuple[RetryCause | int, ...] = RETRY_CAUSES
    backoff_s: float = 1.0
    gpus: int = 0
    cpus: str = ""
    nice: int = 0
    timeout_s: int | None = None
    queue_timeout_s: int | None = None
    idle_timeout_s: int | None = None

    def __post_init__(self) -> None:
        check_task(self.task)
        for field, same in _LIKE_IN_A_BATCH.items():
            value = getattr(self, field)
            if problem := job_field_problem(same, value):
                raise UsageError(f"{field} is {value!r}: {problem}")
        env: dict[str, Any] = self.env
        for name, value in env.items():
            if not isinstance(value, (str, Secret)):
                kind = type(value).__name__
                raise UsageError(f"env has {name}, which is no text or Secret, but of type {kind}")
        causes: Any = self.retry_on
        if isinstance(causes, str):
            raise UsageError(f"retry_on is the text {causes!r} instead of a tuple of causes")
        for cause in causes:
            if not isinstance(cause, int) and cause not in RETRY_CAUSES:
                known = f"neither an exit code nor {', '.join(RETRY_CAUSES)}"
                raise UsageError(f"retry_on has {cause!r}, which is {known}")
            if problem := job_field_problem("retry_on", [cause]):
                raise UsageError(f"retry_on has {cause!r}: {problem}")


def sweep(task: Task, sweeps: Sequence[str] = (), *, name: str | None = None) -> list[Job]:
    """Return a job for each point of a grid; one job if nothing is swept.

    The values of a point reach the task as `--name=value` and the run as its config.

    Args:
        task: What to run.
        sweeps: Texts such as `lr=0.01,0.1`; the last one varies fastest.
        name: What the jobs' names begin with; the task's own title if None.

    Raises:
        SweepInvalid: A sweep cannot be read, or a name is swept twice.
        TaskInvalid: The task is none.
    """
    check_task(task)
    base = name or task.title
    return [
        Job(
            name=_name_of_point(base, index, point),
            task=task.with_values(dict(point)),
            config={key: parse_value(value) for key, value in point.items()},
        )
        for index, point in enumerate(expand_sweeps(sweeps), start=1)
    ]


def _name_of_point(base: str, index: int, point: Mapping[str, str]) -> str:
    """Return the name of a job of a sweep; the number of the point keeps apart what is cut off."""
    name = "-".join([base, *(f"{key}={value}" for key, value in point.items())])
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 10]}-{index}"


def jobs_of_batch(batch: Batch, folder: str) -> list[Job]:
    """Return the jobs of a batch file.

    Args:
        batch: The batch.
        folder: The folder of the file: paths in it are relative to that.
    """
    return [
        Job(
            name=job.name,
            task=job.task(folder),
            config=job.config,
            env={
                name: Secret(value.secret).relative_to(folder)
                if isinstance(value, SecretField)
                else value
                for name, value in job.env.items()
            },
            cwd=os.path.join(folder, job.cwd or ""),
            executor=job.executor or batch.executor_name,
            retries=job.retries,
            retry_on=RETRY_CAUSES if job.retry_on is None else tuple(job.retry_on),
            backoff_s=job.backoff,
            gpus=job.gpus,
            cpus=job.cpus,
            nice=job.nice,
            timeout_s=job.timeout or fields.timeout,
            queue_timeout_s=job.queue_timeout or fields.queue_timeout,
            idle_timeout_s=job.idle_timeout or fields.idle_timeout,
        )
        for job in batch.jobs
        for fields in [batch.fields_of(job)]
    ]
