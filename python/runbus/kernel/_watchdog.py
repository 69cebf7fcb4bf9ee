"""Notices from another thread that the event loop is blocked, and says by whom."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.bus import Bus

__all__ = ["LagWatchdog"]

logger = logging.getLogger("runbus.kernel")

LIMIT_S = 1.0
_TICKS = 10


class LagWatchdog:
    """Asks the event loop for an answer now and then; logs the loop's stack if none comes.

    It ends with the loop, even if nobody closes it, and keeps nothing alive until then.

    Attributes:
        lag_s: How long the loop took to answer last, in seconds.
        blocked: How often it took longer than a second in which the process ran.
    """

    def __init__(self, bus: Bus, limit_s: float = LIMIT_S) -> None:
        self.lag_s = 0.0
        self.blocked = 0
        self._bus = weakref.ref(bus)
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._loop_clock = time.pthread_getcpuclockid(self._loop_thread)
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runbus watchdog", daemon=True)

    def open(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._waits(self._limit_s):
            asked, used_s = time.monotonic(), self._used_s()
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:
                return
            if not self._answers(used_s) and not self._loop.is_closed():
                self.blocked += 1
                self._report()
            while not self._wake.wait(self._limit_s):
                if self._loop.is_closed():  # and with it the question
                    return
            self.lag_s = time.monotonic() - asked

    def _waits(self, delay_s: float) -> bool:
        """Wait for `delay_s` seconds or the end; return whether it is the end."""
        self._wake.clear()
        if not self._ended:  # which may have come before that line
            self._wake.wait(delay_s)
        return self._ended

    def _answers(self, used_s: float) -> bool:
        """Wait for the answer; return whether it came before the process had run for the limit.

        While the process is stopped, or the whole machine, no thread runs, and nobody is to blame:
        then a tick, the time that this thread waits, passes once, no matter how long it took. It
        takes as long where C code keeps the interpreter: that uses processor time.

        Args:
            used_s: The processor time of the loop's thread when it was asked, in seconds.
        """
        tick_s = self._limit_s / _TICKS
        ran_s = 0.0
        while ran_s < self._limit_s:
            if self._wake.wait(tick_s):
                return True
            before_s, used_s = used_s, self._used_s()
            ran_s += max(tick_s, used_s - before_s)
        return False

    def _used_s(self) -> float:
        """Return the processor time of the loop's thread, in seconds; 0 once it has ended."""
        try:
            return time.clock_gettime(self._loop_clock)
        except OSError:
            return 0.0

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        bus = self._bus()
        who = bus.running_in(asyncio.current_task(self._loop)) if bus is not None else None
        logger.error(
            "%s has blocked the event loop for more than %g s:\n%s",
            f"plugin {who[0]!r}: {who[1]}" if who else "something outside of the bus",
            self._limit_s,
            stack,
        )
