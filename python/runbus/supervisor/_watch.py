"""Looking at all jobs of one executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.supervisor._pace import FASTEST_S, POLLED_SLOWEST_S, PUSHED_SLOWEST_S, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus._clock import Clock
    from runbus.abc import Executor, JobRef, Observation
    from runbus.supervisor._attempt import Attempt
    from runbus.supervisor._run_feed import RunFeed

__all__ = ["Watch"]

TAIL_S = 0.025
"""How often output is looked for; what a job writes is on the bus well within 100 ms."""


class Watch:
    """Looks at the attempts of one executor, all in one request, and hands on what they write.

    How often depends on what happens: see `Pace`. Output has a pace of its own.

    Args:
        executor: What runs them.
        feed: What hands on their output.
        take_in: Called with each attempt and what was seen of it, None if it was not; returns
            whether that was new.
        clock: Tells the time.
    """

    def __init__(
        self,
        executor: Executor,
        feed: RunFeed,
        take_in: Callable[[Attempt, Observation | None], bool],
        clock: Clock,
    ) -> None:
        slowest_s = PUSHED_SLOWEST_S if executor.capabilities.pushes else POLLED_SLOWEST_S
        self.executor = executor
        self._feed = feed
        self._take_in = take_in
        self._clock = clock
        self._attempts: dict[str, Attempt] = {}
        self._added = anyio.Event()
        self._pace = Pace(executor.limits().observe_s, slowest_s)

    def add(self, attempt: Attempt) -> None:
        """Look at an attempt from now on."""
        self._attempts[attempt.job.name] = attempt
        self._pace.quicken()
        self._added.set()

    def remove(self, attempt: Attempt) -> None:
        """Look at it no more."""
        del self._attempts[attempt.job.name]

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Have attempts ended, and look soon whether they are."""
        self._pace.quicken()
        await self.executor.cancel(refs, grace_s)

    async def run(self) -> None:
        """Look until cancelled; while there is nothing to look at this costs nothing."""
        next_tail = 0.0
        while True:
            if not self._attempts:
                self._added = anyio.Event()
                await self._added.wait()
            wait_s = min(FASTEST_S, self._pace.wait_s(self._clock.monotonic()))
            if await self.executor.wait_for_change(wait_s):
                self._pace.quicken(at_once=True)
            now = self._clock.monotonic()
            if not self._pace.wait_s(now):
                self._pace.looked(now, has_changed=await self._look())
            if now >= next_tail:
                next_tail = now + TAIL_S
                for name in list(self._attempts):
                    await self._feed.hand_on(name)

    async def _look(self) -> bool:
        """Look at every attempt and return whether anything was new."""
        attempts = list(self._attempts.values())
        seen = await self.executor.observe([attempt.ref for attempt in attempts])
        # Some may have been taken away meanwhile.
        news = [
            self._take_in(one, seen.get(one.job.name))
            for one in attempts
            if self._attempts.get(one.job.name) is one
        ]
        return any(news)
