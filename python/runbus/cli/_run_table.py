"""Lists of runs as tables: what each run has, and what else a terminal has room for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from runbus._ids import short_id
from runbus.catalog import RunRow
from runbus.cli._printer import format_time, format_value
from runbus.cli._table import (
    GAP,
    SHOWN_METRICS,
    print_table,
    table_width,
    tell_left_out,
    terminal_columns,
    without,
)
from runbus.errors import RunbusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.catalog import Fields, RunRecord, Sweep, SweepRow

    Row = RunRow | SweepRow
    Value = str | float | bool | None

__all__ = ["print_chosen", "print_runs"]

_COLUMNS = ("id", "name", "project", "state", "done", "best", "created", "tags", "reason")
_OPTIONAL = ("tags", "project", "created")

_MEASURED = 100
"""Of more runs nobody waits until all that they measured is read."""

_READ = 10_000
"""So many points of sweeps are read from their folders for one list; the index keeps them."""

_WIDE = 100
"""A narrower terminal is shown times without years and seconds."""

_WIDEST = 40
"""A column that nobody has asked for is no wider."""


def print_chosen(found: Sequence[RunRow], names: Sequence[str], fields: Fields) -> None:
    """Print the columns that were asked for."""
    rows = [[_cell(name, fields.of(row, name)) for name in names] for row in found]
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(names)]
    print_table(names, rows, right=[column[0] for column in columns if _is_of_numbers(column)])


def print_runs(
    found: Sequence[Row],
    fields: Fields,
    *,
    hidden: Sequence[str] = (),
    asked: Sequence[str] = (),
) -> None:
    """Print what each run has; on a wide terminal, params and metrics, too.

    Args:
        found: The runs; a sweep may be one row, with its id and how far it is.
        fields: What reads them.
        hidden: The names of columns of which everybody knows what is in them.
        asked: The names by which they were chosen and ordered: the first ones to have room.
    """
    width = terminal_columns()
    bests = _bests(found, fields)
    rows = [
        [
            row.id if width is None else short_id(row.id),
            row.name,
            row.project,
            row.state,
            "" if isinstance(row, RunRow) else row.progress,
            "" if isinstance(row, RunRow) else bests.get(row.sweep, ""),
            format_time(row.created_ns, is_short=width is not None and width < _WIDE),
            ", ".join(row.tags) if isinstance(row, RunRow) else "",
            row.problem if isinstance(row, RunRow) else "",
        ]
        for row in found
    ]
    runs = [row if isinstance(row, RunRow) else None for row in found]
    unused = [] if any(row is not None and row.problem for row in runs) else ["reason"]
    unused += [] if None in runs else ["done"]
    unused += [] if any(row[_COLUMNS.index("best")] for row in rows) else ["best"]
    if width is None:
        print_table(*without(_COLUMNS, rows, unused))
        return
    unused += [] if any(row is not None and row.tags for row in runs) else ["tags"]
    header, rows = without(_COLUMNS, rows, [*unused, *hidden])
    room = width - table_width(zip(header, *rows, strict=True))
    more = list(_further(runs, fields, room, asked)) if len(found) <= _MEASURED else []
    rows = [[*row, *cells] for row, *cells in zip(rows, *(one[1:] for one in more), strict=True)]
    left_out = print_table(
        [*header, *(one[0] for one in more)],
        rows,
        right=[one[0] for one in more if _is_of_numbers(one)],
        optional=_OPTIONAL,
    )
    tell_left_out(left_out)


def _further(
    found: Sequence[RunRow | None], fields: Fields, room: int, asked: Sequence[str]
) -> Iterator[list[str]]:
    """Yield further columns, each with its name first, as long as there is room for them."""
    shown = set(_COLUMNS)
    for name, cells in _candidates(found, fields, asked):
        column = [name, *cells]
        width = table_width([column]) + GAP
        if name not in shown and any(cells) and width <= min(room, _WIDEST):
            room -= width
            shown.add(name)
            yield column


def _candidates(
    found: Sequence[RunRow | None], fields: Fields, asked: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield what was asked for, then what runs are compared by.

    That is params that differ, metrics, other params, the code.
    """
    from runbus.metrics import PROGRESS, SAMPLES  # a table of ids and states need not pay for it

    for name in asked:
        yield name, ["" if row is None else _cell(name, fields.of(row, name)) for row in found]
    records = [None if row is None else row.run for row in found]
    params = [_params(run, fields) for run in records]
    names = list(dict.fromkeys(name for one in params for name in one))
    by_name = {name: [one.get(name, "") for one in params] for name in names}
    varied = {name: cells for name, cells in by_name.items() if len(set(cells)) > 1}
    yield from varied.items()
    measured = [_values(run, fields) for run in records]
    metrics = dict.fromkeys(name for one in measured for name in one)
    by_metric = {
        name: [_cell(name, one[name]) if name in one else "" for one in measured]
        for name in metrics
        if name not in by_name and not name.startswith((SAMPLES, PROGRESS))
    }
    yield from list(by_metric.items())[:SHOWN_METRICS]
    yield from ((name, cells) for name, cells in by_name.items() if name not in varied)
    yield from list(by_metric.items())[SHOWN_METRICS:]
    yield "commit", [run.origin.commit[:12] if run else "" for run in records]


def _bests(found: Sequence[Row], fields: Fields) -> dict[Sweep, str]:
    """Return the best value that points of each sweep have logged, and which point that is.

    What the index does not have of them is read, so much at a time: what is left is for the next
    list, and is told.
    """
    sweeps = [row for row in found if not isinstance(row, RunRow) and row.sweep.goal]
    if not sweeps:
        return {}
    from runbus.cli._sweep_best import best_text  # costs what lists of other runs need not pay

    fields.look_at([point for row in sweeps for point in row.begun])
    room = _READ
    bests: dict[Sweep, str] = {}
    for row in sweeps:
        unread = [one.run for one in row.begun if one.run is not None and not fields.has(one)]
        for run in unread[: max(0, room)]:
            with suppress(RunbusError):  # `show` tells what is wrong with it
                fields.read(run)
        room -= len(unread)
        if room >= 0 and (best := row.best(fields)) is not None:
            bests[row.sweep] = best_text(best, fields.shown_names(best.run))
    if room < 0:
        goes_on = "runbus ls goes on with it when it is called again"
        click.echo(f"{-room:,} points of sweeps are not compared yet: {goes_on}", err=True)
    return bests


def _params(run: RunRecord | None, fields: Fields) -> dict[str, str]:
    try:
        known = fields.params(run) if run else {}
        return {name: format_value(value) for name, value in known.items()}
    except RunbusError:
        return {}  # `show` tells what is wrong with it


def _values(run: RunRecord | None, fields: Fields) -> dict[str, Value]:
    try:
        return fields.values(run) if run else {}
    except RunbusError:
        return {}


def _is_of_numbers(column: Sequence[str]) -> bool:
    name, *cells = column
    is_number = all(not cell or cell[:1] in "-.0123456789" for cell in cells)
    return is_number and name not in {"id", "created"}


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if name == "created" and isinstance(value, int):
        return format_time(value)
    return format_value(value)
