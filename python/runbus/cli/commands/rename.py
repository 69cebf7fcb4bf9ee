"""`runbus rename`."""

from __future__ import annotations

import click

from runbus.cli._options import complete_runs

__all__ = ["command"]


@click.command("rename")
@click.argument("run", shell_complete=complete_runs)
@click.argument("name")
def command(run: str, name: str) -> None:
    """Give a run another name.

    Its id stays, and so does the name of its job.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest".
    """
    from runbus.catalog import find_run

    found = find_run(run)
    try:
        found.rename(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
