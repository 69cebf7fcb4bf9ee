"""Time for the bus and the kernel: one place to read it and one way to be called later."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

from runbus.bus._cancellation import OwnCancels

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["CutOff", "LoopTimers", "TimerHandle", "Timers", "wait_until"]

# A coroutine that swallowed its cancellation is cancelled again this often.
_AGAIN_S = 0.25


class TimerHandle(Protocol):
    """A call that was asked for and can be taken back."""

    def cancel(self) -> None:
        """Do not call; does nothing if the call was made."""
        ...


class Timers(Protocol):
    """Where deadlines come from; `runbus.testing.FakeClock` is the other implementation."""

    def monotonic(self) -> float:
        """Return the same as `monotonic_ns` in seconds; sums of floats are cheaper."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start; never goes back."""
        ...

    def time_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch."""
        ...

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` on the event loop when `delay_s` seconds have passed."""
        ...


class LoopTimers:
    """The operating system's clocks, and the timers of the running event loop."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    monotonic_ns = staticmethod(time.monotonic_ns)
    time_ns = staticmethod(time.time_ns)

    @staticmethod
    def call_later(delay_s: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` on the running loop when `delay_s` seconds have passed."""
        return asyncio.get_running_loop().call_later(delay_s, callback)


async def wait_until(future: asyncio.Future[Any], delay_s: float | None, timers: Timers) -> bool:
    """Wait until `future` is done, at most `delay_s` seconds; return whether it is.

    The future is neither cancelled nor asked for its result. Cancellation passes through.
    """
    if future.done():
        return True
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    timer = timers.call_later(max(delay_s, 0.0), wake) if delay_s is not None else None
    try:
        await waiter
    finally:
        future.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return future.done()


class CutOff:
    """Cancels the task that entered it when the time is up, and takes the cancellation back.

    The task itself is cancelled, not a cancel scope: what runs inside may leave scopes and task
    groups open that outlive the block, and scopes must close in the order in which they opened.
    A block that swallows the cancellation gets it again. A cancellation by somebody else always
    continues.

    Attributes:
        fired: Whether the time ran out inside the block.
    """

    __slots__ = ("_cancels", "_delay_s", "_handle", "_timers", "fired")

    def __init__(self, delay_s: float | None, timers: Timers) -> None:
        self._delay_s = delay_s
        self._timers = timers
        self._handle: TimerHandle | None = None
        self.fired = False

    def __enter__(self) -> CutOff:
        self._cancels = OwnCancels(asyncio.current_task())
        if self._delay_s is not None:
            self.move(self._delay_s)
        return self

    def move(self, delay_s: float | None) -> None:
        """Let the time be up in `delay_s` seconds from now; never, for None."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if delay_s is not None:
            self._handle = self._timers.call_later(max(delay_s, 0.0), self._fire)

    def _fire(self) -> None:
        self.fired = True
        self._cancels.cancel()
        self._handle = self._timers.call_later(_AGAIN_S, self._fire)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.move(None)
        others = self._cancels.take_back()
        return self.fired and not others and isinstance(exc, asyncio.CancelledError)
