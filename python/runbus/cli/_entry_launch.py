"""Entrypoints as jobs: `python train.py executor=local run.plugins=[jsonl] lr=0.1`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from runbus.abc import Executor, Timeouts
from runbus.api import GivenPlugins
from runbus.cli import _launch
from runbus.cli._configuring import Configured, made_by, with_meanings
from runbus.cli._factories import factories_for, factories_making
from runbus.cli._options import plugin_settings, wanted_plugins
from runbus.cli._sweeping import run_missing
from runbus.config import (
    Config,
    Function,
    Partial,
    Points,
    Word,
    apply_overrides,
    executor_config,
    executor_entry,
    find_executor,
    function_task,
    module_of,
    read_words,
    split_times,
    target_of,
)
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft, Job, as_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from runbus.cli._exit import ExitStatus
    from runbus.config import Override, Space

__all__ = ["Launch", "launch_asked", "launch_on"]


class Launch(NamedTuple):
    """How jobs run: what the words `run.…` of a command line say.

    Attributes:
        config: All of it, as a configuration.
        timeouts: Those of jobs on its executor.
        plugins: What hooks into the bus meanwhile: plugins, and names of installed ones.
        is_detached: Whether to return once every job is recorded.
        is_dry: Whether to run nothing.
        settings: What plugins are made from, for the record.
    """

    config: Any
    timeouts: Timeouts
    plugins: list[Any]
    is_detached: bool
    is_dry: bool
    settings: dict[str, dict[str, Any]]


def run(
    executor: Executor,
    plugins: list[Any] = [],  # noqa: B006 - nobody changes it
    name: str = "",
    project: str = "",
    detach: bool = False,
    dryrun: bool = False,
) -> Any:
    """Take what the words `run.…` of a command line say; nobody calls it."""


def launch_asked(
    changes: Sequence[Override],
    flags: frozenset[str],
    *,
    executor: Any = None,
    plugins: Sequence[Any] = (),
) -> Launch:
    """Return how the words of a command line say that jobs run.

    Args:
        changes: The words about the run.
        flags: The options.
        executor: Where jobs run if no word says otherwise: a name or a `Config`; here if None.
        plugins: What hooks into the bus if no word says otherwise.

    Raises:
        ConfigInvalid: There is no executor of that name, or a field does not fit.
        PluginNotFound: No plugin of that name is installed.
        UsageError: What is said does not fit together.
    """
    config: Any = Partial(run)
    found = [Timeouts()]
    if isinstance(executor, Config):
        config.executor = executor
    else:
        entry = find_executor(executor or "local")
        config.executor = executor_config(entry.data, executor or "local")
        found = [entry.timeouts]
    config.plugins = list(plugins)
    for change in with_meanings(config, _named(changes, config, found)):
        apply_overrides(config, [change])
    for name in ("detach", "dryrun"):
        if f"--{name}" in flags:
            config[name] = True
    values = config.complete().build().keywords  # makes all, so that every mistake is reported here
    is_detached = values.get("detach", False)
    asked = values["plugins"]
    if asked and is_detached:
        raise UsageError("run.plugins go without --detach: the supervisor loads none")
    if odd := [one for one in asked if not isinstance(one, str) and not hasattr(one, "setup")]:
        raise UsageError(f"run.plugins: {odd[0]!r} is no plugin, and no name of one")
    words = [one for one in asked if isinstance(one, str)]
    names = wanted_plugins(words)
    objects = [one for one in asked if not isinstance(one, str)]
    is_dry = values.get("dryrun", False)
    settings = plugin_settings(words)
    return Launch(config, found[-1], [*names, *objects], is_detached, is_dry, settings)


def _named(changes: Sequence[Override], config: Any, found: list[Timeouts]) -> Iterator[Override]:
    """Yield changes with the executors and plugins in the place of what names them.

    Args:
        changes: The changes.
        config: What they change, each before the next is asked for.
        found: The time-outs that each executor has for its jobs are added.
    """
    for one in changes:
        word = one.value
        if not isinstance(word, Word) or one.operator != "=":
            yield one
        elif one.path == ("executor",) and _is_name(word):
            entry = find_executor(str(word))
            found.append(entry.timeouts)
            yield one._replace(value=executor_config(entry.data, str(word)))
        elif one.path == ("executor",) and isinstance(fields := read_words(word), dict):
            rest, timeouts = split_times(fields, None, "run.executor")
            found.append(timeouts)
            yield one._replace(value=rest)
        elif one.path[0] == "executor" and len(one.path) == 2:
            own = target_of(config.executor) if isinstance(config.executor, Config) else None
            rest, timeouts = split_times({str(one.path[1]): word}, own, "run.executor")
            found.append(timeouts.or_else(found[-1]))
            if rest:
                yield one
        elif one.path[0] == "plugins" and len(one.path) <= 2:
            plugins = made_by(factories_making("setup"), one)
            is_list = isinstance(plugins, list) or len(one.path) == 2
            yield one._replace(value=plugins if is_list else [plugins])
        else:
            yield one


def _is_name(word: Word) -> bool:
    """Whether a word names an executor: it is no factory's name, call or data."""
    begin = word.partition("(")[0]
    return bool(word) and word[0] not in "{[" and begin not in factories_for(Executor)


