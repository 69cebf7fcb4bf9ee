"""A clock that moves only when told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FakeClock"]

# How often tasks get to run after each timer: a chain of that many awaits settles in between.
_TURNS = 50


class _Timer:
    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """Every deadline of `Kernel(timers=FakeClock())` passes when `advance` says so.

    Time for plugins' own `asyncio.sleep` is not affected.
    """

    def __init__(self, *, time_ns: int = 1_000_000_000_000_000_000) -> None:
        """Start the clock at 0 seconds, and the wall clock at `time_ns`."""
        self._now_ns = 0
        self._wall_ns = time_ns
        self._numbers = itertools.count()
        self._timers: list[tuple[int, int, _Timer]] = []

    def monotonic(self) -> float:
        """Return the seconds that were advanced so far."""
        return self._now_ns / 1e9

    def monotonic_ns(self) -> int:
        """Return the nanoseconds that were advanced so far."""
        return self._now_ns

    def time_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch."""
        return self._wall_ns + self._now_ns

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> _Timer:
        """Call `callback` when the clock was advanced by `delay_s` seconds."""
        timer = _Timer(callback)
        at_ns = self._now_ns + round(delay_s * 1e9)
        heapq.heappush(self._timers, (at_ns, next(self._numbers), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move the time on; tasks get to run before, after, and at every timer on the way.

        Cancelled, the time stays where it came to.
        """
        end_ns = self._now_ns + round(seconds * 1e9)
        await _let_run()
        while self._timers and self._timers[0][0] <= end_ns:
            at_ns, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._now_ns = max(self._now_ns, at_ns)
            timer.callback()
            await _let_run()
        self._now_ns = end_ns
        await _let_run()


async def _let_run() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
