"""`runbus rename`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._named_run import named_runs
from runbus.cli._options import complete_runs
from runbus.cli._printer import printable
from runbus.errors import near_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runbus.catalog import RunRecord

__all__ = ["command"]


@click.command("rename")
@click.argument("run", shell_complete=complete_runs)
@click.argument("name", required=False)
@click.option("--metric", "metrics", multiple=True, metavar="OLD=NEW", help="Show a metric so.")
@click.option("--param", "params", multiple=True, metavar="OLD=NEW", help="Show a param so.")
@click.option("--hide", multiple=True, metavar="NAME", help="Do not show this metric or param.")
@click.option("--unhide", multiple=True, metavar="NAME", help="Show it again, by its own name.")
def command(
    run: str,
    name: str | None,
    metrics: tuple[str, ...],
    params: tuple[str, ...],
    hide: tuple[str, ...],
    unhide: tuple[str, ...],
) -> None:
    """Give a run another name, or its metrics and params other names in views.

    Its id stays, and so does the name of its job. Several runs may have one name, which then means
    the newest of them: it says so if others have it. A run is not called "latest" or as an id.

    Metrics and params keep the names under which they were logged, for programs and queries: ls,
    show and compare show them under others, or not at all, and take either name.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest"; for metrics
    and params also a batch or project, which stands for all its runs.
    """
    if metrics or params or hide or unhide:
        if name is not None:
            raise click.UsageError("a run's name and those of metrics and params are given apart")
        _show_as(named_runs([run]), metrics, params, hide, unhide)
    elif name is None:
        raise click.UsageError("say the new name")
    else:
        _rename(run, name)


def _rename(run: str, name: str) -> None:
    from runbus.catalog import find_run, runs

    found = find_run(run)
    try:
        found.rename(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    named = [one.id for one in runs() if one.name == name]
    if others := len(named) - 1:
        has = "another run has" if others == 1 else f"{others:,} other runs have"
        means = find_run(name).id
        click.echo(f"{has} the name {printable(name)!r}, too: it means {means}", err=True)


def _show_as(
    runs: Sequence[RunRecord],
    metrics: Sequence[str],
    params: Sequence[str],
    hide: Sequence[str],
    unhide: Sequence[str],
) -> None:
    """Change what views of some runs show, of each what it has."""
    of_metrics = dict.fromkeys(name for run in runs for name in run.metric_names())
    of_params = dict.fromkeys(name for run in runs for name in run.params)
    names: dict[str, str | None] = {}
    for text in metrics:
        names |= [_pair(text, of_metrics, "metric")]
    for text in params:
        names |= [_pair(text, of_params, "param")]
    known = of_metrics | of_params
    names |= [(_known(name, known, "metric or param"), None) for name in hide]
    names |= {_known(name, known, "metric or param"): name for name in unhide}
    for run in runs:
        own = {*run.metric_names(), *run.params}
        for name, shown in names.items():
            if shown in own and shown not in names and shown != name:
                raise click.UsageError(f"{run.id} has logged something as {shown!r} already")
        try:
            run.show_as({name: shown for name, shown in names.items() if name in own})
        except ValueError as error:
            raise click.UsageError(str(error)) from error


def _pair(text: str, known: Iterable[str], kind: str) -> tuple[str, str]:
    # Names of metrics may hold any character: the last sign parts them.
    old, sign, new = text.rpartition("=")
    if not sign or not old or not new:
        raise click.UsageError(f"{text!r} is not of the form OLD=NEW")
    return _known(old, known, kind), new


def _known(name: str, known: Iterable[str], kind: str) -> str:
    if name in known:
        return name
    near = near_matches(name, known)
    hint = f"; did you mean {near[0]!r}" if near else ""
    raise click.UsageError(f"there is no {kind} {name!r}{hint}")
