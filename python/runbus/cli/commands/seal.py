"""`runbus seal`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("seal")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
def command(runs: tuple[str, ...]) -> None:
    """Turn the journals of finished runs into Parquet files.

    They take a fifth of the space, and other tools read them as they lie.

    RUN is an id, a name (the newest run of that name), or "latest". What is sealed already stays.
    Prints the path of each file made.
    """
    from runbus.experiment import find_run

    for run in runs:
        for path in find_run(run).seal():
            click.echo(path)
