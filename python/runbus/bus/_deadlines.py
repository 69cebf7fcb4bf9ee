"""Ends handlers that take too long, at no cost to those that do not.

A timer per call would cost more than the whole dispatch. Instead, one timer looks at all running
dispatches now and then, and cancels the task of a handler that is over its limit. The limit is
kept to within a sixteenth of the shortest limit in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from runbus.errors import HandlerCancelled, HandlerTimeout

if TYPE_CHECKING:
    import asyncio

    from runbus.bus._causality import Frame
    from runbus.bus._subscription import Subscription
    from runbus.bus._timers import TimerHandle, Timers

__all__ = ["Sweeper", "judge_cancellation"]


class Sweeper:
    """Cancels the handlers of running dispatches that are over their limit."""

    __slots__ = ("_active", "_handle", "_timers", "armed", "period_s", "shortest_s")

    def __init__(self, active: set[Frame], timers: Timers) -> None:
        self._active = active
        self._timers = timers
        self._handle: TimerHandle | None = None
        self.armed = False
        self.period_s = 2.0
        self.shortest_s = 32.0

    def arm(self, limit_s: float) -> None:
        """Look at the running dispatches from now on, until none is running."""
        self.stop()
        self.shortest_s = min(self.shortest_s, limit_s)
        self.period_s = max(self.shortest_s / 16, 0.001)
        self.armed = True
        self._handle = self._timers.call_later(self.period_s, self._sweep)

    def stop(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
        self.armed = False

    def _sweep(self) -> None:
        now_ns = self._timers.monotonic_ns()
        for frame in overdue(self._active, now_ns):
            frame.cancels += 1
            if frame.task is not None:
                frame.task.cancel()
        if self._active:
            self._handle = self._timers.call_later(self.period_s, self._sweep)
        else:
            self.armed = False


def overdue(active: set[Frame], now_ns: int) -> list[Frame]:
    """Return the dispatches whose current handler is over its limit, and nothing inside it is."""
    late = [
        frame
        for frame in active
        if frame.subscription is not None
        and frame.subscription.timeout_s is None
        and now_ns - frame.started_ns >= frame.limit_s * 1e9
    ]
    # A handler that waits for a nested dispatch is not to blame for what hangs in there.
    blocked = {frame.up for frame in active if frame.up is not None}
    innermost = [frame for frame in late if frame not in blocked]
    return innermost or late


def is_cancelled(task: asyncio.Task[Any] | None) -> bool:
    """Tell whether somebody asked for the running task to be cancelled."""
    if task is not None and task.cancelling():
        return True
    return anyio.current_effective_deadline() == float("-inf")


def judge_cancellation(
    error: asyncio.CancelledError, subscription: Subscription, frame: Frame
) -> Exception:
    """Return what a CancelledError out of a handler means; raise it again if it is a real one."""
    task = frame.task
    event = type(frame.event).__name__
    if frame.cancels:
        left = take_back(frame)
        if left:
            raise error
        return HandlerTimeout(subscription.owner.name, subscription.name, event, frame.limit_s)
    if is_cancelled(task):
        raise error
    return HandlerCancelled(subscription.owner.name, subscription.name, event)


def take_back(frame: Frame) -> int:
    """Undo the cancellations made for a frame; return how many by others are left."""
    task = frame.task
    left = 0
    while frame.cancels and task is not None:
        frame.cancels -= 1
        left = task.uncancel()
    return left
