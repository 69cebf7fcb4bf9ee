"""Signals: the first ends the kernel in order, the second at once, the third the process.

The handlers are Python-level ones, so they run also while Python code blocks the event loop. What
they cannot reach is a C call that holds the interpreter; for that there is a watchdog thread in C,
armed by the first signal, which ends the process with the stacks of all threads.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAST_S", "SignalWatch"]

FAST_S = 2.0
_GRACE_S = 5.0
_FAST_GRACE_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalWatch:
    """Takes over SIGINT and SIGTERM until it is closed.

    Attributes:
        received: The first signal that came; None if none did.
    """

    def __init__(
        self, stop: Callable[[int], object], hurry: Callable[[], object], budget_s: float
    ) -> None:
        self.received: int | None = None
        self._stop = stop
        self._hurry = hurry
        self._budget_s = budget_s
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Any] = {}

    def open(self) -> None:
        """Install the handlers.

        Raises:
            RuntimeError: This is not the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("signals=True works in the main thread only; use kernel.stop()")
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)

    def close(self) -> None:
        """Put back the handlers that were there before, and disarm the watchdog."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._previous.clear()
        if self._count:
            faulthandler.cancel_dump_traceback_later()

    def _handle(self, number: int, frame: object) -> None:
        self._count += 1
        if self._count == 1:
            self.received = number
            arm_watchdog(self._budget_s + _GRACE_S)
            self._call(self._stop, number)
        elif self._count == 2:
            arm_watchdog(FAST_S + _FAST_GRACE_S)
            self._call(self._hurry)
        else:
            os._exit(128 + number)

    def _call(self, callback: Callable[..., object], *args: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *args)


def arm_watchdog(delay_s: float) -> None:
    """End the process with the stacks of all threads on stderr, unless disarmed before."""
    if sys.__stderr__ is None:
        return
    # A stderr that is closed or no real file leaves us without watchdog, but not without shutdown.
    with suppress(AttributeError, ValueError, OSError):
        faulthandler.dump_traceback_later(delay_s, exit=True, file=sys.__stderr__)
