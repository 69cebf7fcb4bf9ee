"""Looking at all jobs of one executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from runbus.supervisor._pace import FASTEST_S, POLLED_SLOWEST_S, PUSHED_SLOWEST_S, Pace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runbus._clock import Clock
    from runbus.abc import Executor, Observation
    from runbus.bus import Bus
    from runbus.supervisor._attempt import Attempt

__all__ = ["Watch"]

TAIL_S = 0.025
"""How often output is looked for; what a job writes is on the bus well within 100 ms."""


class Watch:
    """Looks at the attempts of one executor, all in one request, and hands on what they write.

    How often depends on what happens: see `Pace`. Output has a pace of its own.

    Args:
        executor: What runs them.
        bus: Where their output goes.
        take_in: Called with each attempt that is not over and what was seen of it, None if it was
            not; returns whether that was new.
        clock: Tells the time.
    """

    def __init__(
        self,
        executor: Executor,
        bus: Bus,
        take_in: Callable[[Attempt, Observation | None], Awaitable[bool]],
        clock: Clock,
    ) -> None:
        slowest_s = PUSHED_SLOWEST_S if executor.capabilities.pushes else POLLED_SLOWEST_S
        self.executor = executor
        self._bus = bus
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

    async def cancel(self, job: str | None, grace_s: float) -> None:
        """Have the attempt of a job, or all, ended; None means all."""
        refs = [one.ref for name, one in self._attempts.items() if job in (None, name)]
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
                for attempt in self._unfinished():
                    await attempt.output.hand_on(self._bus)

    def _unfinished(self) -> list[Attempt]:
        return [one for one in self._attempts.values() if not one.ended.is_set()]

    async def _look(self) -> bool:
        """Look at every attempt and return whether anything was new."""
        attempts = self._unfinished()
        seen = await self.executor.observe([attempt.ref for attempt in attempts])
        news = [await self._take_in(one, seen.get(one.job.name)) for one in attempts]
        return any(news)