def launch_on(
    launch: Launch,
    found: Sequence[Configured],
    program: str,
    *,
    space: Space | None = None,
    each: Mapping[str, Any] | None = None,
    again: bool = False,
    goal: str | None = None,
    max_parallel: int | None = None,
    json_out: TextIO | None = None,
) -> ExitStatus:
    """Run configured functions as jobs of one experiment, and say how they ended.

    Args:
        launch: How they run.
        found: The functions.
        program: What they are gathered under if nothing says otherwise.
        space: What was swept; what the functions say of themselves if None.
        each: Further fields of each `Job`.
        again: Whether points of a sweep that have run already run again.
        goal: Of what the best is printed at the end; of nothing if None.
        max_parallel: How many run at a time.
        json_out: Where the result goes as JSON; printed for a person if None.
    """
    values = launch.config
    executor = values.executor
    tasks = [_task_of(one.config) for one in found]
    base = values.name or tasks[0].title
    jobs = [Job(name=base, task=task, **(each or {})) for task in tasks]
    points = [one.point for one in found]
    if points[0]:
        is_whole = space is not None and space.size == len(points)
        data = space.data if space and is_whole else {Points.tag: [dict(one) for one in points]}
        jobs = as_points(jobs, points, data, name=values.name or "")
    given = GivenPlugins(launch.plugins)
    jobs = [given.changed(job) for job in jobs]
    executor_name = str(executor.name)
    entry = executor_entry(executor, executor_name)
    project = values.project or program

    def run(jobs: list[Job]) -> ExitStatus:
        experiment = ExperimentDraft(
            project,
            jobs,
            executor=executor_name,
            executors={executor_name: replace(entry, timeouts=launch.timeouts)},
            max_parallel=max_parallel,
            plugins=given.travelling,
            settings=launch.settings,
            changed_by=given.changed_by,
        )
        if launch.is_detached:
            return _launch.detach(experiment, json_out=json_out)
        return _launch.launch(experiment, plugins=given.hooking, json_out=json_out)

    return run_missing(
        project, jobs, run, again=again, detach=launch.is_detached, goal=goal, json_out=json_out
    )


def _task_of(config: Any) -> Function:
    """Return a function as a task; one of the script itself is imported from its file.

    Raises:
        TaskInvalid: It is of a prompt or notebook.
        UsageError: The name of the script cannot be that of a module.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file and module_of(target_of(config)) == "__main__":
        raise UsageError(f"{file}: a job can only import a script with a name such as train.py")
    return function_task(config)
