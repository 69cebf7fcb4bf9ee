"""Time is a dependency: what waits or stamps takes a `Clock`, so that tests need not sleep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SYSTEM_CLOCK", "AlarmClock", "Clock", "SystemClock", "Timer", "format_duration"]


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


def format_duration(seconds: float) -> str:
    """Return a time span in words: `0.31 s`, `42 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`."""
    if seconds < 9.5:
        return f"{seconds:.2g} s" if seconds >= 0.001 else "0 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for small, unit, large, above in ((60, "min", 60, "s"), (3600, "h", 24, "min")):
        if whole < small * large:
            below = small // 60
            return f"{whole // small} {unit} {whole % small // below} {above}"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
