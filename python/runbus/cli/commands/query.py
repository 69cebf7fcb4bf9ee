"""`runbus query`."""

from __future__ import annotations

import sys

import click

from runbus.cli._options import complete_projects
from runbus.cli._printer import format_number, print_json, unescaped
from runbus.cli._run_facts import near_project
from runbus.cli._table import print_table

__all__ = ["command"]


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
    config, folder, command, commit, changed, params, tags, problem), and metrics (run, name, step,
    time, value, exact, writer, rank) with a row for each point.

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
    print_table(columns, [[_text(value) for value in row] for row in rows])


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
    return format_number(value) if isinstance(value, float) else str(value)
