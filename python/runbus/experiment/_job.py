"""What goes into an experiment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import force_setattr

from runbus._listed import check_mapping, listed
from runbus._secrets import Secret
from runbus.abc import Resources, RetryPolicy, Timeouts
from runbus.config import (
    Function,
    Partial,
    Script,
    SecretField,
    Task,
    check_task,
    expand_sweeps,
    given_by,
    parse_value,
)
from runbus.errors import FieldInvalid, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config import Batch

__all__ = ["Job", "jobs_of_batch", "sweep"]

_LONGEST_NAME = 200

_VALUES: dict[str, type] = {"resources": Resources, "timeouts": Timeouts, "retry": RetryPolicy}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to run within an experiment.

    Attributes:
        name: What it is called; unique within the experiment.
        task: What to run; a `Partial` becomes a `Function`.
        config: What the run records as its config; of a function its values, too.
        env: What is added to the job's environment; what must stay secret as a `Secret`.
        cwd: The folder it starts in; the current one if None.
        executor: The executor it runs on; the experiment's if None.
        resources: Which share of a machine it gets.
        timeouts: How long it may run, wait for its start, and be silent.
        retry: After which ends it gets another attempt.

    Raises:
        TaskInvalid: The task is not one.
        FieldInvalid: The name is empty or too long, or what should be a value is not one.
        UsageError: A variable is neither text nor a `Secret`.
    """

    name: str
    task: Task | Partial[Any]
    config: dict[str, Any] = {}
    env: dict[str, str | Secret] = {}
    cwd: str | None = None
    executor: str | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()

    def __post_init__(self) -> None:
        force_setattr(self, "task", check_task(self.task))
        name: Any = self.name
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            reason = f"expected text of 1 to {_LONGEST_NAME} characters"
            raise FieldInvalid("name", repr(name), reason)
        for field, kind in _VALUES.items():
            value: Any = getattr(self, field)
            if not isinstance(value, kind):
                reason = f"expected {kind.__name__}, got {type(value).__name__}"
                advice = f"write {field}={kind.__name__}(…)"
                raise FieldInvalid(field, repr(value), reason, advice)
        check_mapping(self.env, "env", "names to texts")
        check_mapping(self.config, "config", "names to values")
        given_by(self.task)  # so that what no file can hold is refused here
        if isinstance(self.task, Function):
            force_setattr(self, "config", {**self.task.values, **self.config})
        if isinstance(self.task, Script):
            # What a script says of its surroundings, its job may say in another way.
            force_setattr(self, "env", {**self.task.env, **self.env})
            force_setattr(self, "cwd", self.cwd or self.task.cwd)
        env: dict[str, Any] = self.env
        for variable, text in env.items():
            if not isinstance(text, (str, Secret)):
                got = type(text).__name__
                raise UsageError(f"env[{variable!r}]: expected text or a Secret, got {got}")


def sweep(
    task: Task | Partial[Any],
    sweeps: Sequence[str] = (),
    *,
    name: str | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - it never changes
) -> list[Job]:
    """Return a job for each point of a grid; one job if nothing is swept.

    The values of a point reach the task as `--name=value` and the run as its config.

    Args:
        task: What to run.
        sweeps: Texts such as `lr=0.01,0.1`; the last one varies fastest.
        name: What the jobs' names begin with; the task's own title if None.
        timeouts: How long each may take.

    Raises:
        FieldInvalid: The sweeps are no list of texts.
        SweepInvalid: A sweep cannot be read, or a name is swept twice.
        TaskInvalid: The task is not one.
    """
    sweeps = listed(sweeps, "sweeps")
    task = check_task(task)
    base = name or task.title
    return [
        Job(
            name=_name_of_point(base, index, point),
            task=task.with_values(dict(point)),
            config={key: parse_value(value) for key, value in point.items()},
            timeouts=timeouts,
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
            task=job.what(folder),
            config=job.config,
            env={
                name: Secret(value.secret).relative_to(folder)
                if isinstance(value, SecretField)
                else value
                for name, value in job.env.items()
            },
            cwd=os.path.join(folder, job.cwd or ""),
            executor=job.executor or batch.executor,
            resources=job.resources,
            timeouts=batch.timeouts_of(job),
            retry=job.retry,
        )
        for job in batch.jobs
    ]
