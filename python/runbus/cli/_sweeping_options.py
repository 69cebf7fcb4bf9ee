"""Options of the commands that run sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["again_option", "best_option", "sweep_options"]

again_option = click.option(
    "--again", is_flag=True, help="Run all points of a sweep, also those that have run already."
)


def _goal(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what names no best before anything runs."""
    del context, parameter
    if value is not None:
        from runbus.catalog import check_goal  # costs what listing commands need not pay

        check_goal(value)
    return value


best_option = click.option(
    "--best",
    metavar="min:METRIC",
    callback=_goal,
    help="Show the best of the runs meanwhile and in lists, and print it at the end: min:METRIC or "
    "max:METRIC.",
)


def sweep_options(command: F) -> F:
    """Add the options that say what is swept."""
    for option in (
        click.option(
            "--sweep",
            "sweeps",
            multiple=True,
            metavar="NAME=VALUE,…",
            help="Run once for each value, as --NAME=VALUE to the script and in the run's config. "
            "Several span a grid. NAME=log_uniform(LOW,HIGH), uniform, int and choice draw values; "
            "@FILE has the points: CSV, YAML, TOML or JSON.",
        ),
        click.option(
            "--zip",
            "is_zip",
            is_flag=True,
            help="Sweep the first values together, then the second ones.",
        ),
        click.option("--points", type=click.IntRange(min=1), metavar="N", help="Draw N points."),
        click.option("--seed", type=int, default=0, metavar="N", help="What they depend on."),
        click.option(
            "--stop-when",
            default="",
            metavar="RULE",
            help="End a run early, as done: 'val/loss > 3 after 500', 'loss is nan'.",
        ),
        click.option(
            "--patience",
            default="",
            metavar="RULE",
            help="End a run early once it gets no better: 'min:val/loss for 500' steps.",
        ),
        again_option,
        best_option,
    )[::-1]:
        command = option(command)
    return command
