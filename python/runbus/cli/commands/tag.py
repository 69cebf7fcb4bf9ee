"""`runbus tag`."""

from __future__ import annotations

import click

from runbus.cli._options import complete_runs

__all__ = ["command"]


@click.command("tag")
@click.argument("run", shell_complete=complete_runs)
@click.argument("tags", metavar="TAG...", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take the tags away.")
def command(run: str, tags: tuple[str, ...], remove: bool) -> None:
    """Give a run tags, also long after it has ended.

    `runbus ls --tag TAG` finds it.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest".
    """
    from runbus.catalog import find_run

    found = find_run(run)
    try:
        (found.untag if remove else found.tag)(*tags)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
