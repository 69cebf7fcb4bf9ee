"""How often and how soon a failed task may be started again."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from runbus.bus import check_number

if TYPE_CHECKING:
    from runbus.bus import Timers

__all__ = ["Restarts"]

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0
_DOUBLINGS = 7  # reach the longest


class Restarts:
    """Counts restarts: at most `limit` within `per_s` seconds, each later than the one before."""

    __slots__ = ("_at_ns", "_limit", "_per_s", "_timers")

    def __init__(self, owner: str, limit: int, per_s: float, timers: Timers) -> None:
        check_number(limit, owner, "max", whole=True, at_least=1)
        check_number(per_s, owner, "per", above=0)
        self._limit = limit
        self._per_s = per_s
        self._timers = timers
        self._at_ns: deque[int] = deque()

    def next_delay_s(self) -> float | None:
        """Return how long to wait before the next restart, or None if there were too many."""
        now_ns = self._timers.monotonic_ns()
        while self._at_ns and now_ns - self._at_ns[0] > self._per_s * 1e9:
            self._at_ns.popleft()
        if len(self._at_ns) >= self._limit:
            return None
        self._at_ns.append(now_ns)
        doublings = min(len(self._at_ns) - 1, _DOUBLINGS)
        delay_s: float = _FIRST_DELAY_S * 2**doublings
        return min(delay_s, _LONGEST_DELAY_S)
