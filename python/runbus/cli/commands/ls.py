"""`runbus ls`."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, TypeVar

import click

from runbus.cli._at_step import at_option
from runbus.cli._options import complete_projects
from runbus.cli._printer import format_time, print_json
from runbus.cli._run_facts import near_project
from runbus.cli._run_table import print_chosen, print_runs
from runbus.cli._table import print_table, tell_left_out, terminal_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog import Condition, Fields, RunRow, SweepRow

__all__ = ["command"]

T = TypeVar("T")

_LISTED = {"id", "name", "project", "state", "created", "tags", "folder"}

_AROUND = 4
"""So many rows of a terminal are for what stands around the table."""


@click.command("ls")
@click.option(
    "--project",
    shell_complete=complete_projects,
    metavar="NAME",
    help="Only the runs of this project.",
)
@click.option("--tag", multiple=True, help="Only the runs with this tag; with all, if given again.")
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only the runs of which it is true, such as state=FAILED, 'lr>=0.01' or name~net: of a "
    "field, a param, or a metric's last value. Several are joined by and, or given again.",
)
@click.option(
    "--sort",
    metavar="NAME",
    help="Order by a field, param or metric, or what a metric amounts to: loss:min; -NAME for "
    "largest first.",
)
@click.option(
    "--columns",
    metavar="NAME,…",
    help="Show these, in this order: id, name, project, state, created, tags, folder, command, "
    "commit, params and metrics, such as loss:min and loss:min@step.",
)
@at_option
@click.option(
    "-n",
    "newest",
    type=click.IntRange(min=0),
    metavar="COUNT",
    help="Only so many: the first rows of the order; the newest without --sort. 0 for all "
    "[default: as many as the terminal has rows; all where there is no terminal].",
)
@click.option("--all", "is_unfolded", is_flag=True, help="List the points of sweeps, too.")
@click.option("--batches", is_flag=True, help="List batches, not runs.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(
    project: str | None,
    tag: tuple[str, ...],
    where: tuple[str, ...],
    sort: str | None,
    columns: str | None,
    at_step: int | None,
    newest: int | None,
    is_unfolded: bool,
    batches: bool,
    as_json: bool,
) -> None:
    """List runs, the newest last.

    A sweep is one row, with the id of its batch and how many of its points are done. Each point is
    a row with --all, with options that choose, order or compare runs, and in --json.

    A terminal is shown as much as there is room for: the newest runs, short ids, and where it is
    wide also params, those first in which runs differ, and the last values of metrics.

    Of a metric the last value counts. loss:last, loss:min, loss:max and loss:mean are what its
    points amount to, and loss:min@step is the step at which the smallest one was logged first. They
    stand wherever a name does: runbus ls --sort val/loss:min --columns name,val/loss:min@step
    --where "lr<0.1 and val/loss:min<0.5". With --at step=1000 runs are compared at one step.
    """
    from runbus.catalog import Fields, survey

    is_fitted, newest = newest is None and not as_json, newest or None
    if batches:
        if tag or where or sort or columns or at_step is not None or is_unfolded:
            raise click.UsageError("--batches goes with --project, -n and --json only")
        _list_batches(
            project, newest or None, is_fitted=newest is None and not as_json, as_json=as_json
        )
        return
    conditions = _conditions(where)
    fields = Fields(at_step)
    gc.disable()  # all that is made is shown, and looking for garbage takes a third of the time
    is_filtered = bool(tag or conditions)
    # Which runs fulfil them is known once they have been looked at.
    is_of_runs = is_filtered or sort or columns or at_step is not None
    is_folded = not (is_unfolded or is_of_runs or as_json)
    found = survey(project, newest=None if is_filtered or sort else newest, is_folded=is_folded)
    every = found
    if is_of_runs:
        _read_ahead(every, conditions, sort, columns, fields)
        found = _chosen(found, tag, conditions, fields)
    if not is_folded:
        found = _first(found, sort, newest, fields)
    names = None
    if columns is not None:
        names = [name.strip() for name in columns.split(",") if name.strip()]
        for name in names:
            fields.check(found, name)
    if as_json:
        print_json([_described(row, names, fields) for row in found])
    elif not found:
        _tell_nothing(project, tag, where)
    elif names is not None:
        print_chosen(_fitting(found, is_fitted, is_sorted=bool(sort)), names, fields)
    else:
        shown = _fitting(_folded(found, is_folded), is_fitted, is_sorted=bool(sort))
        asked = [one.name for one in conditions] + ([sort.removeprefix("-")] if sort else [])
        hidden = ["project"] if project is not None else []
        print_runs(shown, fields, hidden=hidden, asked=asked)
    fields.save(every)


def _read_ahead(
    rows: Sequence[RunRow],
    conditions: Sequence[Condition],
    sort: str | None,
    columns: str | None,
    fields: Fields,
) -> None:
    """Have the index tell what was measured, if what is asked for is more than a list has."""
    names = {one.name for one in conditions} | {(sort or "id").removeprefix("-")}
    if columns or not names <= _LISTED:
        fields.look_at(rows)


def _folded(rows: Sequence[RunRow], is_folded: bool) -> Sequence[RunRow | SweepRow]:
    """Return each sweep as one row, if it is to be."""
    if not is_folded or all(row.sweep is None for row in rows):
        return rows
    from runbus.catalog import folded

    return folded(rows)


def _conditions(where: Sequence[str]) -> list[Condition]:
    if not where:
        return []  # and nothing is paid for what reads them
    from runbus.catalog import Condition

    return [one for text in where for one in Condition.parse(text)]


def _chosen(
    rows: list[RunRow], tags: Sequence[str], conditions: list[Condition], fields: Fields
) -> list[RunRow]:
    if not tags and not conditions:
        return rows
    from runbus.catalog import selected

    return selected([row for row in rows if set(tags) <= set(row.tags)], conditions, fields)


def _first(
    rows: list[RunRow], sort: str | None, newest: int | None, fields: Fields
) -> list[RunRow]:
    """Return the first rows of an order, or the newest."""
    if sort:
        from runbus.catalog import ordered

        return ordered(rows, sort, fields)[:newest]
    return rows if newest is None else rows[-newest:]


def _missing_home() -> str:
    """Say that the home is not there, if a variable names it: it may be a mistake."""
    from runbus._home import ENV_HOME, Home

    path = Home().path
    if not os.environ.get(ENV_HOME) or os.path.isdir(path):
        return ""
    return f": there is no folder {path}, which {ENV_HOME} names"


def _fitting(found: Sequence[T], is_fitted: bool, *, is_sorted: bool = False) -> Sequence[T]:
    """Return the rows that a terminal has room for, and say on standard error how many more are."""
    rows = terminal_rows()
    if not is_fitted or rows is None or len(found) <= (room := max(1, rows - _AROUND)):
        return found
    click.echo(f"{len(found) - room:,} more are not shown: -n 0 shows all", err=True)
    return found[:room] if is_sorted else found[-room:]


def _described(row: RunRow, names: Sequence[str] | None, fields: Fields) -> dict[str, object]:
    """Return what is known of a run, or what was asked for."""
    if names is not None:
        return {name: fields.of(row, name) for name in names}
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "state": row.state,
        "config": row.run.config if row.run else {},
        "tags": row.tags,
        "origin": row.run.origin._asdict() if row.run else {},
        "created_ns": row.created_ns,
        "folder": row.folder,
        "problem": row.problem or None,
    }


def _tell_nothing(project: str | None, tags: Sequence[str], where: Sequence[str]) -> None:
    """Say what was looked for and not found."""
    asked = [f"of project {project!r}"] if project is not None else []
    asked += [f"with the tag {' and '.join(tags)}"] if tags else []
    asked += [f"with {' and '.join(where)}"] if where else []
    if not asked:
        click.echo(f"no runs yet{_missing_home()}; runbus run SCRIPT makes one", err=True)
        return
    near = "" if project is None else near_project(project)
    click.echo(f"no run {' '.join(asked)}{near}", err=True)


def _list_batches(
    project: str | None, newest: int | None, *, is_fitted: bool, as_json: bool
) -> None:
    from runbus.catalog import batches
    from runbus.cli._totals import Totals

    found = batches(project)
    found = found[-newest:] if newest is not None else found
    if as_json:
        print_json(
            [
                {
                    "id": one.id,
                    "project": one.project,
                    "jobs": one.jobs,
                    "states": one.states,
                    "created_ns": one.created_ns,
                    "folder": one.folder,
                    "problem": one.problem or None,
                }
                for one in found
            ]
        )
        return
    if not found:
        of = f" of project {project!r}{near_project(project)}" if project is not None else ""
        click.echo(f"no batches{of or '; runbus submit makes one'}", err=True)
        return
    rows = [
        [
            one.id,
            one.project,
            one.problem or Totals.of(one.records).text(),
            format_time(one.created_ns),
        ]
        for one in _fitting(found, is_fitted)
    ]
    left_out = print_table(["batch", "project", "jobs", "created"], rows, optional=["created"])
    tell_left_out(left_out, "runbus ls --batches --json has all")
