"""Looking at all jobs of one executor, for every experiment that has some there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import anyio

from runbus.supervisor._pace import FASTEST_S, POLLED_SLOWEST_S, PUSHED_SLOWEST_S, Pace

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
        slowest_s = PUSHED_SLOWEST_S if executor.capabilities.pushes else POLLED_SLOWEST_S
        self.executor = executor
        self.watchers: list[Watcher] = []
        self._clock = clock
        self._turn = anyio.Lock()
        self._added = anyio.Event()
        self._pace = Pace(executor.limits().observe_s, slowest_s)

    def quicken(self) -> None:
        """Look soon, because something was done, or there is more to look at."""
        self._pace.quicken()
        self._added.set()

    async def run(self) -> None:
        """Look until cancelled; while there is nothing to look at this costs nothing."""
        async with self._turn:
            while True:
                if not any(list(one.attempts) for one in self.watchers):
                    self._added = anyio.Event()
                    await self._added.wait()
                wait_s = min(FASTEST_S, self._pace.wait_s(self._clock.monotonic()))
                if await self.executor.wait_for_change(wait_s):
                    self._pace.quicken(at_once=True)
                now = self._clock.monotonic()
                if not self._pace.wait_s(now):
                    self._pace.looked(now, has_changed=await self._look())
                for watcher in self.watchers:
                    watcher.tick()

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
