"""Time is a dependency: what waits or stamps takes a `Clock`, so that tests need not sleep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SYSTEM_CLOCK", "AlarmClock", "Clock", "SystemClock", "Timer"]


class Timer(Protocol):
    """A call that was asked for and can be taken back."""

    def cancel(self) -> None:
        """Do not call; does nothing if the call was made."""
        ...


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    def time_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch; may be set back."""
        ...


class AlarmClock(Clock, Protocol):
    """A clock that also calls; `runbus.testing.FakeClock` is the other implementation."""

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the running event loop when `delay_s` seconds have passed."""
        ...


class SystemClock:
    """The operating system's clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)

    @staticmethod
    def call_later(delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the running event loop when `delay_s` seconds have passed."""
        import asyncio  # not for those who only log

        return asyncio.get_running_loop().call_later(delay_s, callback)


SYSTEM_CLOCK = SystemClock()
