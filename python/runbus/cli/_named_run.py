"""The run that somebody means, also where they name more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus._ids import short_id
from runbus.errors import (
    AmbiguousId,
    ExperimentNotFound,
    JobNotFound,
    RunNotFound,
    near_matches,
)
from runbus.jobs import Asked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog import RunRecord

__all__ = ["named_batch", "named_run", "named_runs", "run_of_job"]


def named_run(text: str) -> RunRecord:
    """Return the run that a word names: as `find_run` does, or one of a batch or a project.

    Of several it is the first that failed, else the first that was cancelled, else the newest;
    which it is goes to standard error.
    For commands that only read: what changes something takes no guess.

    Raises:
        RunNotFound: There is nothing of that name.
        AmbiguousId: It is a part of several ids.
    """
    found = named_runs([text])
    if len(found) == 1:
        return found[0]
    run, which = _first_to_look_at(found)
    told = f"{text} has {len(found)} runs: this is {run.name} ({short_id(run.id)}), {which}"
    click.echo(told, err=True)
    return run


def named_runs(texts: Sequence[str]) -> list[RunRecord]:
    """Return the runs that words name, each once: a batch or a project stands for all its runs.

    Raises:
        RunNotFound: There is nothing of that name.
        AmbiguousId: It is a part of several ids.
    """
    from runbus.catalog import find_run

    found: dict[str, RunRecord] = {}
    for text in texts:
        try:
            some = [find_run(text)]
        except AmbiguousId as error:
            if not error.is_batch or not (some := _runs_of(text)):
                raise
        except RunNotFound as error:
            if not (some := _runs_of(text)):
                raise RunNotFound(text, error.similar or _near(text), error.are_any) from None
        found |= {run.id: run for run in some}
    return list(found.values())


def run_of_job(batch: str, job: str) -> RunRecord:
    """Return the run of a job of a batch.

    Raises:
        ExperimentNotFound: There is no such batch.
        AmbiguousId: It is a part of several ids.
        JobNotFound: It has no such job; names those that read almost the same.
        RunNotFound: The run of that job was removed.
    """
    from runbus.catalog import find_experiment, find_run

    runs = {one.name: one.run_id for one in Asked.read(find_experiment(batch)).jobs}
    if job not in runs:
        raise JobNotFound(job, near_matches(job, runs), True)
    return find_run(runs[job])


def named_batch(text: str) -> str | None:
    """Return the folder of the batch of several jobs that a word names; None if it names a run."""
    from runbus.catalog import find_experiment, find_run

    try:
        find_run(text)
    except AmbiguousId as error:
        if not error.is_batch:
            return None
    except RunNotFound:
        pass
    else:
        return None
    try:
        folder = find_experiment(text)
    except (ExperimentNotFound, AmbiguousId):
        return None
    return folder if len(Asked.read(folder).jobs) > 1 else None


def _first_to_look_at(found: Sequence[RunRecord]) -> tuple[RunRecord, str]:
    """Return the run that explains most of what went wrong, and in words which one it is."""
    states = [run.state for run in found]
    for run, state in zip(found, states, strict=True):
        if state.is_terminal and state not in {"SUCCEEDED", "CANCELLED", "SKIPPED"}:
            return run, "the first that failed"
    for run, state in zip(found, states, strict=True):
        if state == "CANCELLED":
            return run, "the first that was cancelled; none failed"
    return found[-1], "the newest"


def _runs_of(text: str) -> list[RunRecord]:
    """Return the runs of a batch, or of a project: those of its newest batch, if it has one."""
    from runbus.catalog import find_experiment, runs

    try:
        folder = find_experiment(text)
    except (ExperimentNotFound, AmbiguousId):
        return runs(text)
    return [run for run in runs() if run.experiment_folder == folder]


def _near(text: str) -> tuple[str, ...]:
    from runbus.catalog import runs

    return near_matches(text, {run.project for run in runs()})
