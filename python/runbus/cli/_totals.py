"""How far a batch is, in one line."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from runbus._clock import format_duration
from runbus.cli._advance import rate_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from runbus.jobs import JobRecord

__all__ = ["Totals", "first_of"]

T = TypeVar("T")

_FEW = 3
"""Of so few jobs that ended nothing can be said about those that will."""

_NEXT = 3
"""How many of the jobs that wait are shown where not all jobs can be."""


class Totals(NamedTuple):
    """How many of some jobs stand where, and how quickly they end.

    Attributes:
        jobs: How many there are.
        succeeded: How many succeeded.
        others: How many ended in another state, by the state.
        running: How many have begun and not ended.
        waiting: How many have not begun.
        rate_per_s: How many ended in a second, from the first start to the last end; 0 if too few
            did.
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
        took_s = (last_ns - first_ns) / 1e9
        rate = ended / took_s if ended >= _FEW and first_ns and took_s > 0 else 0.0
        succeeded = states.pop("SUCCEEDED", 0)
        return cls(ended + running + waiting, succeeded, dict(states), running, waiting, rate)

    @property
    def ended(self) -> int:
        """How many have ended, in whatever state."""
        return self.succeeded + sum(self.others.values())

    def text(self, width: int | None = None) -> str:
        """Return them in words, as many as fit into `width` columns; all if None."""
        parts = self._parts()
        while len(text := " · ".join(parts)) > (width or len(text)) and len(parts) > 1:
            parts.pop()
        return text

    def _parts(self) -> list[str]:
        others = "".join(f", {count} {state.lower()}" for state, count in self.others.items())
        parts = [f"{self.ended} of {self.jobs} done{others}"]
        parts += [f"{self.running} running"] if self.running else []
        parts += [f"{self.waiting} waiting"] if self.waiting else []
        # How long those take that run, others do not tell: of waiting ones more is known.
        if self.rate_per_s and self.waiting:
            left = self.running + self.waiting
            parts.append(rate_text(self.rate_per_s))
            parts.append(f"{format_duration(max(1, round(left / self.rate_per_s)))} left")
        return parts


def _itself(record: object) -> Any:
    return record


def first_of(
    jobs: Sequence[T], room: int, *, of: Callable[[T], JobRecord | None] = _itself
) -> Sequence[T]:
    """Return those jobs that people look for first: that failed, that run, that are next.

    Args:
        jobs: The jobs.
        room: How many at most, 1 or more.
        of: Returns a job's record.
    """
    if len(jobs) <= room:
        return jobs
    failed, running, waiting = [], [], []
    for job in jobs:
        record = of(job)
        if record is None or not (record.state.is_terminal or record.started_ns):
            waiting.append(job)
        elif not record.state.is_terminal:
            running.append(job)
        elif record.state not in ("SUCCEEDED", "SKIPPED"):
            failed.append(job)
    shown = (failed[-max(1, room // 3) :] + running)[:room]
    return shown + waiting[: min(_NEXT, room - len(shown))]
