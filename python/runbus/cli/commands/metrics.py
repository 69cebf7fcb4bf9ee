"""`runbus metrics`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from runbus.cli._named_run import named_run
from runbus.cli._options import complete_metrics, complete_runs
from runbus.cli._printer import print_json, printable, unescaped
from runbus.cli._run_facts import tell_damage
from runbus.cli._summaries import print_summaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.metrics import Series

__all__ = ["command"]


@click.command("metrics")
@click.argument("run", shell_complete=complete_runs)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_metrics)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every point as CSV, of all metrics too.")
def command(run: str, names: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    """Print what a run logged: every point of the metrics named, or a summary of all.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest".

    With --json, points are {"NAME": {"steps": […], "values": […], "times": […]}}, times in
    nanoseconds since 1970; a value that is not finite is null.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv do not go together")
    found = named_run(run)
    tell_damage(found)
    if as_csv:
        _print_csv([found.metrics(name) for name in names or found.metric_names()])
        return
    if names:
        series = [found.metrics(name) for name in names]
        if as_json:
            print_json(
                {
                    one.name: {
                        "steps": one.steps.tolist(),
                        "values": one.values.tolist(),
                        "times": one.times.tolist(),
                    }
                    for one in series
                }
            )
            return
        _print_points(series)
        return
    summaries = found.summaries()
    if as_json:
        print_json({name: summary._asdict() for name, summary in summaries.items()})
        return
    if not summaries:
        click.echo("nothing was logged", err=True)
        return
    print_summaries(summaries)


def _print_csv(series: Sequence[Series]) -> None:
    """Print a row a point, every digit of it: metric, step, time in ns since 1970, value."""
    import csv

    # What is in a file of data stays as it is: nothing is escaped for a terminal.
    writer = csv.writer(unescaped(sys.stdout), lineterminator="\n")
    writer.writerow(["metric", "step", "time_ns", "value"])
    for one in series:
        columns = (one.steps.tolist(), one.times.tolist(), map(repr, one.values.tolist()))
        writer.writerows((one.name, *point) for point in zip(*columns, strict=True))


def _print_points(series: Sequence[Series]) -> None:
    """Print a line a point, every digit of it: there may be millions."""
    names = [printable(one.name) for one in series]
    width = max(map(len, names))
    sys.stdout.write(f"{'metric':<{width}}{'step':>12}  value\n")
    for name, one in zip(names, series, strict=True):
        sys.stdout.writelines(
            f"{name:<{width}}{step:>12}  {value!r}\n"
            for step, value in zip(one.steps.tolist(), one.values.tolist(), strict=True)
        )
