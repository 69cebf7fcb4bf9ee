"""What is to be done for one job, one thing after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from runbus.events import JobFact
    from runbus.supervisor._decisions import Decision

__all__ = ["Hand"]


class Hand:
    """Holds what was decided for a job until the job's task comes to it.

    Never more than a few things: until one that takes time is done, nothing but the end of the job
    is decided.

    Attributes:
        grace_s: Seconds between TERM and KILL for a job whose submission was given up.
    """

    __slots__ = ("_is_withdrawn", "_news", "_scope", "_waiting", "grace_s")

    def __init__(self) -> None:
        self._waiting: deque[Decision | JobFact] = deque()
        self._news = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._is_withdrawn = False
        self.grace_s = 0.0

    def put(self, task: Decision | JobFact) -> None:
        """Have something done after what waits already."""
        self._waiting.append(task)
        self._news.set()

    @property
    def is_busy(self) -> bool:
        """Whether there is something to do."""
        return bool(self._waiting)

    async def take(self) -> Decision | JobFact:
        """Wait for the next thing to do. Cancelling it loses nothing."""
        while not self._waiting:
            self._news = asyncio.Event()
            await self._news.wait()
        return self._waiting.popleft()

    def withdraw(self, grace_s: float) -> None:
        """Cut off what is withdrawable, now or as soon as it begins."""
        self.grace_s = grace_s
        if self._scope is None:
            self._is_withdrawn = True
        else:
            self._scope.cancel()

    def withdrawable(self) -> anyio.CancelScope:
        """Return a scope that `withdraw` cuts off, also if it was called before."""
        scope = self._scope = anyio.CancelScope()
        if self._is_withdrawn:
            self._is_withdrawn = False
            scope.cancel()
        return scope

    def submitted(self) -> None:
        """Nothing is withdrawable any more."""
        self._scope = None
