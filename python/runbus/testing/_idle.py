"""Waiting until a bus has nothing left to do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from runbus.bus import check_bus

if TYPE_CHECKING:
    from runbus.bus import Bus

__all__ = ["idle"]

_TURNS = 3


async def idle(bus: Bus, timeout: float = 30.0) -> None:
    """Wait until nothing is dispatched, and every mailbox and the inbox are empty.

    Readers of streams have then taken every event, and have had a chance to act on the last one;
    those that are waiting for something else may still be at it. Cancellation is passed on.

    Raises:
        TimeoutError: It took longer than `timeout` seconds.
        TypeError: `bus` is not one, but perhaps the kernel itself.
    """
    check_bus(bus)
    ends = time.monotonic() + timeout
    quiet = 0
    while quiet < _TURNS:
        await asyncio.sleep(0 if quiet else 0.0005)
        quiet = quiet + 1 if bus.is_idle else 0
        if time.monotonic() > ends:
            raise TimeoutError(f"the bus was not idle within {timeout:g} s")
