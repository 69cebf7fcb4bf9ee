"""The run that somebody means, also where they name more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus._ids import short_id
from runbus.errors import AmbiguousId, ExperimentNotFound, RunNotFound, near_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog import RunRecord

__all__ = ["named_run"]


def named_run(text: str) -> RunRecord:
    """Return the run that a word names: as `find_run` does, or one of a batch or a project.

    Of several it is the first that failed, else the first that was cancelled, else the newest;
    which it is goes to standard error.
    For commands that only read: what changes something takes no guess.

    Raises:
        RunNotFound: There is nothing of that name.
        AmbiguousId: It is a part of several ids.
    """
    from runbus.catalog import find_run

    try:
        return find_run(text)
    except AmbiguousId as error:
        if not error.is_batch or not (found := _runs_of(text)):
            raise
    except RunNotFound as error:
        if not (found := _runs_of(text)):
            raise RunNotFound(text, error.similar or _near(text), error.are_any) from None
    run, which = _first_to_look_at(found)
    if len(found) > 1:
        told = f"{text} has {len(found)} runs: this is {run.name} ({short_id(run.id)}), {which}"
        click.echo(told, err=True)
    return run


def _first_to_look_at(found: Sequence[RunRecord]) -> tuple[RunRecord, str]:
    """Return the run that explains most of what went wrong, and in words which one it is."""
    states = [run.state for run in found]
    for run, state in zip(found, states, strict=True):
        if state.is_terminal and state not in {"SUCCEEDED", "CANCELLED"}:
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
