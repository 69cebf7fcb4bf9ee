"""`runbus ls`."""

from __future__ import annotations

import click

from runbus.cli._printer import format_time, print_json, print_table

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
    from runbus.catalog import runs

    # Which runs have the tags is known once they have been looked at.
    found = [(run, run.tags) for run in runs(project, newest=None if tag else newest)]
    found = [(run, tags) for run, tags in found if set(tag) <= set(tags)]
    if newest is not None:
        found = found[-newest:]
    if as_json:
        print_json(
            [
                {
                    "id": run.id,
                    "name": run.name,
                    "project": run.project,
                    "state": run.state,
                    "config": run.config,
                    "tags": tags,
                    "created_ns": run.info.created_ns,
                    "folder": run.folder,
                }
                for run, tags in found
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
    print_table(
        ["id", "name", "project", "state", "created", "tags"],
        [
            [
                run.id,
                run.name,
                run.project,
                run.state,
                format_time(run.info.created_ns),
                ", ".join(tags),
            ]
            for run, tags in found
        ],
    )
