"""How far a batch is, in one line."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runbus.cli._printer import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from runbus.jobs import JobRecord

__all__ = ["Totals"]

_FEW = 3
"""Of so few jobs that ended nothing can be said about those that will."""


class Totals(NamedTuple):
    """How many of some jobs stand where, and how quickly they end.

    Attributes:
        jobs: How many there are.
        succeeded: How many succeeded.
        others: How many ended in another state, by the state.
        running: How many have begun and not ended.
        waiting: How many have not begun.
        rate_per_s: How many ended in a second, from the first start on; 0 if too few did.
    """

    jobs: int
    succeeded: int
    others: dict[str, int]
    running: int
    waiting: int
    rate_per_s: float

    @classmethod
    def of(cls, records: Iterable[JobRecord | None]) -> Self:
        """Count jobs; those of which nothing is known wait."""
        states: Counter[str] = Counter()
        running = waiting = 0
        first_ns = last_ns = 0
        for record in records:
            if record is None:
                waiting += 1
                continue
            if record.started_ns and (not first_ns or record.started_ns < first_ns):
                first_ns = record.started_ns
            if record.state.is_terminal:
                states[str(record.state)] += 1
                last_ns = max(last_ns, record.ended_ns)
            elif record.started_ns:
                running += 1
            else:
                waiting += 1
        ended = states.total()
        until_ns = time.time_ns() if running + waiting else last_ns
        took_s = (until_ns - first_ns) / 1e9
        rate = ended / took_s if ended >= _FEW and first_ns and took_s > 0 else 0.0
        succeeded = states.pop("SUCCEEDED", 0)
        return cls(ended + running + waiting, succeeded, dict(states), running, waiting, rate)

    @property
    def ended(self) -> int:
        """How many have ended, in whatever state."""
        return self.succeeded + sum(self.others.values())

    def text(self, width: int) -> str:
        """Return them in words, as many as there is room for."""
        parts = self._parts()
        while len(text := " · ".join(parts)) > width and len(parts) > 1:
            parts.pop()
        return text

    def _parts(self) -> list[str]:
        others = "".join(f", {count} {state.lower()}" for state, count in self.others.items())
        parts = [f"{self.ended} of {self.jobs} done{others}"]
        parts += [f"{self.running} running"] if self.running else []
        parts += [f"{self.waiting} waiting"] if self.waiting else []
        if self.rate_per_s and (left := self.running + self.waiting):
            is_quick = self.rate_per_s >= 1
            rate = self.rate_per_s if is_quick else self.rate_per_s * 60
            parts.append(f"{rate:.1f}{'/s' if is_quick else '/min'}")
            left_s = max(1, round(left / self.rate_per_s))
            parts.append(f"{f'{left_s} s' if left_s < 10 else format_duration(left_s)} left")
        return parts
