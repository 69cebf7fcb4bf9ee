"""What runs measure, on its way from the journals to subscribers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.events._event import Collector, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MetricBatch",
    "MetricPoint",
    "MetricWindow",
    "MetricWindows",
    "MetricsProcessed",
    "ResourceSample",
    "SinkOpening",
]

MetricPoint = tuple[str, int, int, float]
"""Name, step, Unix time in nanoseconds, value."""


class MetricBatch(Stream, frozen=True, kw_only=True, tag="metric.batch"):
    """Points of one run, in the order in which they were committed.

    The columns are bytes in the machine's byte order, one item a point, so that a batch of any size
    costs the bus the same; `numpy.frombuffer` or `memoryview.cast` read them without a copy.

    Attributes:
        run_id: The run that logged them.
        writer: The journal they came from; unique within the run.
        names: The table of metric names that `series` points into.
        series: `uint32 (n,)`: which name.
        steps: `int64 (n,)`.
        times: `int64 (n,)`: Unix time in nanoseconds.
        values: `float64 (n,)`; of integers that no double represents the nearest one.
        integers: Those integers, each as the place of its point and itself.
        position: Where the journal continues after them, in bytes, also if it was sealed: give it
            to `StoredRun.follow(positions={writer: position})` to continue from here.
    """

    run_id: str
    writer: str
    names: tuple[str, ...]
    series: bytes
    steps: bytes
    times: bytes
    values: bytes
    integers: tuple[tuple[int, int], ...] = ()
    position: int = 0

    def __len__(self) -> int:
        return len(self.series) // 4

    def points(self) -> Iterator[MetricPoint]:
        """Yield each point as `(name, step, time_ns, value)`.

        The value is an int only where no double represents it.
        """
        names, integers = self.names, dict(self.integers)
        columns = zip(
            memoryview(self.series).cast("I"),
            memoryview(self.steps).cast("q"),
            memoryview(self.times).cast("q"),
            memoryview(self.values).cast("d"),
            strict=True,
        )
        for place, (series, step, time_ns, value) in enumerate(columns):
            yield names[series], step, time_ns, integers.get(place, value)


class MetricsProcessed(Stream, frozen=True, kw_only=True, tag="metric.processed"):
    """What a processor has made of points: what the sinks after it get in their place.

    Attributes:
        processor: The plugin that made it.
        batch: The points; `position` says up to where in the journal it has seen them.
    """

    processor: str
    batch: MetricBatch

    def __len__(self) -> int:
        return len(self.batch)


class SinkOpening(Collector[Any], frozen=True, kw_only=True, tag="metric.sink_opening"):
    """A sink or processor begins: what stands between the sources and it?

    Processors and the routing answer.

    Attributes:
        sink: The plugin that begins.
    """

    sink: str


class MetricWindow(NamedTuple):
    """What the points of one metric in a span of time amount to.

    NaN counts as a point, and may be the first or last one, but has no part in the rest. The
    infinities take part in the extremes and quantiles, not in mean and variance. What has no number
    to be made of is NaN, and its step 0.

    Attributes:
        name: The metric.
        width_ns: How long the span is, in nanoseconds.
        start_ns: Where it starts, Unix time in nanoseconds: a multiple of its width.
        points: How many points there are.
        finite: How many of them are finite numbers.
        first_step: The step of the first one.
        last_step: The step of the last one.
        min_step: The step at which the smallest value came first.
        max_step: The step at which the largest value came first.
        first_ns: The time of the first one, Unix time in nanoseconds.
        last_ns: The time of the last one.
        first: The value of the first one.
        last: The value of the last one.
        min: The smallest value.
        max: The largest value.
        mean: The mean of the finite ones.
        variance: Their variance, as of a whole population.
        p50: The median. Exact up to 128 points, then off by at most 0.4 % of itself; so are the
            other quantiles.
        p95: The value that 95 % of all do not exceed.
        p99: The value that 99 % of all do not exceed.
    """

    name: str
    width_ns: int
    start_ns: int
    points: int
    finite: int
    first_step: int
    last_step: int
    min_step: int
    max_step: int
    first_ns: int
    last_ns: int
    first: float
    last: float
    min: float
    max: float
    mean: float
    variance: float
    p50: float
    p95: float
    p99: float

    @property
    def sum(self) -> float:
        """The sum of the finite values."""
        return self.mean * self.finite if self.finite else 0.0

    @property
    def points_per_s(self) -> float:
        """How many points came in a second of the span."""
        return self.points * 1e9 / self.width_ns

    @property
    def steps_per_s(self) -> float:
        """How fast the steps went on from the first point to the last; NaN for a single moment."""
        took_ns = self.last_ns - self.first_ns
        return (self.last_step - self.first_step) * 1e9 / took_ns if took_ns else math.nan


class MetricWindows(Stream, frozen=True, kw_only=True, tag="metric.windows"):
    """Windows of one run that are over: what its metrics amount to, second by second.

    They are made only while somebody reads them. A window may have several rows, one for each
    writer and more if points came late: each row tells of other points. `windows()` reads row by
    row.

    Attributes:
        run_id: The run.
        writer: The journal that the points came from; unique within the run.
        names: The table of metric names that `series` points into.
        width_ns: How long a window is, in nanoseconds.
        series: `uint32 (n,)`: which name.
        columns: The other fields of `MetricWindow` in their order, in the machine's byte order:
            `int64 (n,)` from `start_ns` to `last_ns`, then `float64 (n,)`.
        position: Where the journal continues after what was read by then, in bytes.
    """

    run_id: str
    writer: str
    names: tuple[str, ...]
    width_ns: int
    series: bytes
    columns: tuple[bytes, ...]
    position: int = 0

    def __len__(self) -> int:
        return len(self.series) // 4

    def column(self, field: str) -> memoryview[int] | memoryview[float]:
        """Return one column, by the name of a field of `MetricWindow` from `start_ns` on."""
        place = _COLUMNS.index(field)
        return memoryview(self.columns[place]).cast("q" if place < _INTEGERS else "d")

    def windows(self) -> Iterator[MetricWindow]:
        """Yield each row."""
        columns = [self.column(field) for field in _COLUMNS]
        for series, *fields in zip(memoryview(self.series).cast("I"), *columns, strict=True):
            yield MetricWindow(self.names[series], self.width_ns, *fields)


class ResourceSample(Stream, frozen=True, kw_only=True, tag="metric.resource_sample"):
    """What the machine of a run did at one moment: a row of its sampler.

    They are made only while somebody reads them. What is read seldom is not in each; see
    `docs/concepts/sampling.md` for the names and units. The same values come in `MetricBatch`.

    Attributes:
        run_id: The run.
        writer: The journal of the sampler; unique within the run.
        time_ns: When, Unix time in nanoseconds: a multiple of the interval.
        values: The values, by the names of the metrics.
    """

    run_id: str
    writer: str
    time_ns: int
    values: dict[str, float]


_COLUMNS = MetricWindow._fields[2:]
_INTEGERS = _COLUMNS.index("first")
