"""`runbus ls`."""

from __future__ import annotations

import click

from runbus.cli._printer import format_time, print_json, print_table

__all__ = ["command"]


@click.command("ls")
@click.option("--project", metavar="NAME", help="Only the runs of this project.")
@click.option(
    "-n", "newest", type=click.IntRange(min=1), metavar="COUNT", help="Only so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(project: str | None, newest: int | None, as_json: bool) -> None:
    """List runs, the newest last."""
    from runbus.experiment import runs

    found = runs(project, newest=newest)
    if as_json:
        print_json(
            [
                {
                    "id": run.id,
                    "name": run.name,
                    "project": run.project,
                    "state": run.state,
                    "config": run.config,
                    "created_ns": run.info.created_ns,
                    "folder": run.folder,
                }
                for run in found
            ]
        )
        return
    if not found:
        click.echo("no runs yet; runbus run SCRIPT makes one", err=True)
        return
    print_table(
        ["id", "name", "project", "state", "created"],
        [
            [run.id, run.name, run.project, run.state, format_time(run.info.created_ns)]
            for run in found
        ],
    )
