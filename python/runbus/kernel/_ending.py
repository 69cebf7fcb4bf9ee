"""Bringing things to an end: waits that no cancellation cuts short, and one deadline for them all.

A task that is cancelled while it cleans up must still clean up. That is safe only because every
such wait here has a limit.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from runbus.bus import add_note, describe, wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from runbus.bus import Timers

__all__ = ["AGAIN_S", "EXITS", "Deadline", "Work", "add_notes", "end_tasks", "endure"]

T = TypeVar("T")

EXITS = (SystemExit, KeyboardInterrupt)
"""What ends the program: it is no failure of a plugin, and passes through everything."""

AGAIN_S = 0.25
"""How often a task that swallowed its cancellation is cancelled again."""

_LEAST_S = 0.05


class Deadline:
    """When something must have ended by itself, and when it is left behind; can be moved.

    Attributes:
        soft_ns: What runs on after this is cancelled, by the monotonic clock of the timers.
        hard_ns: What ignored that until now is left behind.
    """

    __slots__ = ("_timers", "hard_ns", "soft_ns")

    def __init__(self, timers: Timers, soft_s: float, grace_s: float) -> None:
        self._timers = timers
        self.move(soft_s, grace_s)

    def move(self, soft_s: float, grace_s: float) -> None:
        """Let it be in `soft_s` seconds from now, and `grace_s` seconds after that."""
        self.soft_ns = self._timers.monotonic_ns() + round(soft_s * 1e9)
        self.hard_ns = self.soft_ns + round(grace_s * 1e9)

    def left_s(self) -> float:
        """Return the seconds left until the soft end; negative after it."""
        return (self.soft_ns - self._timers.monotonic_ns()) / 1e9

    def hard_left_s(self) -> float:
        """Return the seconds left until the hard end; negative after it."""
        return (self.hard_ns - self._timers.monotonic_ns()) / 1e9

    def middle_left_s(self) -> float:
        """Return the seconds left until the middle of the grace; negative after it."""
        return ((self.soft_ns + self.hard_ns) // 2 - self._timers.monotonic_ns()) / 1e9

    def share_s(self, parts: int) -> float:
        """Return an equal share of the time left for each of `parts`; at least 50 ms."""
        return max(self.left_s() / parts, _LEAST_S)

    def grace_s(self, parts: int, soft_s: float, most_s: float) -> float:
        """Return how long the next of `parts` may ignore its cancellation after `soft_s` seconds.

        The graces of all parts come out of one, so that many stubborn parts last no longer than
        one does, but for 50 ms each.
        """
        return min(max((self.hard_left_s() - soft_s) / parts, _LEAST_S), most_s)


async def endure(
    future: asyncio.Future[Any], delay_s: float | None, timers: Timers
) -> asyncio.CancelledError | None:
    """Wait until `future` is done or the time is up, even if cancelled meanwhile.

    Returns:
        The last cancellation; it is for the caller to pass on.
    """
    ends_ns = None if delay_s is None else timers.monotonic_ns() + round(delay_s * 1e9)
    try:
        await wait_until(future, delay_s, timers)
    except asyncio.CancelledError as error:
        cancelled = error
    else:
        return None
    # A cancel scope cancels every await anew, so this one must not be reached by it.
    with anyio.CancelScope(shield=True):
        while not future.done():
            left_s = None if ends_ns is None else (ends_ns - timers.monotonic_ns()) / 1e9
            if left_s is not None and left_s <= 0:
                break
            try:
                await wait_until(future, left_s, timers)
            except asyncio.CancelledError as error:
                cancelled = error
    return cancelled


async def end_tasks(
    tasks: Iterable[asyncio.Task[Any]], deadline: Deadline, timers: Timers
) -> list[asyncio.Task[Any]]:
    """Cancel tasks again and again until they ended; return those that ignore it.

    They are given up in the middle of the grace: the rest of it is for closing what they used.
    Every task is cancelled at least once, and gets at least one turn.
    """
    running = [task for task in tasks if not task.done()]
    while running:
        for task in running:
            task.cancel()
        for task in running:
            await endure(task, min(max(deadline.middle_left_s(), 0.0), AGAIN_S), timers)
        running = [task for task in running if not task.done()]
        if deadline.middle_left_s() <= 0:
            break
    return running


class Work(Generic[T]):
    """Something done in a task of its own, whose error is kept instead of being raised there.

    A SystemExit that leaves a task ends the event loop; so it must not leave one.

    Attributes:
        task: The task.
        error: What it raised, if it did.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], name: str) -> None:
        self.error: BaseException | None = None
        self._value: T | None = None
        self.task = asyncio.get_running_loop().create_task(self._run(coroutine), name=name)

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> None:
        try:
            self._value = await coroutine
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error

    def result(self) -> T | None:
        """Return what came out of it; None if it was cancelled or is not done.

        Raises:
            BaseException: What it raised.
        """
        if self.error is not None:
            raise self.error
        return self._value


def add_notes(error: BaseException, trouble: Iterable[BaseException]) -> None:
    """Tell in the notes of an error what else went wrong."""
    for other in trouble:
        if other is not error:
            add_note(error, f"while the kernel stopped: {describe(other)}")
