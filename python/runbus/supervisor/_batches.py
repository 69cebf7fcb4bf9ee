"""Handing jobs to one executor: those that are ready at the same time together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from runbus.abc import JobRef
from runbus.supervisor._time import Alarm, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from runbus._clock import AlarmClock
    from runbus.abc import Executor, Request
    from runbus.errors import RunbusError
    from runbus.supervisor._hand import Hand

__all__ = ["Batches"]

logger = logging.getLogger("runbus.supervisor")

GATHER_S, TOGETHER_S = 0.5, 120.0
"""How long jobs wait for others that were decided on with them, and that plugins still prepare; and
those of a group, which are to begin together."""

_AT_ONCE = 16
"""How many jobs are told in one turn of the loop what became of them."""

NO_ROOM_S, NO_ROOM_MAX_S = 1.0, 30.0
"""After how long a backend that had no room is asked again: at first, and at the most."""


class Batches:
    """The jobs on their way to an executor that takes several in one call.

    Args:
        executor: Where they go.
        check: Called before anything is handed over; raises if another process leads now.
        clock: By which it waits for jobs, and for room.
        group: Of which group they all are, if they are to begin together.
    """

    def __init__(
        self, executor: Executor, check: Callable[[], None], clock: AlarmClock, group: str = ""
    ) -> None:
        self._executor = executor
        self._check = check
        self._clock = clock
        self._group = group
        self._coming: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._news = Alarm(clock)
        self._is_gathering = False

    def expect(self, name: str) -> None:
        """A job will come soon: `submit` or `excuse` is called for it."""
        self._coming.add(name)

    def excuse(self, name: str) -> None:
        """A job does not come, or has come."""
        self._coming.discard(name)
        self._news.ring()

    async def submit(self, request: Request, hand: Hand, tasks: TaskGroup) -> JobRef:
        """Hand a job over together with those that are ready; return once that is done.

        Cancelling it takes the job back if it has not been handed over. One that has been is ended,
        with the grace of its hand, should the backend have taken it.

        Args:
            request: What is to be submitted.
            hand: The job's hand.
            tasks: Where the jobs are handed over.

        Raises:
            RunbusError: What `Executor.submit` raises for it.
        """
        name = request.job.name
        waiting = self._waiting[name] = _Waiting(request, hand)
        self.excuse(name)
        if not self._is_gathering:
            self._is_gathering = True
            tasks.start_soon(self._serve, name=f"submit to {self._executor.name}")
        try:
            await waiting.done.wait()
        except BaseException:
            if self._waiting.get(name) is waiting:
                del self._waiting[name]
            waiting.give_up()
            raise
        if isinstance(waiting.outcome, JobRef):
            return waiting.outcome
        assert waiting.outcome is not None
        raise waiting.outcome

    async def _serve(self) -> None:
        """Wait until the jobs that are expected have come, and hand over those that are there."""
        patience_s = TOGETHER_S if self._group else GATHER_S
        until = self._clock.monotonic() + patience_s
        while self._coming:
            self._news.clear()
            if await self._news.wait(until):
                continue
            if self._group:
                late = ", ".join(map(repr, sorted(self._coming)))
                logger.warning(
                    "group %r is submitted without %s: it has waited for %.0f s", self._group, late,
                    patience_s,
                )  # fmt: skip
            self._coming.clear()
        jobs, self._waiting = list(self._waiting.values()), {}
        self._is_gathering = False
        pause_s = NO_ROOM_S
        while jobs:
            await self._hand_over(jobs)
            left = [job for job in jobs if job.outcome is None and not job.is_given_up]
            if left:
                await sleep(self._clock, pause_s)
                pause_s = NO_ROOM_S if len(left) < len(jobs) else min(2 * pause_s, NO_ROOM_MAX_S)
            jobs = [job for job in left if not job.is_given_up]

    async def _hand_over(self, jobs: list[_Waiting]) -> None:
        """Submit jobs in one call; who waits for them is told."""
        self._check()
        with anyio.CancelScope() as scope:
            for job in jobs:
                job.scope = scope
                job.others = jobs
            outcomes = await self._executor.submit_all([job.request for job in jobs])
            with anyio.CancelScope(shield=True):
                await self._tell(jobs, outcomes)

    async def _tell(
        self, jobs: Sequence[_Waiting], outcomes: Sequence[JobRef | RunbusError | None]
    ) -> None:
        """Tell who waits for jobs what became of them; end those that nobody waits for."""
        late: dict[float, list[JobRef]] = {}
        for number, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
            if number % _AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()  # what each then does takes its time
            job.outcome = outcome
            if not job.is_given_up and outcome is not None:
                job.done.set()
            elif isinstance(outcome, JobRef):
                late.setdefault(job.hand.grace_s, []).append(outcome)
        for grace_s, refs in late.items():
            # Taken while it was given up: what was cancelled then may not have been there yet.
            await self._executor.cancel(refs, grace_s)


class _Waiting:
    """A job that waits to be handed over, or for what came of that."""

    __slots__ = ("done", "hand", "is_given_up", "others", "outcome", "request", "scope")

    def __init__(self, request: Request, hand: Hand) -> None:
        self.request = request
        self.hand = hand
        self.done = anyio.Event()
        self.outcome: JobRef | RunbusError | None = None
        self.is_given_up = False
        self.scope: anyio.CancelScope | None = None
        self.others: list[_Waiting] = []

    def give_up(self) -> None:
        """Nobody waits for this one any more; a call that nobody waits for is cut off."""
        self.is_given_up = True
        if self.scope is not None and all(one.is_given_up for one in self.others):
            self.scope.cancel()
