"""The best of some runs, by what they measured."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from runbus._home import Home
from runbus.errors import FieldInvalid, RunbusError, RunUnreadable, near_matches
from runbus.jobs import sweeps_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runbus.catalog._runs import RunRecord
    from runbus.metrics import SeriesSummary

    Summaries = Mapping[str, SeriesSummary]

__all__ = ["Best", "best", "best_of", "check_goal"]

_GOAL = re.compile(r"(min|max):(.+)", re.DOTALL)


class Best(NamedTuple):
    """The best of some runs.

    Attributes:
        run: The run.
        metric: What was compared.
        value: Its best value.
        step: The step at which it had that first.
    """

    run: RunRecord
    metric: str
    value: float
    step: int


def check_goal(goal: str) -> tuple[str, str]:
    """Return what is best of a metric, `min` or `max`, and the metric.

    Raises:
        FieldInvalid: It does not say that.
    """
    if (found := _GOAL.fullmatch(str(goal))) is None:
        raise FieldInvalid(
            "best", repr(goal), "it says neither min nor max of a metric", "write min:val/loss"
        )
    return found[1], found[2]


def best(
    runs: Iterable[RunRecord], goal: str, *, read: Callable[[RunRecord], Summaries] | None = None
) -> Best | None:
    """Return the best of some runs; the first of several that are as good.

    Args:
        runs: The runs; those that cannot be read, or have no number of the metric, are left out.
        goal: `min:NAME` or `max:NAME`: which value of which metric is compared.
        read: Returns what the metrics of a run amount to, which is read from its folder if None.

    Returns:
        None if no run has a number of the metric.

    Raises:
        FieldInvalid: The goal does not say what is best, or no run has the metric, while there are
            others.
    """
    which, metric = check_goal(goal)
    found: Best | None = None
    known: dict[str, None] = {}
    for run in runs:
        try:
            summaries = run.summaries() if read is None else read(run)
        except RunUnreadable:
            continue
        known.update(dict.fromkeys(summaries))
        if (summary := summaries.get(metric)) is None:
            continue
        value, step = (
            (summary.min, summary.min_step) if which == "min" else (summary.max, summary.max_step)
        )
        if math.isnan(value):
            continue
        if found is None or (value < found.value if which == "min" else value > found.value):
            found = Best(run, metric, value, step)
    if metric not in known and known:
        near = near_matches(metric, known) or tuple(known)[:5]
        reason = f"no run has logged {metric!r}"
        raise FieldInvalid("best", repr(goal), reason, f"they have {', '.join(near)}")
    return found


def best_of(
    folder: str,
    runs: Iterable[str],
    number: int,
    *,
    read: Callable[[RunRecord], Summaries] | None = None,
) -> Best | None:
    """Return the best point of a sweep so far, those of earlier experiments among them. Blocks.

    Args:
        folder: The folder of the experiment.
        runs: The ids of its runs there.
        number: Which one of its sweeps it is, counted from 0.
        read: As `best` takes it.

    Returns:
        None if nobody says what is best, or no point has a number of that metric yet.
    """
    from runbus.catalog._runs import open_run

    sweeps = sweeps_asked(folder)
    if number >= len(sweeps) or not sweeps[number].goal:
        return None
    home = Home.of(folder).path
    found = []
    for run in dict.fromkeys([*sweeps[number].done.values(), *runs]):
        try:
            found.append(open_run(run, home=home))
        except RunbusError:  # it was removed, or other commands say what is wrong with it
            continue
    try:
        return best(found, sweeps[number].goal, read=read)
    except FieldInvalid:  # no point has logged the metric
        return None
