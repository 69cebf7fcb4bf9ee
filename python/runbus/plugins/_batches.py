"""Batches of points, made anew from some."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from runbus.events import MetricBatch
from runbus.plugins._metadata import MetricType
from runbus.plugins._point import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SAMPLES = "sys/"
"""What the names of a machine's samples begin with in a run: `runbus.metrics.SAMPLES`."""

__all__ = ["batch_of", "metrics_of", "source_of", "type_of"]

_EXACT = 1 << 53


def source_of(batch: MetricBatch) -> str:
    """Return who measured the points of a batch: the id of a run, or the name of a collector."""
    return batch.run_id or batch.writer


def type_of(batch: MetricBatch) -> MetricType:
    """Return what kind of points a batch holds: what runs log, or what machines were sampled."""
    is_logged = batch.run_id and not all(name.startswith(_SAMPLES) for name in batch.names)
    return MetricType.SCALAR if is_logged else MetricType.SYSTEM


def metrics_of(batch: MetricBatch) -> Iterator[Metric]:
    """Yield each point of a batch as rules and processors see it."""
    source, kind = source_of(batch), type_of(batch)
    for name, step, time_ns, value in batch.points():
        yield Metric(name, value, step, time_ns, source, kind)


def batch_of(
    points: Iterable[tuple[str, float, int, int]], run_id: str, writer: str, position: int = 0
) -> MetricBatch:
    """Return points as a batch.

    Args:
        points: Name, value, step and time of each.
        run_id: Whose they are.
        writer: Which journal, or collector, they are from.
        position: Where the journal continues after them.

    Raises:
        OverflowError: A step or time has more than 64 bits.
        TypeError: One is no number.
    """
    places: dict[str, int] = {}
    series, steps, times, values = array("I"), array("q"), array("q"), array("d")
    integers: list[tuple[int, int]] = []
    for at, (name, value, step, time_ns) in enumerate(points):
        series.append(places.setdefault(name, len(places)))
        steps.append(step)
        times.append(time_ns)
        values.append(value)
        if type(value) is int and abs(value) > _EXACT and int(values[-1]) != value:
            integers.append((at, value))
    return MetricBatch(
        run_id=run_id,
        writer=writer,
        names=tuple(places),
        series=series.tobytes(),
        steps=steps.tobytes(),
        times=times.tobytes(),
        values=values.tobytes(),
        integers=tuple(integers),
        position=position,
    )
