"""Sweeps at a shell: what of one is left to run, and the best of it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from runbus.catalog import best, open_run
from runbus.cli import _launch
from runbus.cli._exit import ExitStatus
from runbus.cli._printer import format_number, print_json, printable
from runbus.errors import FieldInvalid
from runbus.experiment import StoredExperiment, started_before

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from runbus.experiment import Job

    Run = Callable[[list[Job]], ExitStatus]

__all__ = ["run_missing"]


def run_missing(
    project: str,
    jobs: Sequence[Job],
    run: Run,
    *,
    again: bool = False,
    detach: bool = False,
    goal: str | None = None,
    json_out: TextIO | None = None,
) -> ExitStatus:
    """Run the jobs that are still to run: the points of sweeps that a project has are left out.

    What of a sweep is on its way in an earlier experiment is followed to its end instead.

    Args:
        project: The project.
        jobs: The jobs.
        run: Runs some of them, and returns how that ended.
        again: Whether all of them are run in any case.
        detach: Whether an earlier experiment is left to a supervisor, and not followed.
        goal: Of what the best is shown meanwhile, and printed at the end: `min:val/loss`; of
            nothing if None.
        json_out: Where the result goes as JSON; printed for a person if None.

    Raises:
        SweepChanged: The project has a sweep of the same name with another space.
    """
    if goal is not None:
        jobs = [
            job if job.point is None else replace(job, point=replace(job.point, goal=goal))
            for job in jobs
        ]
    if again or all(job.point is None for job in jobs):
        return _with_best(run(list(jobs)), project, jobs, goal, json_out=json_out)
    started = started_before(project, jobs)
    if started.unfinished:
        name = os.path.basename(started.unfinished)
        sys.stderr.write(f"{name} has points of the sweep that are not over: it continues\n")
        if detach:
            return _launch.leave(StoredExperiment.open(started.unfinished), json_out=json_out)
        status = _launch.attach(started.unfinished, json_out=json_out)
        return _with_best(status, project, jobs, goal, json_out=json_out)
    if started.done:
        points = sum(job.point is not None for job in jobs)
        told = f"{len(started.done):,} of {points:,} points have run already"
        sys.stderr.write(f"{told}: --again runs them once more\n")
    if started.missing:
        return _with_best(run(started.missing), project, jobs, goal, json_out=json_out)
    if json_out is not None:
        print_json([_described(name, run_id) for name, run_id in started.done.items()], json_out)
    return _with_best(ExitStatus.OK, project, jobs, goal, json_out=json_out)


def _described(name: str, run_id: str) -> dict[str, Any]:
    run = open_run(run_id)
    summaries = run.summaries()
    return {
        "id": run.id,
        "name": name,
        "state": run.state,
        "config": run.config,
        "metrics": {metric: summary._asdict() for metric, summary in summaries.items()},
        "folder": run.folder,
    }


def _with_best(
    status: ExitStatus,
    project: str,
    jobs: Sequence[Job],
    goal: str | None,
    *,
    json_out: TextIO | None,
) -> ExitStatus:
    """Print which of the points is the best, those of earlier experiments among them."""
    if goal is None:
        return status
    done = started_before(project, jobs).done
    try:
        found = best([open_run(run_id) for run_id in done.values()], goal)
    except FieldInvalid as error:
        sys.stderr.write(printable(f"there is no best run: {error}; {error.hint}") + "\n")
        return status
    if found is None:
        sys.stderr.write("there is no best run: none of them has a number to compare\n")
        return status
    value = format_number(found.value)
    metric = found.run.shown_names.get(found.metric) or found.metric
    told = f"best: {found.run.name} ({found.run.id}), {metric} {value} at step {found.step}"
    click.echo(printable(told), err=json_out is not None)
    return status
