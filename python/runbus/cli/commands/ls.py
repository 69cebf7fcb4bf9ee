"""`runbus ls`."""

from __future__ import annotations

import click

from runbus.cli._printer import format_time, print_json
from runbus.cli._table import print_table

__all__ = ["command"]


@click.command("ls")
@click.option("--project", metavar="NAME", help="Only the runs of this project.")
@click.option("--tag", multiple=True, help="Only the runs with this tag; with all, if given again.")
@click.option(
    "-n", "newest", type=click.IntRange(min=1), metavar="COUNT", help="Only so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(project: str | None, tag: tuple[str, ...], newest: int | None, as_json: bool) -> None:
    """List runs, the newest last."""
    from runbus.catalog import survey

    # Which runs have the tags is known once they have been looked at.
    found = survey(project, newest=None if tag else newest)
    found = [row for row in found if set(tag) <= set(row.tags)]
    if newest is not None:
        found = found[-newest:]
    if as_json:
        print_json(
            [
                {
                    "id": row.id,
                    "name": row.name,
                    "project": row.project,
                    "state": row.state,
                    "config": row.run.config if row.run else {},
                    "tags": row.tags,
                    "origin": row.run.info.origin._asdict() if row.run else {},
                    "created_ns": row.created_ns,
                    "folder": row.folder,
                    "problem": row.problem or None,
                }
                for row in found
            ]
        )
        return
    if not found:
        click.echo(
            f"no run has the tag {' and '.join(tag)}"
            if tag
            else "no runs yet; runbus run SCRIPT makes one",
            err=True,
        )
        return
    header = ["id", "name", "project", "state", "created", "tags"]
    rows = [
        [row.id, row.name, row.project, row.state, format_time(row.created_ns), ", ".join(row.tags)]
        for row in found
    ]
    if any(row.problem for row in found):
        header.append("reason")
        rows = [[*cells, row.problem] for cells, row in zip(rows, found, strict=True)]
    print_table(header, rows)
