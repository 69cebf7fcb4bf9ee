"""The best point of a sweep, in a few words; also while its points are running."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runbus.catalog import Best, RunRecord, best, best_of, check_goal
from runbus.cli._printer import format_number
from runbus.errors import RunbusError
from runbus.jobs import own_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.cli._live_row import Row
    from runbus.events import MetricBatch
    from runbus.jobs import SweepAsked

__all__ = ["BestSoFar", "best_text"]

_POINTS = 1_000
"""So many points of a batch are looked at: the rest is read when the job has ended."""

_READ = 10
"""So many runs that have ended are read before one picture."""


def best_text(found: Best, names: Mapping[str, str | None]) -> str:
    """Return which value of what is the best, and the values of its point.

    Args:
        found: The best point.
        names: What views call metrics of its run that have another name there.
    """
    return _text(names.get(found.metric) or found.metric, found.value, found.run.name)


def _text(metric: str, value: float, job: str) -> str:
    return f"{metric} {format_number(value)}, {own_name(job)}"


class BestSoFar:
    """The best value that points of a sweep have logged so far.

    Of jobs that run it knows what comes in batches; of those that have ended what their runs have.

    Args:
        folder: The folder of the experiment.
        number: Which one of its sweeps it is, counted from 0.
        sweep: The sweep, which says what is best.
        runs: The folders of the runs of the experiment's jobs, by name.
    """

    def __init__(
        self, folder: str, number: int, sweep: SweepAsked, runs: Mapping[str, str]
    ) -> None:
        which, self._metric = check_goal(sweep.goal)
        self._is_min = which == "min"
        self._goal = sweep.goal
        self._earlier = folder, number
        self._runs = {name: runs[name] for name in sweep.jobs if name in runs}
        self._has_earlier = bool(sweep.done)
        self._values: dict[str, float] = {}
        self._read: set[str] = set()

    def measure(self, job: str, batch: MetricBatch) -> None:
        """Take in what a job has logged, if it is a point of the sweep."""
        if job not in self._runs or job in self._read or self._metric not in batch.names:
            return
        wanted = [*batch.names].index(self._metric)
        series = memoryview(batch.series).cast("I")
        values = memoryview(batch.values).cast("d")
        first = max(0, len(series) - _POINTS)
        self._note(job, [values[at] for at in range(first, len(series)) if series[at] == wanted])

    def text(self, rows: Sequence[Row]) -> str:
        """Return which point is the best, and its value; empty if none has a number yet.

        Reads the runs of jobs that have ended since, some of them each time.
        """
        if self._has_earlier:
            self._has_earlier = False
            if (found := best_of(self._earlier[0], (), self._earlier[1])) is not None:
                self._note(found.run.name, [found.value])
        ended = [row.name for row in rows if row.record and row.record.state.is_terminal]
        for name in [one for one in ended if one in self._runs and one not in self._read][:_READ]:
            self._read.add(name)
            try:
                found = best([RunRecord.unread(self._runs[name])], self._goal)
            except (RunbusError, OSError):
                continue  # it has logged no such metric, or other commands say what is wrong
            if found is not None:
                self._note(name, [found.value])
        known = list(self._values.items())  # batches come in another thread
        if not known:
            return ""
        job, value = (min if self._is_min else max)(known, key=lambda one: one[1])
        return f"best {_text(self._metric, value, job)}"

    def _note(self, job: str, values: Sequence[float]) -> None:
        numbers = [value for value in values if not math.isnan(value)]
        if (known := self._values.get(job)) is not None:
            numbers.append(known)
        if numbers:
            self._values[job] = min(numbers) if self._is_min else max(numbers)
