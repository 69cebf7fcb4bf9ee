"""Options that several commands have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "complete_batches",
    "complete_executors",
    "complete_jobs",
    "complete_metrics",
    "complete_projects",
    "complete_runs",
    "plugin_option",
    "wanted_plugins",
]

F = TypeVar("F", bound="Callable[..., Any]")

_OFFERED = 200
"""So many runs, the newest, are offered to complete a word."""


def plugin_option(function: F) -> F:
    """Give a command that leads jobs the option `--plugin`."""
    option = click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="NAME",
        help="Load this installed plugin; those that runbus.yaml lists are.",
    )
    return option(function)


def wanted_plugins(given: Sequence[str]) -> list[str]:
    """Return the plugins that `runbus.yaml` lists, and those that were given.

    A mistake in the file is a warning: what else needs the file refuses it, and what does not, such
    as work on this machine, goes on without the file's plugins.

    Raises:
        PluginNotFound: There is no plugin of a name.
    """
    from runbus.errors import PluginNotFound, near_matches

    names = list(dict.fromkeys([*_listed_plugins(), *given]))
    if names:
        from importlib.metadata import entry_points

        known = [point.name for point in entry_points(group="runbus.plugins")]
        for name in names:
            if name not in known:
                raise PluginNotFound(name, near_matches(name, known))
    return names


def _listed_plugins() -> list[str]:
    from runbus.config import default_plugins
    from runbus.errors import ConfigInvalid

    try:
        return default_plugins("")
    except ConfigInvalid as error:
        for problem in error.problems:
            click.echo(f"warning: {problem}; the plugins that it lists are not loaded", err=True)
        return []


def complete_executors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the executors that begin so."""
    from runbus.config import ExecutorNames

    del ctx, param
    return [name for name in ExecutorNames().known() if name.startswith(incomplete)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names and ids of runs that begin so, the newest first."""
    from runbus.catalog import runs

    del ctx, param
    newest = reversed(runs(newest=_OFFERED))
    words = dict.fromkeys(word for run in newest for word in (run.name, run.id))
    return [word for word in ("latest", *words) if word.startswith(incomplete)]


def complete_projects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the projects that begin so."""
    from runbus._home import Home

    del ctx, param
    folders = Home().experiment_folders(problems={})
    found = dict.fromkeys(os.path.basename(os.path.dirname(folder)) for folder in folders)
    return [name for name in found if name.startswith(incomplete)]


def complete_batches(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the projects and ids of batches that begin so, the newest batch first."""
    from runbus.catalog import batches

    del ctx, param
    newest = batches()[: -_OFFERED - 1 : -1]
    words = dict.fromkeys(word for one in newest for word in (one.project, one.id))
    return [word for word in ("latest", *words) if word.startswith(incomplete)]


def complete_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return what begins so of the names of jobs and of what names a batch."""
    words = (
        *complete_batches(ctx, param, incomplete),
        *complete_runs(ctx, param, incomplete),
    )
    return list(dict.fromkeys(words))


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the metrics that begin so, of the run that was named before."""
    from runbus.catalog import find_run

    del param
    run = ctx.params.get("run") or (ctx.params.get("words") or ("latest",))[0]
    return [name for name in find_run(run).metric_names() if name.startswith(incomplete)]
