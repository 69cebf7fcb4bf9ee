"""One job, run and waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.api._experiment import Experiment
from runbus.api._job_of import task_of
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runbus.abc import Executor, RetryPolicy, Timeouts
    from runbus.catalog import RunRecord
    from runbus.config import Config, Partial, Task

__all__ = ["run"]


def run(
    task: Task | Partial[Any] | Callable[..., Any],
    *,
    executor: str | Mapping[str, Any] | Executor | Config[Any] = "local",
    plugins: Sequence[Any] = (),
    name: str | None = None,
    project: str | None = None,
    retries: int | RetryPolicy = 0,
    timeout: float | str | Timeouts | None = None,
    artifacts: Sequence[str] = (),
    detach: bool = False,
    tail_logs: bool = False,
    check: bool = True,
    **values: Any,
) -> RunRecord:
    """Run a task as a job, and wait for its end.

    Works where an event loop runs already, as in a notebook: a thread of its own runs the job.

    Args:
        task: What to run: a task, a `Partial`, or a function, which gets the further arguments.
        executor: Where: an executor's name, or `@file[:section]`; data such as
            `{"type": "ssh", "hosts": ["box"]}`; a `Config`; or an executor.
        plugins: What else hooks into the bus meanwhile: plugins, names of those that can be found,
            configurations and data of hook values. Hooks for worker processes wrap the function in
            its process; a `TaskPlugin` changes the job.
        name: What it is called; the task's title if None.
        project: What its run is gathered under; the task's title if None.
        retries: How many more attempts it gets, or a `RetryPolicy`.
        timeout: How long an attempt may run: seconds, or a text such as `5m`; or `Timeouts`.
        artifacts: Patterns of files in the folder where it starts, such as `*.ckpt` and
            `out/**/*.json`, of which its run keeps copies whenever an attempt ends.
        detach: Whether to return once the job is recorded, and leave it to the supervisor of the
            home.
        tail_logs: Whether to write what it writes to standard error.
        check: Whether a job that did not succeed raises an error.
        values: The arguments of a function.

    Returns:
        Its run: `result` is what the function returned.

    Raises:
        ExperimentFailed: It did not succeed: the error has the cause, the last lines and the log.
        TaskInvalid: What is to run is not a task, or no other process could import it.
        ConfigInvalid: There is no executor of that name, or a field or a value does not fit.
        UsageError: The task cannot be run as it is, or the executor runs it as several copies.
        ExtraMissing: The executor needs a package that is not installed.
        HomeUnusable: The home folder cannot be written.
        PluginNotPortable: A plugin has hooks for worker processes, which could not make it.
    """
    task = task_of(task, values)
    experiment = Experiment(project or task.title, executor=executor, plugins=plugins)
    job = experiment.add(task, name=name, retries=retries, timeout=timeout, artifacts=artifacts)
    if count := experiment._copies():
        several = f"its executor runs job {job.name!r} as {count:,} copies, a run each"
        raise UsageError(f"{several}: add it to an Experiment")
    experiment.run(detach=detach, tail_logs=tail_logs, check=check)
    (record,) = experiment.runs
    return record
