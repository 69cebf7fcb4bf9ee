"""Whose cancellation it is: decided here, for the bus and the kernel alike.

`task.cancelling()` alone does not tell: a TaskGroup that handled a failure leaves it at 1. What
counts is its rise since the work began, less the cancellations that were made here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio

from runbus.errors import HandlerCancelled, HandlerTimeout

if TYPE_CHECKING:
    from runbus.bus._causality import Frame
    from runbus.bus._subscription import Subscription

__all__ = ["OwnCancels", "cancels_seen", "is_cancelled", "judge", "leave_behind", "take_back"]


def cancels_seen(task: asyncio.Task[Any] | None) -> int:
    """Return how many cancellations a task was asked for; one still to be raised is not counted."""
    if task is None:
        return 0
    asked = task.cancelling()
    # It will be raised inside of what begins now, and must go through that.
    return asked - 1 if asked and getattr(task, "_must_cancel", False) else asked


def is_cancelled(task: asyncio.Task[Any] | None, before: int) -> bool:
    """Tell whether somebody cancelled the running task since `cancels_seen` returned `before`."""
    if task is not None and task.cancelling() > before:
        return True
    return anyio.current_effective_deadline() == float("-inf")


class OwnCancels:
    """The cancellations of a task by one owner, which takes them back in the end.

    Made when the work begins that may be cancelled.
    """

    __slots__ = ("_before", "_task", "made")

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        self._before = cancels_seen(task)
        self.made = 0

    def cancel(self) -> None:
        """Cancel the task once more."""
        if self._task is not None:
            self.made += 1
            self._task.cancel()

    def take_back(self) -> bool:
        """Undo the owner's cancellations; return whether somebody else's are left."""
        left = self._before
        while self.made and self._task is not None:
            self.made -= 1
            left = self._task.uncancel()
        return left > self._before


def take_back(frame: Frame) -> bool:
    """Undo the cancellations made for a dispatch; return whether somebody else's are left."""
    left = frame.cancels_before
    while frame.cuts and frame.task is not None:
        frame.cuts -= 1
        left = frame.task.uncancel()
    return left > frame.cancels_before


def leave_behind(task: asyncio.Task[Any]) -> None:
    """Let the event loop end without a task that ignores its cancellation.

    `asyncio.run` would wait for it for ever.
    """
    asyncio._unregister_task(task)


def judge(error: asyncio.CancelledError, subscription: Subscription, frame: Frame) -> Exception:
    """Return what a CancelledError out of a handler means; raise it again if it is a real one."""
    name, event = subscription.owner.name, type(frame.event).__name__
    if frame.cuts:
        if take_back(frame):
            raise error
        return HandlerTimeout(name, subscription.name, event, frame.limit_s)
    if is_cancelled(frame.task, frame.cancels_before):
        raise error
    return HandlerCancelled(name, subscription.name, event)
