"""`runbus run`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from runbus.cli._options import (
    complete_executors,
    json_option,
    plugin_option,
    plugin_settings,
    system_option,
    wanted_plugins,
)
from runbus.cli._sweeping_options import sweep_options

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from runbus.abc import ArtifactLimits
    from runbus.cli._exit import ExitStatus
    from runbus.experiment import Job

__all__ = ["command"]


class _Command(click.Command):
    """Leaves options that it does not know to a function; those of a script are behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes = {
            opt for one in self.params if not getattr(one, "is_flag", False) for opt in one.opts
        }
        before = [one for one, last in zip(args, ["", *args], strict=False) if last not in takes]
        first = next((one for one in before if not one.startswith("-")), "")
        ctx.ignore_unknown_options = _is_function(first)
        return super().parse_args(ctx, args)


class _Size(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes that a text such as `500MiB` means."""
        from runbus.config import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(f"{value!r} is not a size: {error}", param, ctx)


@click.command("run", cls=_Command)
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
@sweep_options
@click.option(
    "--artifact",
    "artifacts",
    multiple=True,
    metavar="PATTERN",
    help="Keep copies of files in the folder where it runs, such as '*.ckpt' or 'out/**/*.json'; "
    "may be given several times.",
)
@click.option(
    "--artifact-files",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many files it keeps of an attempt [default: 10000].",
)
@click.option(
    "--artifact-size",
    type=_Size(),
    metavar="SIZE",
    help="How much they have together, such as 500MiB [default: 100GiB].",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    metavar="K",
    help="How many run at a time [default: one a processor; elsewhere, all].",
)
@system_option
@plugin_option
@json_option()
def command(
    script: str,
    args: tuple[str, ...],
    name: str | None,
    project: str | None,
    executor: str | None,
    sweeps: tuple[str, ...],
    is_zip: bool,
    points: int | None,
    seed: int,
    stop_when: str,
    patience: str,
    again: bool,
    best: str | None,
    artifacts: tuple[str, ...],
    artifact_files: int | None,
    artifact_size: int | None,
    max_parallel: int | None,
    plugins: tuple[str, ...],
    json_out: TextIO | None,
) -> ExitStatus:
    """Run a Python script, a function or a program as a job, once or as a sweep.

    SCRIPT is a file, a program, or a function as FILE.py:NAME or MODULE:NAME; a function takes the
    words and options that its own command line would: NAME=VALUE, run.name=…, --yaml FILE,
    --dryrun. Other programs are run as they are: runbus run -- sh -c 'make && ./train'.

    A sweep that is started again runs only the points that have not run: a point is known by its
    values and code. One with a --name keeps to its space.

    The script logs with runbus.init() and run.log(); what it prints is kept beside. Ctrl-C ends
    the jobs and keeps everything; a second Ctrl-C kills them.

    Exits with 0 if every job succeeded, 1 if one did not, 130 after Ctrl-C.
    """
    from runbus.abc import EarlyStop
    from runbus.cli._launch import launch
    from runbus.cli._sweeping import run_missing
    from runbus.config import find_executor, script_or_program, space_of_words
    from runbus.experiment import ExperimentDraft, sweep

    names = wanted_plugins(plugins)
    settings = plugin_settings(plugins)
    space = space_of_words(sweeps, is_zip=is_zip, points=points, seed=seed)
    each: dict[str, Any] = {
        "stop": EarlyStop(stop_when=stop_when, patience=patience),
        "artifacts": artifacts,
        "artifact_limits": _limits(artifacts, artifact_files, artifact_size),
    }
    if _is_function(script):
        from runbus.cli._entrypoint import run_as_job

        told = {"run.name": name, "run.project": project}
        return run_as_job(
            script,
            args,
            executor=executor,
            plugins=plugins,
            launch=[f"{key}={json.dumps(value)}" for key, value in told.items() if value],
            space=space,
            each=each,
            again=again,
            goal=best,
            max_parallel=max_parallel,
            json_out=json_out,
        )
    is_elsewhere = executor not in (None, "local")
    task = script_or_program(script, args, is_elsewhere=is_elsewhere)
    found = {} if executor is None else {executor: find_executor(executor)}
    project = project or task.title

    def run_jobs(jobs: list[Job]) -> ExitStatus:
        experiment = ExperimentDraft(
            project,
            jobs,
            executor=executor or "local",
            executors=found,
            max_parallel=max_parallel,
            plugins=names,
            settings=settings,
        )
        return launch(experiment, json_out=json_out)

    jobs = sweep(task, space or (), name=name, **each)
    return run_missing(project, jobs, run_jobs, again=again, goal=best, json_out=json_out)


def _limits(patterns: Sequence[str], files: int | None, size_bytes: int | None) -> ArtifactLimits:
    """Return how much of the artifacts is kept, which only means something where there are any."""
    from runbus.abc import ArtifactLimits

    given = {"files": files, "size_bytes": size_bytes}
    said = {name: value for name, value in given.items() if value is not None}
    if said and not patterns:
        option = "--artifact-files" if "files" in said else "--artifact-size"
        raise click.UsageError(f"{option} limits what --artifact keeps, and there is no --artifact")
    return ArtifactLimits(**said)


def _is_function(text: str) -> bool:
    """Whether a word is a function, `FILE.py:NAME` or `MODULE:NAME`, and no script."""
    return ":" in text and not text.startswith("-") and not os.path.exists(text)
