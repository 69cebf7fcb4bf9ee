"""A login node of Slurm: the folders of jobs are there, and Slurm is asked about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.errors import RemoteFailed
from runbus.executors._gathered import Gathered
from runbus.executors._machine import ShellMachine
from runbus.executors._slurm.asked import ends_script, ids_script, known_script
from runbus.executors._slurm.numbers import array_of, chunks, is_id
from runbus.executors._slurm.verdict import fact_of, is_over, waits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec, Tunnel
    from runbus.executors._placement import Placement
    from runbus.executors._slurm.listing import Fact
    from runbus.executors._slurm.scheduler import Scheduler

__all__ = ["LoginNode"]

_FOLDERS = 200
"""How many folders are asked about in one go."""


class LoginNode(ShellMachine):
    """A machine that shares the cluster's files: jobs are looked up there, and ended.

    Args:
        tunnel: How to reach it.
        scheduler: How Slurm is spoken to.
    """

    def __init__(self, tunnel: Tunnel, scheduler: Scheduler) -> None:
        super().__init__(tunnel, None)
        self.scheduler = scheduler

    def lacks(self, job: JobSpec) -> bool:
        """Whether it has too few GPUs for a job: what the cluster has, only Slurm knows."""
        return False

    async def lookups(self, names: Sequence[str]) -> dict[str, Fact]:
        """Return what Slurm says about jobs of these names; it has had none of those left out.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        facts: Mapping[str, Fact] = await self.scheduler.queue()
        missing = {array_of(name) for name in names if fact_of(facts, name) is None}
        if missing:
            accounts = await self.scheduler.accounts([], sorted(missing))
            if accounts.kept and not accounts.answered:
                raise RemoteFailed(self.name, "the accounts of Slurm do not answer")
            facts = {**accounts.facts, **facts}
        found = ((name, fact_of(facts, name)) for name in names)
        return {name: fact for name, fact in found if fact is not None}

    async def has(self, placement: Placement) -> bool:
        """Whether Slurm has, or had, a job.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        if self._gathered is None:
            self._gathered = Gathered(self._had)
        return bool(await self._gathered(placement))

    _gathered: Gathered[Placement, bool] | None = None

    async def _had(self, placements: Sequence[Placement]) -> dict[Placement, bool]:
        """Say of each job whether Slurm has, or had, it."""
        found: dict[Placement, bool] = {}
        for chunk in chunks(placements, _FOLDERS):
            _, output = await self.tunnel.call(known_script([one.folder for one in chunk]))
            lines = output.split(b"\n")
            found.update((one, bool(line)) for one, line in zip(chunk, lines, strict=False))
        if open_ := [one for one in placements if not found.get(one)]:
            facts = await self.lookups([one.known_as for one in open_])
            found.update((one, one.known_as in facts) for one in open_)
        return found

    async def numbers(self, folders: Sequence[str]) -> list[str]:
        """Return the numbers that Slurm gave to attempts; empty ones where nobody knows.

        Raises:
            HostError: The machine does not answer.
        """
        _, output = await self.tunnel.call(ids_script(folders))
        lines = [line.strip().decode("ascii", "replace") for line in output.split(b"\n")]
        return [line if is_id(line) else "" for line in lines[: len(folders)]]

    async def stop(self, graces: Mapping[Placement, float]) -> set[Placement]:
        """Have attempts ended: those that wait at once, and the others by their scripts.

        Args:
            graces: The seconds between TERM and KILL of each.

        Returns:
            Those that waited, and will not begin.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        for some in chunks(list(graces), _FOLDERS):
            await self.tunnel.call(ends_script({one.folder: graces[one] for one in some}))
        # Asked after that: one that begins from now on sees that it is not to.
        alive = await self._alive(list(graces))
        waiting = {one for one, fact in alive.items() if waits(fact)}
        # Those of a group have one number: it does not begin without one of them.
        ids = dict.fromkeys(fact.id for one, fact in alive.items() if one in waiting)
        await self.scheduler.end(list(ids))
        begun = dict.fromkeys(fact.part for one, fact in alive.items() if one not in waiting)
        await self.scheduler.tell_to_end(list(begun))
        return waiting

    async def kill(self, placements: Sequence[Placement]) -> None:
        """Have Slurm end those attempts that it still has.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        alive = await self._alive(placements)
        await self.scheduler.end(list(dict.fromkeys(fact.id for fact in alive.values())))

    async def _alive(self, placements: Sequence[Placement]) -> dict[Placement, Fact]:
        """Return what Slurm says of those attempts that have not ended there.

        It is their names that tell: Slurm gives numbers again, and a number that is kept may be
        that of another job now.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        queue = await self.scheduler.queue(await self.numbers([one.folder for one in placements]))
        facts = ((one, fact_of(queue, one.known_as)) for one in placements)
        return {one: fact for one, fact in facts if fact is not None and not is_over(fact)}
