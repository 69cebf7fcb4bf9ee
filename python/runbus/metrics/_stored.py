"""Reading what a run has logged, from any process, while it is still being written."""

from __future__ import annotations

import array
import os
from typing import TYPE_CHECKING, NamedTuple

from runbus._core import MetricReader
from runbus.errors import MetricNotFound, near_matches
from runbus.metrics._folder import journals_of
from runbus.metrics._info import RunInfo

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Series", "SeriesSummary", "StoredRun"]


class SeriesSummary(NamedTuple):
    """What the points of one series add up to; NaN counts, but is neither smallest nor largest.

    Attributes:
        points: How many there are.
        last_step: The step of the last one.
        last: The value of the last one.
        min: The smallest value; NaN if there is none.
        max: The largest value; NaN if there is none.
    """

    points: int
    last_step: int
    last: float
    min: float
    max: float


class Series:
    """All points of one metric, in the order in which they were logged.

    Attributes:
        name: The metric's name.
        steps: `int64 (n,)`.
        values: `float64 (n,)`.
        times: `int64 (n,)`: Unix time in nanoseconds.
    """

    __slots__ = ("name", "steps", "times", "values")

    def __init__(
        self,
        name: str,
        steps: memoryview[int],
        values: memoryview[float],
        times: memoryview[int],
    ) -> None:
        self.name = name
        self.steps = steps
        self.values = values
        self.times = times

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Series {self.name!r} of {len(self)} points>"

    def to_numpy(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return steps `(n,) int64`, values `(n,) float64`, Unix times in ns `(n,) int64`.

        Raises:
            ModuleNotFoundError: numpy is not installed.
        """
        import numpy as np

        return (
            np.asarray(self.steps, np.int64),
            np.asarray(self.values, np.float64),
            np.asarray(self.times, np.int64),
        )


class StoredRun:
    """A run as its folder tells it.

    Attributes:
        folder: The run's folder.
        info: What the run is.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.info = RunInfo.read(folder)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call the run."""
        return self.info.name

    @property
    def project(self) -> str:
        """What the run is gathered under."""
        return self.info.project

    @property
    def config(self) -> dict[str, Any]:
        """What the run was started with."""
        return self.info.config

    def metric_names(self) -> list[str]:
        """Return the names of everything logged so far, in the order of their first points."""
        return list(self.summaries())

    def metrics(self, name: str) -> Series:
        """Return all points of one metric that are committed now.

        Points of several writers (ranks, restarts) are merged by time.

        Raises:
            MetricNotFound: The run has logged nothing under that name.
        """
        parts = []
        for reader in self._readers():
            try:
                steps, values, times = reader.series(name)
            except KeyError:
                continue
            parts.append((memoryview(steps), memoryview(values), memoryview(times)))
        if not parts:
            available = self.metric_names()
            raise MetricNotFound(name, self.id, near_matches(name, available), tuple(available))
        if len(parts) == 1:
            ((steps_view, values_view, times_view),) = parts
            return Series(name, steps_view.cast("q"), values_view.cast("d"), times_view.cast("q"))
        return _merged(name, parts)

    def summaries(self) -> dict[str, SeriesSummary]:
        """Return a summary of each metric, in the order of their first points."""
        merged: dict[str, SeriesSummary] = {}
        for reader in self._readers():
            for name, fields in reader.summary().items():
                summary = SeriesSummary(*fields)
                merged[name] = _add(merged[name], summary) if name in merged else summary
        return merged

    def is_being_written(self) -> bool:
        """Whether a process has one of the run's journals open for writing."""
        return any(reader.is_live for reader in self._readers())

    def end_states(self) -> list[int | None]:
        """Return how each writer ended: its code, or None if it has not, or died."""
        return [reader.end_state for reader in self._readers()]

    def damage(self) -> dict[str, list[tuple[int, int]]]:
        """Return the damaged stretches as (offset, bytes) by journal; empty if all is well."""
        found = {}
        for path in journals_of(self.folder):
            reader = MetricReader(path)
            reader.summary()
            if reader.damage:
                found[os.path.basename(path)] = reader.damage
        return found

    def _readers(self) -> list[MetricReader]:
        return [MetricReader(path) for path in journals_of(self.folder)]


def _merged(name: str, parts: list[tuple[memoryview, memoryview, memoryview]]) -> Series:
    points = sorted(
        (
            (time_ns, step, value)
            for steps, values, times in parts
            for time_ns, step, value in zip(
                times.cast("q"), steps.cast("q"), values.cast("d"), strict=True
            )
        ),
        key=lambda point: point[0],
    )
    return Series(
        name,
        memoryview(array.array("q", [point[1] for point in points])),
        memoryview(array.array("d", [point[2] for point in points])),
        memoryview(array.array("q", [point[0] for point in points])),
    )


def _add(a: SeriesSummary, b: SeriesSummary) -> SeriesSummary:
    """Add a later writer's summary to an earlier one's."""
    return SeriesSummary(
        a.points + b.points,
        b.last_step,
        b.last,
        b.min if not a.min <= b.min else a.min,
        b.max if not a.max >= b.max else a.max,
    )
