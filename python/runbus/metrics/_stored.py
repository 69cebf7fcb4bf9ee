"""Reading what a run has logged, from any process, while it is still being written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, overload

from runbus._core import MetricReader, read_metrics
from runbus.errors import MetricNotFound, near_matches
from runbus.metrics._folder import journals_of
from runbus.metrics._info import RunInfo
from runbus.metrics._series import Series, Steps, select
from runbus.metrics._table import MetricTable

if TYPE_CHECKING:
    from typing import Any

    from runbus._core import SeriesData

__all__ = ["SeriesSummary", "StoredRun"]


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

    @overload
    def metrics(self, names: str, *, steps: Steps | None = None) -> Series: ...
    @overload
    def metrics(
        self, names: list[str] | tuple[str, ...] = ..., *, steps: Steps | None = None
    ) -> MetricTable: ...
    def metrics(
        self, names: str | list[str] | tuple[str, ...] = ("*",), *, steps: Steps | None = None
    ) -> Series | MetricTable:
        """Return the points that are committed now: of one metric, or of several as a table.

        Points of several writers (ranks, restarts) are merged by time.

        Args:
            names: One name: its `Series`. A list of names and patterns, or one pattern:
                a `MetricTable`, read when it is first looked at. In a pattern, `*` stands for any
                characters, slashes too, and `?` for any one. (For a type checker write a pattern
                in a list: it cannot tell one from a name.)
            steps: Only points with these steps: a slice or an ascending range, such as
                `slice(1000, None)` or `range(0, 10_000, 100)`.

        Raises:
            MetricNotFound: The run has logged nothing under that one name.
            ValueError: `steps` does not ascend.
        """
        if not isinstance(names, str):
            return self._table(list(names), steps)
        for found, data in self._read([names]):
            if found == names:
                return Series(names, select(data, steps))
        if "*" in names or "?" in names:
            return self._table([names], steps)
        available = self.metric_names()
        raise MetricNotFound(names, self.id, near_matches(names, available), tuple(available))

    def _table(self, patterns: list[str], steps: Steps | None) -> MetricTable:
        def read() -> list[tuple[str, SeriesData]]:
            return [(name, select(data, steps)) for name, data in self._read(patterns)]

        return MetricTable(read)

    def _read(self, patterns: list[str]) -> list[tuple[str, SeriesData]]:
        return read_metrics([[path] for path in journals_of(self.folder)], patterns)

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


def _add(a: SeriesSummary, b: SeriesSummary) -> SeriesSummary:
    """Add a later writer's summary to an earlier one's."""
    return SeriesSummary(
        a.points + b.points,
        b.last_step,
        b.last,
        b.min if not a.min <= b.min else a.min,
        b.max if not a.max >= b.max else a.max,
    )
