"""Asking Slurm about all jobs that a process has at a login node, for all who follow some there."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import anyio

from runbus.errors import HostError
from runbus.executors._slurm.asked import ACCOUNTS_ASK
from runbus.executors._slurm.verdict import Accounts, Standing, noted

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from runbus.executors._host import FollowedJob
    from runbus.executors._slurm.listing import Fact
    from runbus.executors._slurm.login import LoginNode

__all__ = ["Poll", "poll_of"]

logger = logging.getLogger("runbus.executors")

_QUICK_S = 0.5
"""Least time between two questions to Slurm, whatever the reason."""

_SLOWEST = 6
"""How many times as long as at first the pause becomes while nothing changes."""

_ALONE = 50
"""Of how many elements of an array the accounts are asked by their own numbers, at the most."""


class Watcher(Protocol):
    """Who follows jobs at the login node.

    Attributes:
        poll_s: How often it is to be asked, in seconds, while things happen there.
        standings: What Slurm has said of jobs, by their folders here.
        numbers: Their numbers, as far as they are known.
    """

    poll_s: float
    standings: dict[str, Standing]
    numbers: dict[str, str]

    @property
    def machine(self) -> LoginNode:
        """What asks Slurm."""
        ...

    def open_jobs(self) -> list[FollowedJob]:
        """Return the jobs that Slurm is to be asked about."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether there is something to ask, or to end."""
        ...

    async def end_jobs(self) -> None:
        """Have those jobs ended whose end was asked for."""
        ...

    def told(self) -> None:
        """Something is otherwise than before."""
        ...


class _Asked(NamedTuple):
    """A job, and who follows it."""

    watcher: Watcher
    job: FollowedJob

    @property
    def number(self) -> str:
        """What Slurm calls it; empty while unknown."""
        return self.watcher.numbers.get(self.job.ref.folder, "")


