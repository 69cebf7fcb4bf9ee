"""The door for code that is not async: scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from runbus.api._notebook import notebook_progress
from runbus.catalog import RunRecord, open_run
from runbus.errors import UsageError
from runbus.executors import LocalExecutor
from runbus.experiment import AsyncExperiment, sweep
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import Plugin
    from runbus.config import Task

__all__ = ["run"]


def run(
    task: Task,
    *,
    project: str | None = None,
    name: str | None = None,
    sweeps: Sequence[str] = (),
    max_parallel: int | None = None,
    plugins: Sequence[Plugin] = (),
) -> list[RunRecord]:
    """Run a task on this machine, once or for each point of a grid, and wait for the end.

    Works where an event loop runs already, as in a notebook: a thread of its own runs the kernel.
    A notebook shows how many jobs are done meanwhile.

    Args:
        task: What to run.
        project: What to gather the runs under; the task's title if None.
        name: What the runs' names begin with; the task's title if None.
        sweeps: Texts such as `lr=0.01,0.1`.
        max_parallel: How many run at a time; as many as there are processors if None.
        plugins: What else hooks into the bus meanwhile.

    Returns:
        The runs, in the order of the grid. A job that failed raises nothing: see `RunRecord.state`.

    Raises:
        UsageError: The task or the sweep cannot be run as it is.
        HomeUnusable: The home folder cannot be written.
    """
    if isinstance(sweeps, str):
        raise UsageError(f"sweeps must be a list of texts, such as [{sweeps!r}]")
    jobs = sweep(task, sweeps, name=name)
    experiment = AsyncExperiment(project or task.title, jobs, max_parallel=max_parallel)

    async def launch() -> None:
        shown = notebook_progress(len(jobs))
        async with Kernel(plugins=[LocalExecutor(), *shown, *plugins]) as kernel:
            await experiment.run(kernel.bus)

    with start_blocking_portal("asyncio") as portal:
        portal.call(launch)
    return [open_run(spec.run_id) for spec in experiment.specs]
