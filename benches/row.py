"""What a bench says: a figure, the limit it must hold, and what stands beside it."""

from __future__ import annotations

import math
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
        ratios: How many times what stands beside it the value may be, by its name.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    beside: dict[str, float] = field(default_factory=dict)
    note: str = ""
    ratios: dict[str, float] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether a limit is missed."""
        most = [ratio * self.beside[name] for name, ratio in self.ratios.items()]
        return self.value > min(
            most if self.limit is None else [*most, self.limit], default=math.inf
        )

    def __str__(self) -> str:
        limits = [f"{ratio:g} x {name}" for name, ratio in self.ratios.items()]
        limits += [] if self.limit is None else [f"{self.limit:g}"]
        limit = f" (limit {', '.join(limits)})" if limits else ""
        beside = "".join(
            f"\n      {name:<44}{value:>12.4g} {self.unit}{self._times(value)}"
            for name, value in self.beside.items()
        )
        note = f"\n      {self.note}" if self.note else ""
        return f"  {self.name:<48}{self.value:>12.4g} {self.unit}{limit}{beside}{note}"

    def _times(self, value: float) -> str:
        return f"   ours is {self.value / value:.3g} x" if value else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the row with the ratios to what stands beside it."""
        ratios = {name: self.value / value for name, value in self.beside.items() if value}
        return asdict(self) | {"limits": self.ratios, "ratios": ratios}


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