class Poll:
    """Asks the controller once, and the accounts once, about all jobs at one login node.

    The pause grows while nothing changes. Each who watches calls `run`; one of them asks for all,
    and when that one leaves the next continues.

    Attributes:
        silence: What is wrong with Slurm; empty if it answers.
        asked_at: When the last question was asked that it has answered, by a clock that is not set.
    """

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.silence = ""
        self.asked_at = float("-inf")
        self._turn = anyio.Lock()
        self._ask = anyio.Event()
        self._skipped = 0

    def wake(self) -> None:
        """Ask soon."""
        self._ask.set()

    async def run(self, watcher: Watcher) -> None:
        """Ask until cancelled; while there is nothing to ask this costs nothing."""
        self.watchers.append(watcher)
        self.wake()
        try:
            async with self._turn:
                await self._lead(watcher)
        finally:
            self.watchers.remove(watcher)

    async def _lead(self, leader: Watcher) -> None:
        pause = 0.0
        while True:
            while not any(one.has_work for one in self.watchers):
                self._ask = anyio.Event()
                await self._ask.wait()
            self._ask = anyio.Event()
            began = time.monotonic()
            poll_s = min(one.poll_s for one in self.watchers)
            slower = min(max(1.5 * pause, poll_s), _SLOWEST * poll_s)
            try:
                await leader.machine.prepare()
                for watcher in list(self.watchers):
                    await watcher.end_jobs()
                asked_at = time.monotonic()
                changed = await self._look(leader)
                self.asked_at = asked_at
                self._complain(leader, None)
                pause = poll_s if changed else slower
            except HostError as error:
                self._complain(leader, error)
                pause = slower
            await anyio.sleep(min(_QUICK_S, pause))
            with anyio.move_on_after(max(0.0, began + pause - time.monotonic())):
                await self._ask.wait()
                pause = 0.0

    async def _look(self, leader: Watcher) -> bool:
        """Ask the controller, and the accounts about what it leaves open.

        Returns:
            Whether anything is otherwise than before.

        Raises:
            HostError: The controller does not answer, or the machine does not.
        """
        asked = [_Asked(one, job) for one in self.watchers for job in one.open_jobs()]
        if not asked:
            return False
        queue: dict[str, Fact] | None = None
        failure: HostError | None = None
        try:
            queue = await leader.machine.scheduler.queue([one.number for one in asked])
        except HostError as error:
            failure = error
        # What has begun or ended is looked at while the accounts take their time.
        changed = _note(asked, queue, _NOTHING, set())
        accounts, told_of = await self._accounts(leader.machine, asked, queue)
        changed |= _note(asked, queue, accounts, told_of)
        if failure is not None:
            raise failure
        return changed

    async def _accounts(
        self, machine: LoginNode, asked: Sequence[_Asked], queue: Mapping[str, Fact] | None
    ) -> tuple[Accounts, set[str]]:
        """Ask the accounts, in one call, about jobs of which the controller says nothing final.

        Returns:
            What they say, and the folders of the jobs that this is about: those that did not fit
            into the call have their turn next time.
        """
        open_ = [one for one in asked if _is_open(one, queue)]
        await self._learn_numbers(machine, open_)
        # Whose turn it was not the last time come first.
        start = self._skipped % len(open_) if open_ else 0
        open_ = open_[start:] + open_[:start]
        ids: dict[str, None] = {}
        names: dict[str, None] = {}
        about: set[str] = set()
        elements: dict[str, int] = {}
        for one in open_:
            array = one.number.partition("_")[0]
            elements[array] = elements.get(array, 0) + 1
        for one in open_:
            number = one.number
            array, is_element, _ = number.partition("_")
            if is_element and elements[array] > _ALONE:
                number = array
            wanted, key = (ids, number) if number else (names, one.job.placement.known_as)
            if key not in wanted and len(wanted) == ACCOUNTS_ASK:
                continue
            wanted[key] = None
            about.add(one.job.ref.folder)
        if len(about) < len(open_):
            self._skipped = start + len(about)
            self._ask.set()
        return await machine.scheduler.accounts(list(ids), list(names)), about

    async def _learn_numbers(self, machine: LoginNode, asked: Sequence[_Asked]) -> None:
        unknown = [one for one in asked if not one.number][:ACCOUNTS_ASK]
        if unknown:
            kept = await machine.numbers([one.job.placement.folder for one in unknown])
            for one, number in zip(unknown, kept, strict=False):
                one.watcher.numbers[one.job.ref.folder] = number

    def _complain(self, leader: Watcher, error: HostError | None) -> None:
        """Report to the logger what is wrong with Slurm, once until that changes."""
        told = "" if error is None else str(error)
        if told and told != self.silence:
            logger.warning("%s; no state changes until Slurm answers", told)
        elif self.silence and not told:
            logger.info("Slurm answers again at %s", leader.machine.name)
        self.silence = told


def _note(
    asked: Sequence[_Asked], queue: Mapping[str, Fact] | None, accounts: Accounts, about: set[str]
) -> bool:
    """Take in what was said of jobs, and tell who follows them; return whether anything is new.

    Args:
        asked: The jobs.
        queue: What the controller says; None if it failed.
        accounts: What the accounts say.
        about: The folders of the jobs that they were asked about.
    """
    now = time.monotonic()
    changed: dict[int, Watcher] = {}
    for one in asked:
        folder = one.job.ref.folder
        before = one.watcher.standings.get(folder, Standing())
        said = accounts if folder in about else _NOTHING
        after = noted(before, one.job.placement.known_as, queue, said, now)
        if after != before:
            one.watcher.standings[folder] = after
            changed[id(one.watcher)] = one.watcher
        if after.fact is not None:
            one.watcher.numbers[folder] = after.fact.id
    for watcher in changed.values():
        watcher.told()
    return bool(changed)


def _is_open(one: _Asked, queue: Mapping[str, Fact] | None) -> bool:
    """Whether the accounts have something to say about a job that the controller has not."""
    fact = queue.get(one.job.placement.known_as) if queue is not None else None
    return fact is None or noted(Standing(), fact.name, queue, _NOTHING, 0.0).is_over


_NOTHING = Accounts({}, answered=False)

_polls: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Poll]] = WeakKeyDictionary()


def poll_of(way: Hashable) -> Poll:
    """Return what asks Slurm: one for all who have the same way to it; see `Scheduler.way`."""
    polls = _polls.setdefault(asyncio.get_running_loop(), {})
    for known in [known for known, poll in polls.items() if not poll.watchers]:
        del polls[known]
    return polls.setdefault(way, Poll())
