"""A login node of Slurm: jobs are listed there and ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from runbus.errors import RemoteFailed
from runbus.executors._gathered import Gathered
from runbus.executors._machine import ShellMachine
from runbus.executors._slurm.asked import (
    ACCOUNTS_ASK,
    LARGEST_ARRAY_ASK,
    PARTITIONS_ASK,
    QUEUE_ASK,
    VARIABLES_ASK,
    accounts_words,
    ends_script,
    ids_script,
    known_script,
    refusal,
    scancel_words,
)
from runbus.executors._slurm.listing import (
    parse_largest_array,
    parse_partitions,
    parse_sacct,
    parse_squeue,
)
from runbus.executors._slurm.numbers import array_of, compressed, is_id
from runbus.executors._slurm.verdict import Accounts, fact_of, is_over, waits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import Completed, JobSpec
    from runbus.executors._placement import Placement
    from runbus.executors._slurm.listing import Fact, Partition

__all__ = ["LoginNode", "chunks", "said_of"]

T = TypeVar("T")

_CHUNK = 100
"""How many jobs, or arrays of them, are ended in one go."""

_FOLDERS = 200
"""How many folders are asked about in one go."""


class LoginNode(ShellMachine):
    """A machine where Slurm is asked about jobs, and told to end them."""

    def lacks(self, job: JobSpec) -> bool:
        """Whether it has too few GPUs for a job: what the cluster has, only Slurm knows."""
        return False

    async def lookups(self, names: Sequence[str]) -> dict[str, Fact]:
        """Return what Slurm says about jobs of these names; it has had none of those left out.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        facts: Mapping[str, Fact] = await self.queue()
        missing = {array_of(name) for name in names if fact_of(facts, name) is None}
        if missing:
            accounts = await self.accounts([], sorted(missing))
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

    async def largest_array(self) -> int:
        """Return how many elements an array may have; 0 if nobody knows.

        Raises:
            HostError: The machine does not answer.
        """
        if self._largest is None:
            done = await self._run(LARGEST_ARRAY_ASK, timeout_s=40.0)
            self._largest = parse_largest_array(done.stdout)
        return self._largest or 0

    _largest: int | None = None

    async def queue(self) -> dict[str, Fact]:
        """Return what the controller says about all jobs of this user, by their names.

        Raises:
            HostError: It does not answer, or the machine does not.
        """
        done = await self._run(QUEUE_ASK, timeout_s=40.0)
        if done.exit_status != 0:
            raise RemoteFailed(self.name, said_of(done) or f"squeue ended with {done.exit_status}")
        return parse_squeue(done.stdout)

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        """Return what the accounts say about jobs, by their names.

        Args:
            ids: Numbers of jobs.
            names: Names of jobs whose numbers nobody knows.

        Raises:
            HostError: The machine does not answer.
        """
        facts: dict[str, Fact] = {}
        asked = [accounts_words(chunk, []) for chunk in chunks(ids, ACCOUNTS_ASK)]
        asked += [accounts_words([], chunk) for chunk in chunks(names, ACCOUNTS_ASK)]
        for words in asked:
            done = await self._run(words, timeout_s=40.0)
            if done.exit_status != 0 or done.stderr.strip():
                kept = b"accounting storage is disabled" not in done.stderr
                return Accounts(facts, answered=False, kept=kept)
            facts |= parse_sacct(done.stdout)
        return Accounts(facts, answered=True)

    async def partitions(self) -> list[Partition]:
        """Return where jobs can queue.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        done = await self._run(PARTITIONS_ASK, timeout_s=40.0)
        if done.exit_status != 0:
            raise RemoteFailed(self.name, said_of(done) or f"sinfo ended with {done.exit_status}")
        return parse_partitions(done.stdout)

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
        queue = await self.queue()
        facts = {one: fact_of(queue, one.known_as) for one in graces}
        waiting = {one for one, fact in facts.items() if fact is not None and waits(fact)}
        alive = {one: fact.id for one, fact in facts.items() if fact and not is_over(fact)}
        await self.end([number for one, number in alive.items() if one in waiting])
        await self.end([number for one, number in alive.items() if one not in waiting], "USR2")
        return waiting

    async def end(self, ids: Sequence[str], signal: str | None = None) -> None:
        """Have jobs ended at once, or send a signal to their scripts.

        Raises:
            HostError: Slurm, or the machine, does not answer.
        """
        for chunk in chunks(compressed(number for number in ids if number), _CHUNK):
            done = await self._run(scancel_words(chunk, signal), timeout_s=90.0)
            said = said_of(done)
            # Of jobs that have ended it complains as well.
            if done.exit_status != 0 and refusal(said) in {"later", "unknown"}:
                raise RemoteFailed(self.name, said)

    async def _run(
        self, words: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float
    ) -> Completed:
        """Run a program of Slurm where the machine's long-lived shell would find it.

        What a tunnel runs first, such as `module load slurm`, holds for that shell alone.
        """
        if self._variables is None:
            _, output = await self.tunnel.call(VARIABLES_ASK)
            self._variables = [one for one in output.split(b"\0") if one.partition(b"=")[2]]
        return await self.tunnel.run(
            ["env", *self._variables, *words], stdin=stdin, timeout_s=timeout_s
        )

    _variables: list[bytes] | None = None


def said_of(done: Completed) -> str:
    """Return what a program of Slurm has complained of, without its own name before it."""
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    words = [line.partition("error: ")[2] or line for line in lines if line.strip()]
    return "; ".join(word.strip() for word in words)


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in order, so many at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]
