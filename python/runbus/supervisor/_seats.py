"""How many jobs run at a time: in all, and on each executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import Executor

__all__ = ["Seats"]


class Seats:
    """A job needs a place on its executor, and then one of the experiment's.

    In this order, so that jobs which wait for a full executor keep none of the others out.

    Args:
        executors: The executors by name.
        max_parallel: How many jobs run at a time in all.
    """

    def __init__(self, executors: Mapping[str, Executor], max_parallel: int) -> None:
        self._waiting: set[anyio.CancelScope] = set()
        self._all = anyio.Semaphore(max_parallel)
        self._places = {
            name: anyio.Semaphore(limit)
            for name, executor in executors.items()
            if (limit := executor.limits().jobs) is not None and limit < max_parallel
        }

    async def take(self, executor: str) -> bool:
        """Wait for a seat of a job on an executor; first come, first served.

        Returns:
            Whether it has one; not if `look_again` was called before.
        """
        with anyio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                await self._take(executor)
                return True
            finally:
                self._waiting.discard(scope)
        return False

    def look_again(self) -> None:
        """Have all who wait for a seat look whether they still want one."""
        for scope in self._waiting:
            scope.cancel()

    async def _take(self, executor: str) -> None:
        place = self._places.get(executor)
        if place is not None:
            await place.acquire()
        try:
            await self._all.acquire()
        except BaseException:
            if place is not None:
                place.release()
            raise

    def give_back(self, executor: str) -> None:
        """Let the next one have it."""
        self._all.release()
        if (place := self._places.get(executor)) is not None:
            place.release()
