"""`runbus rm`."""

from __future__ import annotations

import sys

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_runs

__all__ = ["command"]


@click.command("rm")
@click.argument("runs", metavar="RUN...", nargs=-1, shell_complete=complete_runs, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(runs: tuple[str, ...], yes: bool) -> ExitStatus:
    """Remove runs that are over, with their files and logs. There is no way back.

    RUN is an id or a part of one, or a name (the newest run of that name), but not "latest". Prints
    the ids of the runs removed. Without --yes it asks, and where nobody can answer it refuses.
    """
    from runbus.catalog import find_run, remove_run

    if "latest" in runs:
        # Another run may have begun meanwhile, and there is no way back.
        raise click.UsageError(
            f"'latest' is not removed: name the run, which is {find_run('latest').id} by now"
        )
    found = {run.id: run for run in map(find_run, runs)}
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: --yes removes without a question")
        names = ", ".join(f"{run.name} ({run.id})" for run in found.values())
        if not click.confirm(f"remove {names} for good?"):
            click.echo("kept", err=True)
            return ExitStatus.FAILED
    for run in found.values():
        remove_run(run)
        click.echo(run.id)
    return ExitStatus.OK
