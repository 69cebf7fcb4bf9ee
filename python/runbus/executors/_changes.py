"""Whether something has changed since it was last asked."""

from __future__ import annotations

import asyncio

import anyio

__all__ = ["Changes"]


class Changes:
    """What an executor notes, and `Executor.wait_for_change` waits for; there is one who waits."""

    def __init__(self) -> None:
        self._noted = asyncio.Event()

    def note(self) -> None:
        """Note that something has changed."""
        self._noted.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return whether something has changed since the last call, at once or within some seconds.

        Cancelled, it leaves what was noted to the next call.
        """
        with anyio.move_on_after(timeout_s):
            await self._noted.wait()
        if has_changed := self._noted.is_set():
            self._noted = asyncio.Event()
        return has_changed
