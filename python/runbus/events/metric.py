"""What runs measure, on its way from the journals to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.events._event import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MetricBatch", "MetricPoint"]

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
        values: `float64 (n,)`.
    """

    run_id: str
    writer: str
    names: tuple[str, ...]
    series: bytes
    steps: bytes
    times: bytes
    values: bytes

    def __len__(self) -> int:
        return len(self.series) // 4

    def points(self) -> Iterator[MetricPoint]:
        """Yield each point as `(name, step, time_ns, value)`."""
        names = self.names
        columns = zip(
            memoryview(self.series).cast("I"),
            memoryview(self.steps).cast("q"),
            memoryview(self.times).cast("q"),
            memoryview(self.values).cast("d"),
            strict=True,
        )
        for series, step, time_ns, value in columns:
            yield names[series], step, time_ns, value
