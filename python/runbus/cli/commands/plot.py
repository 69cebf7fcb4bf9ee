"""`runbus plot`."""

from __future__ import annotations

import sys

import click

from runbus.cli._plot import Curve, draw
from runbus.cli._printer import printable, unescaped
from runbus.cli._run_facts import tell_damage

__all__ = ["command"]


@click.command("plot")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.argument("name")
@click.option(
    "--over", metavar="NAME", help="Draw it over this metric, such as epoch, not over steps."
)
@click.option("--log", "log_scale", is_flag=True, help="Use a logarithmic value axis.")
def command(runs: tuple[str, ...], name: str, over: str | None, log_scale: bool) -> None:
    """Draw the metric NAME of one run or several in the terminal.

    RUN is an id, a name (the newest run of that name), or "latest".
    """
    from runbus.catalog import find_run

    curves = []
    for run in map(find_run, runs):
        tell_damage(run)
        series = run.metrics(name)
        positions = series.over(run.metrics(over)) if over else series.steps
        curves.append(Curve(printable(run.name), positions.tolist(), series.values.tolist()))
    plot = draw(printable(name), printable(over or "step"), curves, log_scale=log_scale)
    unescaped(sys.stdout).write(f"{plot}\n")
