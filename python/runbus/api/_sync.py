"""The door for code that is not async: scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from runbus._listed import listed
from runbus.api._executors import executor_from
from runbus.api._notebook import notebook_progress
from runbus.catalog import RunList, RunRecord, open_run
from runbus.config import check_task
from runbus.experiment import AsyncExperiment, sweep
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runbus.abc import Executor, Plugin, Timeouts
    from runbus.config import Config, Partial, Task

__all__ = ["run"]


def run(
    task: Task | Partial[Any],
    *,
    executor: str | Mapping[str, Any] | Executor | Config[Any] = "local",
    project: str | None = None,
    name: str | None = None,
    sweeps: Sequence[str] = (),
    max_parallel: int | None = None,
    plugins: Sequence[Plugin] = (),
    timeouts: Timeouts | None = None,
) -> list[RunRecord]:
    """Run a task, once or for each point of a grid, and wait for the end.

    Works where an event loop runs already, as in a notebook: a thread of its own runs the kernel.
    A notebook shows how many jobs are done meanwhile.

    Args:
        task: What to run; a `Partial` runs as a function.
        executor: Where: an executor; its name, one of the user's own among them, or
            `@file[:section]`; its `Config`; or its data, such as
            `{"type": "ssh", "hosts": ["box"]}`.
        project: What to gather the runs under; the task's title if None.
        name: What the runs' names begin with; the task's title if None.
        sweeps: Texts such as `lr=0.01,0.1`.
        max_parallel: How many run at a time; as many as there are processors if None.
        plugins: What else hooks into the bus meanwhile.
        timeouts: How long each may take; where it says nothing, what the executor's own say.

    Returns:
        The runs, in the order of the grid. A job that failed raises nothing: see `RunRecord.state`.

    Raises:
        UsageError: The task or the sweep cannot be run as it is.
        ConfigInvalid: There is no executor of that name, or a field of it does not fit.
        ExtraMissing: The executor needs a package that is not installed.
        HomeUnusable: The home folder cannot be written.
    """
    plugins = listed(plugins, "plugins", object, "plugins")
    task = check_task(task)
    made, its_own = executor_from(executor)
    times = its_own if timeouts is None else timeouts.or_else(its_own)
    jobs = sweep(task, sweeps, name=name, timeouts=times)
    experiment = AsyncExperiment(
        project or task.title, jobs, executor=made.name, max_parallel=max_parallel
    )

    async def launch() -> None:
        shown = notebook_progress(len(jobs))
        async with Kernel(plugins=[made, *shown, *plugins]) as kernel:
            await experiment.run(kernel.bus)

    with start_blocking_portal("asyncio") as portal:
        portal.call(launch)
    return RunList(open_run(spec.run_id) for spec in experiment.specs)
