"""The block that a kernel runs around: cancelled once when the kernel must stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runbus.bus import wait_until
from runbus.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from runbus.bus import Timers

__all__ = ["Body", "Stopping"]


class Body:
    """The task that entered the kernel, and how often the kernel has cancelled it.

    `task.cancelling()` alone does not tell whose a cancellation is: a TaskGroup that handled a
    failure leaves it at 1. What counts is its rise since the kernel cancelled the task first.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._cancels = 0
        self._before = 0
        # Tells the kernel's own cancellation from one that was under way already.
        self._message = f"stopped by runbus kernel {id(self):x}"

    def enter(self) -> None:
        """Note that the running task is the one."""
        self.task = asyncio.current_task()

    @property
    def is_cancelled(self) -> bool:
        """Whether the kernel has cancelled it."""
        return self._cancels > 0

    def cancel(self) -> bool:
        """Cancel the block; return False if it does not run, as in a fixture."""
        if self.task is None or self.task.done():
            return False
        if not self._cancels:
            self._before = self.task.cancelling() - is_being_cancelled(self.task)
        self._cancels += 1
        self.task.cancel(self._message)
        return True

    def take_back(self, error: BaseException | None) -> bool:
        """Undo the kernel's own cancellations; return whether it made any, and nobody else did.

        Without this, the caller's outer timeouts would misfire.

        Args:
            error: What ended the block, or the wait for its begin.
        """
        if not self._cancels or asyncio.current_task() is not self.task:
            return False
        assert self.task is not None
        left = self.task.cancelling()
        while self._cancels:
            self._cancels -= 1
            left = self.task.uncancel()
        if left > self._before:
            return False
        if left and isinstance(error, asyncio.CancelledError):
            return self._message in error.args
        return True


def is_being_cancelled(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task was cancelled and does not know it yet."""
    waits_for: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return bool(getattr(task, "_must_cancel", False)) or (
        waits_for is not None and waits_for.cancelled()
    )


class Stopping:
    """Awaits the end of a kernel's shutdown.

    Raises:
        WouldDeadlock: A plugin awaits it, for which the shutdown waits.
    """

    __slots__ = ("_is_waited_for", "_task", "_timers")

    def __init__(
        self, task: asyncio.Task[None], timers: Timers, is_waited_for: Callable[[], bool]
    ) -> None:
        self._task = task
        self._timers = timers
        self._is_waited_for = is_waited_for

    def __await__(self) -> Generator[Any, None, None]:
        if not self._task.done() and self._is_waited_for():
            raise WouldDeadlock("the kernel stops when this has ended, which awaits its stop()")
        yield from wait_until(self._task, None, self._timers).__await__()
