"""The door for code that is not async: scripts and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.abc import EarlyStop
from runbus.api._executors import executor_from
from runbus.api._lead import attach
from runbus.api._notebook import notebook_progress
from runbus.api._plugins_given import GivenPlugins
from runbus.api._portal import portal
from runbus.catalog import RunList, RunRecord, open_run
from runbus.config import check_task
from runbus.experiment import ExperimentDraft, started_before, sweep
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from runbus.abc import Executor, Plugin, Timeouts
    from runbus.config import Config, Partial, Space, Task
    from runbus.plugins import Extension, TaskPlugin

__all__ = ["run_sweep"]


def run_sweep(
    task: Task | Partial[Any],
    *,
    executor: str | Mapping[str, Any] | Executor | Config[Any] = "local",
    project: str | None = None,
    name: str | None = None,
    sweeps: Sequence[str] | Mapping[str, Iterable[Any]] | Space = (),
    stop: EarlyStop | None = None,
    again: bool = False,
    max_parallel: int | None = None,
    plugins: Sequence[Plugin | TaskPlugin | Extension | str | Mapping[str, Any] | Config[Any]] = (),
    timeouts: Timeouts | None = None,
) -> list[RunRecord]:
    """Run a task, once or for each point of a grid, and wait for the end.

    Works where an event loop runs already, as in a notebook: the portal's thread runs the kernel.
    A notebook shows how many jobs are done meanwhile.

    Args:
        task: What to run; a `Partial` runs as a function.
        executor: Where: an executor; its name, one of the user's own among them, or
            `@file[:section]`; its `Config`; or its data, such as
            `{"type": "ssh", "hosts": ["box"]}`.
        project: What to gather the runs under; the task's title if None.
        name: What the runs' names begin with; the task's title if None.
        sweeps: The values by names, or texts such as `lr=0.01,0.1`, or a space such as
            `runbus.config.Random`. Only the points run that have not: one is known by its values
            and its code.
        stop: When a run is to end early, by what it logs.
        again: Whether all points run in any case.
        max_parallel: How many run at a time; as many as there are processors if None, and besides
            these all that run elsewhere.
        plugins: What else hooks into the bus meanwhile: plugins, names of those that can be found,
            and configurations or data of hook values. Hooks for worker processes wrap the function
            in its process; a `TaskPlugin` changes the jobs.
        timeouts: How long each may take; where it says nothing, what the executor's own say.

    Returns:
        The runs, in the order of the points. A job that failed raises nothing: see
        `RunRecord.state`.

    Raises:
        UsageError: The task or the sweep cannot be run as it is.
        SweepChanged: The project has a sweep of the same name with another space.
        ConfigInvalid: There is no executor of that name, or a field of it does not fit.
        ExtraMissing: The executor needs a package that is not installed.
        HomeUnusable: The home folder cannot be written.
        PluginNotPortable: A plugin has hooks for worker processes, which could not make it.
    """
    given = GivenPlugins(plugins)
    task = check_task(task)
    made, its_own = executor_from(executor)
    times = its_own if timeouts is None else timeouts.or_else(its_own)
    points = sweep(task, sweeps, name=name, timeouts=times, stop=stop or EarlyStop())
    jobs = [given.changed(job) for job in points]
    project = project or task.title
    done: dict[str, str] = {}
    missing = jobs
    if not again:
        started = started_before(project, jobs)
        if started.unfinished:
            portal().call(attach, started.unfinished)
            started = started_before(project, jobs)
        done, missing = started.done, started.missing
    found = {name: [run_id] for name, run_id in done.items()}
    if missing:
        experiment = ExperimentDraft(
            project,
            missing,
            executor=made.name,
            max_parallel=max_parallel,
            plugins=given.travelling,
            changed_by=given.changed_by,
        )

        async def launch() -> None:
            shown = notebook_progress(len(missing))
            async with Kernel(plugins=[made, *shown, *given.hooking]) as kernel:
                await experiment.run(kernel.bus)

        portal().call(launch)
        for spec in experiment.specs:
            name = spec.name if spec.copy is None else spec.copy.of
            found.setdefault(name, []).append(spec.run_id)
    return RunList(open_run(run_id) for job in jobs for run_id in found[job.name])
