"""`runbus export`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus._ids import slug
from runbus.cli._named_run import named_runs
from runbus.cli._options import complete_runs
from runbus.cli._printer import printable
from runbus.errors import near_matches

if TYPE_CHECKING:
    from runbus.catalog import Format, RunRow

__all__ = ["command"]


@click.command("export")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option(
    "--to",
    "kind",
    type=click.Choice(["parquet", "csv", "json"]),
    required=True,
    help="The format of the files.",
)
@click.option(
    "-o",
    "folder",
    type=click.Path(),
    metavar="FOLDER",
    help="The folder to make for them [default: named as RUN, here].",
)
@click.option(
    "--metrics",
    metavar="NAME,…",
    default="*",
    help="Only the points of these metrics; * stands for any characters.",
)
def command(runs: tuple[str, ...], kind: Format, folder: str | None, metrics: str) -> None:
    """Write runs and all that they logged as tables: Parquet, CSV or JSON.

    They are runs.csv and metrics.csv: the tables of runbus query, with times as Unix times in
    nanoseconds. They appear whole or not at all, in a folder that is not there yet. Prints the
    paths of the files.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest"; or a batch or
    project, which stands for all its runs.
    """
    from runbus.catalog import RunRow, export

    found = [RunRow.of(run) for run in named_runs(runs)]
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    _check(found, names)
    for path in export(found, kind, folder or f"{slug(runs[0])}-export", names):
        click.echo(printable(os.path.relpath(path) if folder is None else path))


def _check(rows: list[RunRow], patterns: list[str]) -> None:
    """Make sure that each name is that of a metric; a pattern may fit none."""
    known = dict.fromkeys(name for row in rows if row.run for name in row.run.metric_names())
    for name in patterns:
        if "*" not in name and "?" not in name and name not in known:
            near = near_matches(name, known)
            hint = f"; did you mean {near[0]!r}" if near else ""
            raise click.UsageError(f"no run has logged {name!r}{hint}")
