"""`runbus plot`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from runbus.cli._named_run import named_run
from runbus.cli._options import complete_metrics, complete_runs
from runbus.cli._plot import Curve, draw_beside
from runbus.cli._printer import printable, unescaped
from runbus.cli._run_facts import tell_damage
from runbus.errors import RunNotFound, RunUnreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runbus.catalog import RunRecord

__all__ = ["command"]

_LOOKED_AT = 20
"""In so many of the newest runs a word is looked for that may be a metric."""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the first word as a run, the others as a metric of it, or as a run."""
    if not ctx.params.get("words"):
        return complete_runs(ctx, param, incomplete)
    return complete_metrics(ctx, param, incomplete) + complete_runs(ctx, param, incomplete)


@click.command("plot")
@click.argument(
    "words", metavar="RUN... NAME...", nargs=-1, required=True, shell_complete=_complete
)
@click.option(
    "-m", "--metric", "more", multiple=True, metavar="NAME", help="Draw this metric, too."
)
@click.option(
    "--over",
    metavar="NAME",
    help="Draw it over this metric, such as epoch, not over steps; over time, if no metric is "
    "called so: the seconds since the first point.",
)
@click.option("--log", "log_scale", is_flag=True, help="Use a logarithmic value axis.")
@click.option(
    "--height",
    type=click.IntRange(min=2, max=200),
    metavar="ROWS",
    help="How high [default: as the terminal, at most 16].",
)
def command(
    words: tuple[str, ...],
    more: tuple[str, ...],
    over: str | None,
    log_scale: bool,
    height: int | None,
) -> None:
    """Draw the metric NAME of one run or several in the terminal.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest". Several
    metrics may follow it: runbus plot latest loss sys/gpu0/util --over time. Metrics whose values
    are of very different sizes have drawings of their own, one above the other.
    """
    if len(words) == 1 and not more and _runs_with(words[0]) is None:
        raise click.UsageError(_which_metric(named_run(words[0])))
    *texts, last = words
    # The last word is a metric, unless it can only be a run.
    names = list(more) if not texts else [last, *more]
    runs: list[RunRecord] = []
    for text in texts or [last]:
        try:
            runs.append(named_run(text))
        except RunNotFound:
            if not runs and (found := _runs_with(text)):
                named = last if texts else found
                raise click.UsageError(
                    f"{text!r} is a metric, and the run comes first: runbus plot {named} {text}"
                ) from None
            if not (runs and texts and text in runs[0].summaries()):
                raise
            names.insert(len(names) - len(more) - 1, text)
    is_time = over == "time" and not any("time" in run.metric_names() for run in runs)
    curves: dict[str, list[Curve]] = {printable(name): [] for name in names}
    for run in runs:
        tell_damage(run)
        start_ns = min((run.metrics(name).times.min() for name in names if is_time), default=0)
        for name in names:
            series = run.metrics(name)
            positions: NDArray[Any]
            if is_time:
                positions = (series.times - start_ns) / 1e9
            else:
                positions = series.over(run.metrics(over)) if over else series.steps
            told = (run.name, len(runs) > 1 or len(names) == 1), (name, len(names) > 1)
            label = " ".join(text for text, is_needed in told if is_needed)
            curve = Curve(printable(label), positions.tolist(), series.values.tolist())
            curves[printable(name)].append(curve)
    axis = printable("seconds" if is_time else over or "step")
    plot = draw_beside(axis, curves, log_scale=log_scale, height=height)
    unescaped(sys.stdout).write(f"{plot}\n")


def _runs_with(name: str) -> str | None:
    """Return how to call the newest run that has logged a metric, if no run is called so."""
    from runbus.catalog import runs

    newest = runs(newest=_LOOKED_AT)[::-1]
    if any(run.name == name for run in newest):
        return None
    for at, run in enumerate(newest):
        try:
            if name in run.metric_names():
                return run.name if at else "latest"
        except RunUnreadable:
            continue
    return None


def _which_metric(run: RunRecord) -> str:
    """Return what to say to somebody who named a run and no metric."""
    names = run.metric_names()
    if not names:
        return f"name a metric to draw; {run.name} has logged none"
    return f"name a metric to draw; {run.name} has {', '.join(names)}"
