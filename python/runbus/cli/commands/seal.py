"""`runbus seal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus
from runbus.errors import RunBusy, RunUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.catalog import RunRecord

__all__ = ["command"]


@click.command("seal")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Seal all runs that are over, oldest first.")
@click.option("--project", help="With --all: only the runs of this project.")
def command(runs: tuple[str, ...], is_all: bool, project: str | None) -> ExitStatus:
    """Turn the journals of finished runs into Parquet files.

    They take a fifth of the space, and other tools read them as they lie.

    RUN is an id, a name (the newest run of that name), or "latest". What is sealed already stays.
    Prints the path of each file made. With --all, runs that are not over are named and left alone,
    and so are those that are too damaged.
    """
    from runbus.catalog import find_run

    if is_all == bool(runs):
        raise click.UsageError("give either runs or --all")
    if project is not None and not is_all:
        raise click.UsageError("--project goes with --all")
    status = ExitStatus.OK
    for run in _finished(project) if is_all else map(find_run, runs):
        try:
            for path in run.seal():
                click.echo(path)
        except RunBusy as error:
            if not is_all:
                raise
            click.echo(str(error), err=True)
        except RunUnreadable as error:
            if not is_all:
                raise
            status = ExitStatus.FAILED
            click.echo(str(error), err=True)
    return status


def _finished(project: str | None) -> Iterator[RunRecord]:
    """Yield the runs that are over and have journals; names the others that have."""
    from runbus.catalog import runs as all_runs

    for run in all_runs(project):
        if not run.journal_bytes():
            continue
        if run.state.is_terminal:
            yield run
        else:
            click.echo(f"run {run.id} is not over: {run.state}", err=True)
