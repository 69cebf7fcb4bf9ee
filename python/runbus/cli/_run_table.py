"""Lists of runs as tables: what each run has, and what else a terminal has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus._ids import short_id
from runbus.cli._live_rows import SHOWN_METRICS
from runbus.cli._printer import format_time, format_value
from runbus.cli._table import GAP, print_table, table_width, terminal_columns, without
from runbus.errors import RunbusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.catalog import RunRow
    from runbus.metrics import SeriesSummary

__all__ = ["print_chosen", "print_runs"]

_COLUMNS = ("id", "name", "project", "state", "created", "tags", "reason")
_OPTIONAL = ("tags", "project", "created")

_MEASURED = 100
"""Of more runs nobody waits until all that they measured is read."""

_WIDE = 100
"""A narrower terminal is shown times without years and seconds."""

_WIDEST = 40
"""A column that nobody has asked for is no wider."""


def print_chosen(found: Sequence[RunRow], names: Sequence[str]) -> None:
    """Print the columns that were asked for."""
    from runbus.catalog import field_of

    rows = [[_cell(name, field_of(row, name)) for name in names] for row in found]
    columns = [[name, *(row[at] for row in rows)] for at, name in enumerate(names)]
    print_table(names, rows, right=[column[0] for column in columns if _is_of_numbers(column)])


def print_runs(found: Sequence[RunRow], *, hidden: Sequence[str] = ()) -> None:
    """Print what each run has; on a wide terminal, params and metrics, too.

    Args:
        found: The runs.
        hidden: The names of columns of which everybody knows what is in them.
    """
    width = terminal_columns()
    rows = [
        [
            row.id if width is None else short_id(row.id),
            row.name,
            row.project,
            row.state,
            format_time(row.created_ns, is_short=width is not None and width < _WIDE),
            ", ".join(row.tags),
            row.problem,
        ]
        for row in found
    ]
    unused = [] if any(row.problem for row in found) else ["reason"]
    if width is None:
        print_table(*without(_COLUMNS, rows, unused))
        return
    unused += [] if any(row.tags for row in found) else ["tags"]
    header, rows = without(_COLUMNS, rows, [*unused, *hidden])
    room = width - table_width(zip(header, *rows, strict=True))
    more = list(_further(found, room)) if len(found) <= _MEASURED else []
    rows = [[*row, *cells] for row, *cells in zip(rows, *(one[1:] for one in more), strict=True)]
    left_out = print_table(
        [*header, *(one[0] for one in more)],
        rows,
        right=[one[0] for one in more if _is_of_numbers(one)],
        optional=_OPTIONAL,
    )
    if left_out:
        click.echo(f"there is no room for {', '.join(left_out)}", err=True)


def _further(found: Sequence[RunRow], room: int) -> Iterator[list[str]]:
    """Yield further columns, each with its name first, as long as there is room for them."""
    for name, cells in _candidates(found):
        column = [name, *cells]
        width = table_width([column]) + GAP
        if name not in _COLUMNS and any(cells) and width <= min(room, _WIDEST):
            room -= width
            yield column


def _candidates(found: Sequence[RunRow]) -> Iterator[tuple[str, list[str]]]:
    """Yield what runs are compared by: params that differ, metrics, other params, the code."""
    params = [_params(row) for row in found]
    names = list(dict.fromkeys(name for one in params for name in one))
    by_name = {name: [one.get(name, "") for one in params] for name in names}
    varied = {name: cells for name, cells in by_name.items() if len(set(cells)) > 1}
    yield from varied.items()
    measured = [_summaries(row) for row in found]
    metrics = list(dict.fromkeys(name for one in measured for name in one))
    by_metric = {
        name: [_cell(name, one[name].last) if name in one else "" for one in measured]
        for name in metrics
        if name not in by_name
    }
    yield from list(by_metric.items())[:SHOWN_METRICS]
    yield from ((name, cells) for name, cells in by_name.items() if name not in varied)
    yield from list(by_metric.items())[SHOWN_METRICS:]
    yield "commit", [row.run.origin.commit[:12] if row.run else "" for row in found]


def _params(row: RunRow) -> dict[str, str]:
    try:
        return (
            {name: format_value(value) for name, value in row.run.params.items()} if row.run else {}
        )
    except RunbusError:
        return {}  # `show` tells what is wrong with it


def _summaries(row: RunRow) -> dict[str, SeriesSummary]:
    try:
        return row.run.summaries() if row.run else {}
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
