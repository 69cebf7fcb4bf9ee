"""`runbus plot`."""

from __future__ import annotations

import click

from runbus.cli._plot import draw

__all__ = ["command"]


@click.command("plot")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.argument("name")
@click.option("--log", "log_scale", is_flag=True, help="Use a logarithmic value axis.")
def command(runs: tuple[str, ...], name: str, log_scale: bool) -> None:
    """Draw the metric NAME of one run or several in the terminal.

    RUN is an id, a name (the newest run of that name), or "latest".
    """
    from runbus.experiment import find_run

    found = [find_run(run) for run in runs]
    curves = [(run.name, run.metrics(name)) for run in found]
    click.echo(draw(name, curves, log_scale=log_scale))
