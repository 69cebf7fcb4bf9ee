"""`runbus query`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from runbus.cli._facts import print_facts
from runbus.cli._options import complete_projects
from runbus.cli._printer import format_value, print_json, unescaped
from runbus.cli._run_facts import near_project
from runbus.cli._table import print_part, print_table, table_width, terminal_columns, terminal_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command"]

T = TypeVar("T")


@click.command("query")
@click.argument("sql")
@click.option(
    "--project", shell_complete=complete_projects, help="Ask only the runs of this project."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
def command(sql: str, project: str | None, as_json: bool, as_csv: bool) -> None:
    """Ask all runs a question in SQL.

    SQL is one statement for DuckDB. There are two tables: runs (id, name, project, state, created,
    config, folder, command, python, commit, changed, params, tags, problem), and metrics (run,
    name, step, time, value, exact, writer, rank) with a row for each point.

    With --json, a second column of one name is called NAME_1.

    runbus query "SELECT run, min(value) FROM metrics WHERE name = 'loss' GROUP BY run"
    """
    from runbus.catalog import query

    if as_json and as_csv:
        raise click.UsageError("--json and --csv do not go together")
    columns, rows = query(sql, project=project)
    if project is not None and (near := near_project(project)):
        click.echo(f"no run of project {project!r}{near}", err=True)
    if as_csv:
        import csv

        # What is in a file of data stays as it is: nothing is escaped for a terminal.
        writer = csv.writer(unescaped(sys.stdout), lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return
    if as_json:
        columns = _apart(columns)
        print_json([dict(zip(columns, map(_plain, row), strict=True)) for row in rows])
        return
    _print(columns, rows)


def _apart(columns: list[str]) -> list[str]:
    """Return the names with numbers where an object would keep only one of two columns."""
    taken = set(columns)
    apart: list[str] = []
    for name in columns:
        free, number = name, 0
        while free in apart or (number and free in taken):
            number += 1
            free = f"{name}_{number}"
        apart.append(free)
    return apart


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    return value if isinstance(value, int | float | str | None) else str(value)


def _text(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return "NULL" if value is None else format_value(value)


def _print(names: list[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; on a terminal that it is too wide for, a few rows as facts, or a part."""
    cells = [[_text(value) for value in row] for row in rows]
    columns = [[name, *column] for name, column in zip(names, _turned(cells, names), strict=True)]
    numbers = [
        name
        for name, values in zip(names, _turned(rows, names), strict=True)
        if {type(value) for value in values} - {type(None)} in ({int}, {float})
    ]
    width, height = terminal_columns(), terminal_rows()
    if width is None or height is None or table_width(columns) <= width:
        print_table(names, cells, right=numbers)
    elif len(cells) == 1 or len(cells) * (len(names) + 1) < height:
        for at, row in enumerate(cells):
            if at:
                click.echo()
            print_facts(list(zip(names, row, strict=True)))
    else:
        print_part([names, *cells], right=numbers, how="--csv")


def _turned(rows: Sequence[Sequence[T]], names: list[str]) -> list[list[T]]:
    """Return the columns of rows, also if there is no row."""
    return [[row[at] for row in rows] for at in range(len(names))]
