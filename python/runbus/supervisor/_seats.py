"""How many jobs run at a time, in all and on each executor, and who is next."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Seats"]


class Seats:
    """Counts free seats; there is none before `set`.

    Each executor has two queues: one of the jobs that have begun before, which go first, and one of
    those that have not.
    """

    __slots__ = ("_free", "_places", "_queues", "_turns")

    def __init__(self) -> None:
        self._free = 0
        self._places: dict[str, int] = {}
        self._queues: dict[tuple[bool, str], deque[tuple[int, str]]] = {}
        self._turns = itertools.count()

    def set(self, max_parallel: int, limits: Mapping[str, int | None]) -> None:
        """Say how many there are: in all, and on each executor; None for any number."""
        self._free = max_parallel
        self._places = {name: limit for name, limit in limits.items() if limit is not None}

    def take(self, executor: str) -> None:
        """One is taken, even if there is none: a job that runs already is not asked."""
        self._add(executor, -1)

    def give_up(self, executor: str) -> None:
        """One is free again."""
        self._add(executor, 1)

    def _add(self, executor: str, number: int) -> None:
        self._free += number
        if executor in self._places:
            self._places[executor] += number

    def queue(self, name: str, executor: str, *, has_begun: bool = False) -> None:
        """Let a job wait for a seat.

        Args:
            name: The job.
            executor: Where it is to run.
            has_begun: It has had an attempt already, so it goes before those that have had none.
        """
        queue = self._queues.setdefault((not has_begun, executor), deque())
        queue.append((next(self._turns), name))

    def next(self, still_waits: Callable[[str], bool]) -> str | None:
        """Return the job whose turn it is, which waits no longer; None if no seat is free for any.

        First come, first served, those that have begun before all others; but those who wait for a
        full executor keep no others out.

        Args:
            still_waits: Whether a job still wants a seat; one that does not is forgotten.
        """
        if self._free <= 0:
            return None
        heads = []
        for (is_new, executor), queue in self._queues.items():
            while queue and not still_waits(queue[0][1]):
                queue.popleft()
            if queue and self._places.get(executor, 1) > 0:
                heads.append((is_new, *queue[0], queue))
        if not heads:
            return None
        _, _, name, queue = min(heads)
        queue.popleft()
        return name
