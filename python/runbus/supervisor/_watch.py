"""One experiment's jobs on one executor: what is seen of them, and what they write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runbus._clock import Clock
    from runbus.abc import Executor, JobRef, Observation
    from runbus.supervisor._attempt import Attempt
    from runbus.supervisor._poll import Poll, Polls
    from runbus.supervisor._run_feed import RunFeed

__all__ = ["Watch"]

TAIL_S = 0.025
"""How often output is looked for; what a job writes is on the bus well within 100 ms."""


class Watch:
    """Takes in what is seen of the attempts of one executor, and hands on what they write.

    Other experiments of this process that have jobs there are looked at in the same requests: see
    `Poll`. Output has a pace of its own.

    Args:
        executor: What runs them.
        feed: What hands on their output.
        take_in: Called with each attempt and what was seen of it, None if it was not.
        clock: Tells the time.
        polls: Those of the kernel.
    """

    def __init__(
        self,
        executor: Executor,
        feed: RunFeed,
        take_in: Callable[[Attempt, Observation | None], None],
        clock: Clock,
        polls: Polls,
    ) -> None:
        self._polls = polls
        self.executor = executor
        self._feed = feed
        self._take_in = take_in
        self._clock = clock
        self._attempts: dict[str, Attempt] = {}
        self._last: dict[str, Observation] = {}
        self._inbox: dict[str, Observation | None] = {}
        self._ticked = asyncio.Event()
        self._poll: Poll | None = None

    @property
    def attempts(self) -> Iterable[Attempt]:
        """What is to be looked at."""
        return self._attempts.values()

    def notice(self) -> bool:
        """Notice whether somebody reads what they write, or waits for them to be silent."""
        idle = (one.job.timeouts.idle_s for one in self._attempts.values())
        return self._feed.notice() or any(one is not None for one in idle)

    def add(self, attempt: Attempt) -> None:
        """Look at an attempt from now on."""
        self._attempts[attempt.job.name] = attempt
        self._last.pop(attempt.job.name, None)
        self._quicken()

    def remove(self, attempt: Attempt) -> None:
        """Look at it no more."""
        del self._attempts[attempt.job.name]
        self._inbox.pop(attempt.job.name, None)

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Have attempts ended, and look soon whether they are."""
        self._quicken()
        await self.executor.cancel(refs, grace_s)

    def deliver(self, attempt: Attempt, seen: Observation | None) -> bool:
        """Take what was seen of an attempt, None if it was not; return whether that is new."""
        name = attempt.job.name
        if self._attempts.get(name) is not attempt:
            return False  # it was taken away meanwhile
        self._inbox[name] = seen
        if seen is None or seen == self._last.get(name):
            return False
        self._last[name] = seen
        return True

    def tick(self) -> None:
        """A look, or the time for one, has passed."""
        self._ticked.set()

    async def run(self) -> None:
        """Watch until cancelled; while there is nothing to look at this costs nothing."""
        with self._polls.joined(self, self.executor, self._clock) as self._poll:
            self._quicken()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._poll.run, name=f"poll {self.executor.name}")
                await self._take_turns()

    async def _take_turns(self) -> None:
        next_tail = 0.0
        while True:
            await self._ticked.wait()
            self._ticked = asyncio.Event()
            inbox, self._inbox = self._inbox, {}
            for name, seen in inbox.items():
                if (attempt := self._attempts.get(name)) is not None:
                    self._take_in(attempt, seen)
            if (now := self._clock.monotonic()) >= next_tail:
                next_tail = now + TAIL_S
                for name in list(self._attempts):
                    await self._feed.hand_on(name)

    def _quicken(self) -> None:
        if self._poll is not None:
            self._poll.quicken()
