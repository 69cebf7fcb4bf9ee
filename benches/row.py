"""What a bench says: a figure, the limit it must hold, and what stands beside it."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Row", "ns_per_call"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: What was measured.
        value: The median.
        unit: Its unit; less is better.
        limit: What it must not exceed; None if nothing was promised.
        beside: The same work by rivals, or the physical limit, measured in the same run.
        note: Anything a reader must know.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    beside: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        limit = f" (limit {self.limit:g})" if self.limit is not None else ""
        beside = "".join(
            f"\n      {name:<44}{value:>12.4g} {self.unit}   ours is {self.value / value:.3g} x"
            for name, value in self.beside.items()
        )
        note = f"\n      {self.note}" if self.note else ""
        return f"  {self.name:<48}{self.value:>12.4g} {self.unit}{limit}{beside}{note}"

    def as_dict(self) -> dict[str, Any]:
        """Return the row with the ratios to what stands beside it."""
        ratios = {name: self.value / value for name, value in self.beside.items() if value}
        return asdict(self) | {"ratios": ratios}


def ns_per_call(statement: Callable[[], object], calls: int, *, rounds: int = 300) -> float:
    """Return the median over `rounds` of the wall time of `statement()` in ns, divided by `calls`.

    Args:
        statement: Makes `calls` calls.
        calls: How many.
        rounds: How often.
    """
    clock = time.perf_counter_ns
    spans = []
    for _ in range(rounds):
        start = clock()
        statement()
        spans.append(clock() - start)
    return statistics.median(spans) / calls
