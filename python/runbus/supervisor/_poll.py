"""Looking at all jobs of one executor, for every experiment that has some there."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import anyio

from runbus.supervisor._pace import (
    FASTEST_S,
    NOTICE_S,
    POLLED_SLOWEST_S,
    PUSHED_SLOWEST_S,
    UNREAD_S,
    Pace,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runbus._clock import Clock
    from runbus.abc import Executor, Observation
    from runbus.bus import Bus
    from runbus.supervisor._attempt import Attempt

__all__ = ["Poll", "Polls", "Watcher", "polls_of"]


class Watcher(Protocol):
    """One experiment's interest in the jobs of an executor."""

    @property
    def attempts(self) -> Iterable[Attempt]:
        """What is to be looked at."""
        ...

    def notice(self) -> bool:
        """Notice whether somebody waits for what the jobs write, and return it."""
        ...

    def deliver(self, attempt: Attempt, seen: Observation | None) -> bool:
        """Take what was seen of an attempt, None if it was not; return whether that is new."""
        ...

    def tick(self) -> None:
        """A look, or the time for one, has passed."""
        ...


class Poll:
    """Looks at the attempts of one executor, all in one request, for all who watch some of them.

    How often depends on what happens: see `Pace`. Each who watches calls `run`; one of them looks
    for all, and when that one leaves the next continues.

    Args:
        executor: What runs them.
        clock: Tells the time.
    """

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._pushes = executor.capabilities.pushes
        slowest_s = PUSHED_SLOWEST_S if self._pushes else POLLED_SLOWEST_S
        self.executor = executor
        self.watchers: list[Watcher] = []
        self._clock = clock
        self._turn = anyio.Lock()
        self._added = asyncio.Event()
        self._wait = anyio.CancelScope()
        self._pace = Pace(executor.limits().observe_s, slowest_s)

    def quicken(self) -> None:
        """Look soon, because something was done, or there is more to look at."""
        if self._pace.quicken():
            self._wait.cancel()
        self._added.set()

    async def run(self) -> None:
        """Look until cancelled; while there is nothing to look at this costs nothing."""
        async with self._turn:
            while True:
                if not any(list(one.attempts) for one in self.watchers):
                    self._added = asyncio.Event()
                    await self._added.wait()
                noticed = [one.notice() for one in self.watchers]
                is_read = any(noticed)
                wait_s = self._pace.wait_s(self._clock.monotonic())
                if await self._wait_for_change(min(FASTEST_S if is_read else NOTICE_S, wait_s)):
                    self._pace.quicken(at_once=True)
                now = self._clock.monotonic()
                if is_due := not self._pace.wait_s(now):
                    slowest_s = UNREAD_S if self._pushes and not is_read else None
                    has_changed = await self._look()
                    self._pace.looked(now, has_changed=has_changed, slowest_s=slowest_s)
                for watcher in self.watchers if is_due or is_read else ():
                    watcher.tick()

    async def _wait_for_change(self, wait_s: float) -> bool:
        """Wait until the backend tells something, there is more to look at, or some time is over.

        Returns:
            Whether it told something.
        """
        with anyio.CancelScope() as self._wait:
            return await self.executor.wait_for_change(wait_s)
        return False

    async def _look(self) -> bool:
        """Look at every attempt and return whether anything was new."""
        asked = [(one, attempt) for one in self.watchers for attempt in one.attempts]
        seen = await self.executor.observe([attempt.ref for _, attempt in asked])
        # Each gets its own, whatever the others make of theirs.
        news = [one.deliver(attempt, seen.get(attempt.ref)) for one, attempt in asked]
        return any(news)


class Polls:
    """The polls of one kernel: one for each executor that somebody watches."""

    def __init__(self) -> None:
        self._running: dict[int, Poll] = {}

    @contextmanager
    def joined(self, watcher: Watcher, executor: Executor, clock: Clock) -> Iterator[Poll]:
        """Let an experiment's jobs be looked at together with others' on the same executor."""
        poll = self._running.get(id(executor)) or Poll(executor, clock)
        self._running[id(executor)] = poll
        poll.watchers.append(watcher)
        try:
            yield poll
        finally:
            poll.watchers.remove(watcher)
            if not poll.watchers:
                del self._running[id(executor)]


_of_kernels: WeakKeyDictionary[Bus, Polls] = WeakKeyDictionary()


def polls_of(bus: Bus) -> Polls:
    """Return the polls of the kernel that a bus belongs to: its experiments share them."""
    return _of_kernels.setdefault(bus, Polls())
