"""`runbus run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus.cli._options import complete_executors, plugin_option, wanted_plugins

if TYPE_CHECKING:
    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("run")
@click.argument("script")
@click.argument("args", nargs=-1, metavar="[-- ARGS]...", type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="What to call it [default: the script's name].")
@click.option(
    "--project", metavar="NAME", help="What to gather the runs under [default: the script's name]."
)
@click.option(
    "--executor",
    metavar="NAME",
    shell_complete=complete_executors,
    help="Where it runs: an executor's name, or @FILE[:SECTION] [default: local].",
)
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=VALUE,…",
    help="Run once for each value, as --NAME=VALUE to the script and in the run's config. "
    "Several span a grid.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    metavar="K",
    help="How many run at a time [default: one a processor].",
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON list of objects.")
def command(
    script: str,
    args: tuple[str, ...],
    name: str | None,
    project: str | None,
    executor: str | None,
    sweeps: tuple[str, ...],
    max_parallel: int | None,
    plugins: tuple[str, ...],
    as_json: bool,
) -> ExitStatus:
    """Run a Python script or function as a job, once or as a sweep.

    SCRIPT is a file, or a function as FILE.py:NAME or MODULE:NAME; a function gets its ARGS as
    NAME=VALUE.

    The script logs with runbus.init() and run.log(); what it prints is kept beside. Ctrl-C ends
    the jobs and keeps everything; a second Ctrl-C kills them.

    Exits with 0 if every job succeeded, 1 if one did not, 130 after Ctrl-C.
    """
    from runbus.abc import Timeouts
    from runbus.cli._configuring import with_meanings
    from runbus.cli._launch import launch
    from runbus.config import (
        Script,
        Task,
        apply_overrides,
        find_executor,
        function_named,
        function_task,
        parse_override,
    )
    from runbus.experiment import AsyncExperiment, sweep

    names = wanted_plugins(plugins)
    task: Task = Script(script, args)
    if ":" in script and not os.path.exists(script):
        function, folder = function_named(script)
        apply_overrides(function, with_meanings(function, map(parse_override, args)))
        task = function_task(function, folder)
    found = {} if executor is None else {executor: find_executor(executor)}
    timeouts = Timeouts() if executor is None else found[executor].timeouts
    experiment = AsyncExperiment(
        project or task.title,
        sweep(task, sweeps, name=name, timeouts=timeouts),
        executor=executor or "local",
        executors=found,
        max_parallel=max_parallel,
        plugins=names,
    )
    return launch(experiment, as_json=as_json)
