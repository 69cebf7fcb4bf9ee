"""A point of a metric on its way through rules and processors."""

from __future__ import annotations

from typing import Any, NamedTuple

from runbus.plugins._metadata import MetricType

__all__ = ["Metric"]


class Metric(NamedTuple):
    """A point of a metric; a value: `metric._replace(value=metric.value * 100)`.

    Attributes:
        name: The metric.
        value: The value.
        step: The step.
        time_ns: Unix time in nanoseconds.
        source: Who measured it: the id of a run, or the name of a collector.
        type: SCALAR, or SYSTEM from a collector.
    """

    name: str
    value: float
    step: int = 0
    time_ns: int = 0
    source: str = ""
    type: MetricType = MetricType.SCALAR

    @property
    def iteration(self) -> int:
        """The step, by its other name."""
        return self.step


def is_number(value: Any) -> bool:
    """Tell whether a value is a number that a metric may have."""
    return isinstance(value, int | float)
