"""How many jobs run at a time, in all and on each executor, and who is next."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Queue = deque[tuple[int, Sequence[tuple[str, str]]]]
    """The turn of each, and its jobs with their executors: those of a group begin together."""

__all__ = ["Seats"]


class Seats:
    """Counts free seats; there is none before `set`.

    Each executor has two queues: one of the jobs that have begun before, which go first, and one of
    those that have not. A group waits in the queue of the first of its jobs.
    """

    __slots__ = ("_all", "_apart", "_free", "_places", "_queues", "_turns")

    def __init__(self) -> None:
        self._all = self._free = 0
        self._apart: set[str] = set()
        self._places: dict[str, int] = {}
        self._queues: dict[tuple[bool, str], Queue] = {}
        self._turns = itertools.count()

    def set(self, max_parallel: int, limits: Mapping[str, int | None]) -> None:
        """Say how many there are: in all, and on each executor; None for any number."""
        self._all = self._free = max_parallel
        self._places = {name: limit for name, limit in limits.items() if limit is not None}

    def add(self, executor: str, limit: int | None) -> None:
        """Say how many a further executor has; None for any number."""
        if limit is not None:
            self._places[executor] = limit

    def set_apart(self, executor: str) -> None:
        """Let the jobs of an executor run besides all others, before it has any."""
        self._apart.add(executor)

    def has_room(self, count: int, executor: str = "") -> bool:
        """Whether so many jobs never have to wait for a seat, but for those of their executors.

        Args:
            count: How many there are.
            executor: Where the one runs that this is about; empty for one that is counted.
        """
        return executor in self._apart or count <= self._all

    def is_limited(self, executor: str) -> bool:
        """Whether an executor has no more than a number of them."""
        return executor in self._places

    def take(self, executor: str) -> None:
        """One is taken, even if there is none: a job that runs already is not asked."""
        self._add(executor, -1)

    def give_up(self, executor: str) -> None:
        """One is free again."""
        self._add(executor, 1)

    def _add(self, executor: str, number: int) -> None:
        if executor not in self._apart:
            self._free += number
        if executor in self._places:
            self._places[executor] += number

    def queue(self, jobs: Sequence[tuple[str, str]], *, has_begun: bool = False) -> None:
        """Let a job, or several that begin together, wait for seats.

        Args:
            jobs: Their names, and where they are to run.
            has_begun: It has had an attempt already, so it goes before those that have had none.
        """
        queue = self._queues.setdefault((not has_begun, jobs[0][1]), deque())
        queue.append((next(self._turns), jobs))

    def next(self, still_waits: Callable[[str], bool]) -> list[str]:
        """Return the jobs whose turn it is, which wait no longer; none if no seat is free for any.

        First come, first served, those that have begun before all others; but those who wait for a
        full executor keep no others out. A group for which seats are too few in all keeps others
        out, or its turn would never come.

        Args:
            still_waits: Whether a job still wants a seat; one that does not is forgotten.
        """
        if self._free <= 0 and not self._apart:
            return []
        heads = []
        for (is_new, executor), queue in self._queues.items():
            while queue and not any(still_waits(name) for name, _ in queue[0][1]):
                queue.popleft()
            if queue and self._places.get(executor, 1) > 0:
                heads.append((is_new, *queue[0], queue))
        free = self._free
        for _, _, jobs, queue in sorted(heads) if len(heads) > 1 else heads:
            waiting = jobs if len(jobs) == 1 else [one for one in jobs if still_waits(one[0])]
            counted = sum(executor not in self._apart for _, executor in waiting)
            if counted > free:
                free = 0
                continue
            if len(jobs) == 1 or self._has_places(waiting):
                queue.popleft()
                return [name for name, _ in waiting]
        return []

    def _has_places(self, jobs: Sequence[tuple[str, str]]) -> bool:
        wanted = Counter(executor for _, executor in jobs)
        return all(self._places.get(name, count) >= count for name, count in wanted.items())
