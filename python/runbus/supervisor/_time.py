"""Waiting by the clock that everything here goes by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus._clock import AlarmClock

__all__ = ["Alarm", "sleep"]


class Alarm:
    """Wakes what waits for it: when it is rung, or at a time.

    Args:
        clock: Whose time counts.
    """

    __slots__ = ("_clock", "_is_rung", "_waiters")

    def __init__(self, clock: AlarmClock) -> None:
        self._clock = clock
        self._is_rung = False
        self._waiters: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake all who wait, and those who will, until `clear`."""
        self._is_rung = True
        for waiter in self._waiters:
            _wake(waiter)

    def clear(self) -> None:
        """Let who waits from now on wait for the next ring."""
        self._is_rung = False

    async def wait(self, until: float | None = None) -> bool:
        """Wait for the ring, or until the clock's `monotonic` is `until`.

        Cancelling it is harmless.

        Returns:
            Whether it was rung.
        """
        if self._is_rung:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        timer = None
        if until is not None:
            delay_s = max(0.0, until - self._clock.monotonic())
            timer = self._clock.call_later(delay_s, lambda: _wake(waiter))
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)
            if timer is not None:
                timer.cancel()
        return self._is_rung


async def sleep(clock: AlarmClock, seconds: float) -> None:
    """Wait by a clock. Cancelling it is harmless."""
    await Alarm(clock).wait(clock.monotonic() + seconds)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
