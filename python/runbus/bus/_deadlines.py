"""Ends handlers that take too long, at no cost to those that do not.

A timer per call would cost more than the whole dispatch, and so would a look at the clock before
each. Instead, one timer looks at all running dispatches now and then, and cancels the task of a
handler that it has seen for longer than its limit. The limit is kept to within an eighth of the
shortest limit in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.bus._causality import Frame
    from runbus.bus._subscription import Subscription
    from runbus.bus._timers import TimerHandle, Timers

__all__ = ["Sweeper"]


class Sweeper:
    """Cancels the handlers of running dispatches that are over their limit."""

    __slots__ = ("_active", "_handle", "_seen", "_timers", "period_s", "shortest_s", "watches_s")

    def __init__(self, active: set[Frame], timers: Timers) -> None:
        self._active = active
        self._timers = timers
        self._handle: TimerHandle | None = None
        self._seen: dict[Frame, tuple[Subscription, int]] = {}
        self.period_s = 2.0
        self.shortest_s = 32.0
        # The longest limit that needs no further `arm`: infinite limits never do.
        self.watches_s = float("inf")

    def arm(self, limit_s: float) -> None:
        """Look at the running dispatches from now on, until none is running."""
        self.stop()
        self.shortest_s = min(self.shortest_s, limit_s)
        self.period_s = max(self.shortest_s / 16, 0.001)
        self.watches_s = self.shortest_s
        self._handle = self._timers.call_later(self.period_s, self._sweep)

    def stop(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
        self._seen.clear()
        self.watches_s = float("inf")

    def _sweep(self) -> None:
        for frame in self._overdue():
            frame.cuts += 1
            if frame.task is not None:
                frame.task.cancel()
        if self._active:
            self._handle = self._timers.call_later(self.period_s, self._sweep)
        else:
            self.stop()

    def _overdue(self) -> list[Frame]:
        """Return the dispatches whose handler is over its limit, and nothing inside it is."""
        now_ns = self._timers.monotonic_ns()
        seen, self._seen = self._seen, {}
        late = []
        for frame in self._active:
            sub = frame.subscription
            if sub is None or sub.timeout_s is not None:
                continue
            since = seen.get(frame)
            if since is None or since[0] is not sub:
                since = sub, now_ns
            self._seen[frame] = since
            if now_ns - since[1] >= frame.limit_s * 1e9:
                late.append(frame)
        # A handler that waits for a nested dispatch is not to blame for what hangs in there.
        blocked = {frame.place.up for frame in self._active}
        innermost = [frame for frame in late if frame not in blocked]
        return innermost or late
