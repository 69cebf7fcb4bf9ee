"""The block that a kernel runs around: cancelled once when the kernel must stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio

from runbus.bus._timers import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from runbus.bus import Timers

__all__ = ["Body", "Stopping", "add_notes", "outlast"]


class Body:
    """The task that entered the kernel, and how often the kernel has cancelled it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0

    def enter(self) -> None:
        """Note that the running task is the one."""
        self._task = asyncio.current_task()

    @property
    def is_cancelled(self) -> bool:
        """Whether the kernel has cancelled it."""
        return self._cancels > 0

    def cancel(self) -> bool:
        """Cancel the block; return False if it does not run, as in a fixture."""
        if self._task is None or self._task.done():
            return False
        self._cancels += 1
        self._task.cancel()
        return True

    def take_back(self) -> bool:
        """Undo the kernel's own cancellations; return whether it had made any, and nobody else.

        Without this, the caller's outer timeouts would misfire.
        """
        if not self._cancels or asyncio.current_task() is not self._task:
            return False
        assert self._task is not None
        while self._cancels:
            self._cancels -= 1
            self._task.uncancel()
        return self._task.cancelling() == 0


class Stopping:
    """Awaits the end of a kernel's shutdown."""

    __slots__ = ("_task", "_timers")

    def __init__(self, task: asyncio.Task[None], timers: Timers) -> None:
        self._task = task
        self._timers = timers

    def __await__(self) -> Generator[Any, None, None]:
        yield from wait_until(self._task, None, self._timers).__await__()


async def outlast(task: asyncio.Task[Any], timers: Timers) -> asyncio.CancelledError | None:
    """Wait until `task` is done, whoever cancels; return the last cancellation meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await wait_until(task, None, timers)
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


def add_notes(error: BaseException, trouble: Iterable[Exception]) -> None:
    """Tell in the notes of an error what else went wrong."""
    for other in trouble:
        if other is not error:
            error.add_note(f"while the kernel stopped: {type(other).__name__}: {other}")
