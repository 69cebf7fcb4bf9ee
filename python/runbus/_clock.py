"""Time is a dependency: what waits or stamps takes a `Clock`, so that tests need not sleep."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    def time_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch; may be set back."""
        ...


class SystemClock:
    """The operating system's clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    time_ns = staticmethod(time.time_ns)


SYSTEM_CLOCK = SystemClock()
