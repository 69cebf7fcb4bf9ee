"""Slurm as its programs on a login node show it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.errors import ConnectionLost, HostError, RemoteFailed
from runbus.executors._slurm.asked import (
    ACCOUNTS_ASK,
    LARGEST_ARRAY_ASK,
    PARTITIONS_ASK,
    QUEUE_ASK,
    VARIABLES_ASK,
    accounts_words,
    refusal,
    scancel_words,
    submit_words,
)
from runbus.executors._slurm.listing import (
    parse_largest_array,
    parse_sacct,
    parse_squeue,
    parse_submitted,
)
from runbus.executors._slurm.numbers import chunks, compressed, whole
from runbus.executors._slurm.partitions import parse_partitions
from runbus.executors._slurm.scheduler import Scheduler, Sent
from runbus.executors._slurm.verdict import Accounts

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from runbus.abc import Completed, Tunnel
    from runbus.executors._slurm.listing import Fact
    from runbus.executors._slurm.partitions import Partition
    from runbus.executors._slurm.script import Batch

__all__ = ["Commands"]

_CHUNK = 100
"""How many jobs, or arrays of them, are ended in one go."""

_TIMED_OUT = 124
"""What `timeout` ends with."""


class Commands(Scheduler):
    """Calls sbatch, squeue, sacct and scancel.

    Args:
        tunnel: How to reach the machine that has them.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._largest: int | None = None
        self._variables: list[bytes] | None = None

    @property
    def way(self) -> Hashable:
        """See `Scheduler`. Those of this machine find their cluster by its environment."""
        return self._tunnel.way, os.environ.get("SLURM_CONF", ""), os.environ.get("PATH", "")

    async def submit(self, batch: Batch, umask: str, withheld: Sequence[str]) -> Sent:
        """Call sbatch; see `Scheduler`."""
        words = submit_words(umask, withheld)
        try:
            done = await self._run(words, stdin=batch.text, timeout_s=70.0)
        except ConnectionLost as error:
            return Sent("", f"Socket timed out: {error.reason}", "unknown")
        except HostError as error:
            return Sent("", str(error), refusal(str(error)))
        if done.exit_status == _TIMED_OUT:
            return Sent("", "Socket timed out: sbatch did not end", "unknown")
        number = parse_submitted(done.stdout) if done.exit_status == 0 else None
        said = _said_of(done)
        return Sent(number or "", said, refusal(said))

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        """Call squeue, for all jobs in any case; see `Scheduler`."""
        done = await self._run(QUEUE_ASK, timeout_s=40.0)
        if done.exit_status != 0:
            reason = _said_of(done) or f"squeue ended with {done.exit_status}"
            raise RemoteFailed(self._tunnel.name, reason)
        return parse_squeue(done.stdout)

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        """Call sacct; see `Scheduler`."""
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

    async def end(self, ids: Sequence[str]) -> None:
        """Call scancel; see `Scheduler`."""
        await self._scancel(ids, None)

    async def tell_to_end(self, ids: Sequence[str]) -> None:
        """Send their scripts a signal; see `Scheduler`."""
        await self._scancel(list(dict.fromkeys(map(whole, ids))), "USR2")

    async def _scancel(self, ids: Sequence[str], signal: str | None) -> None:
        for chunk in chunks(compressed(number for number in ids if number), _CHUNK):
            done = await self._run(scancel_words(chunk, signal), timeout_s=90.0)
            said = _said_of(done)
            # Of jobs that have ended it complains as well.
            if done.exit_status != 0 and refusal(said) in {"later", "unknown"}:
                raise RemoteFailed(self._tunnel.name, said)

    async def largest_array(self) -> int:
        """Call scontrol, once; see `Scheduler`."""
        if self._largest is None:
            done = await self._run(LARGEST_ARRAY_ASK, timeout_s=40.0)
            self._largest = parse_largest_array(done.stdout)
        return self._largest or 0

    async def partitions(self) -> list[Partition]:
        """Call sinfo and scontrol; see `Scheduler`."""
        done = await self._run(PARTITIONS_ASK, timeout_s=40.0)
        if done.exit_status != 0:
            reason = _said_of(done) or f"sinfo ended with {done.exit_status}"
            raise RemoteFailed(self._tunnel.name, reason)
        return parse_partitions(done.stdout)

    async def close(self) -> None:
        """Do nothing: who follows the jobs behind the tunnel closes it."""

    async def _run(
        self, words: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float
    ) -> Completed:
        """Run a program of Slurm where the machine's long-lived shell would find it.

        What a tunnel runs first, such as `module load slurm`, holds for that shell alone.
        """
        if self._variables is None:
            _, output = await self._tunnel.call(VARIABLES_ASK)
            self._variables = [one for one in output.split(b"\0") if one.partition(b"=")[2]]
        return await self._tunnel.run(
            ["env", *self._variables, *words], stdin=stdin, timeout_s=timeout_s
        )


def _said_of(done: Completed) -> str:
    """Return what a program of Slurm has complained of, without its own name before it."""
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    words = [line.partition("error: ")[2] or line for line in lines if line.strip()]
    return "; ".join(word.strip() for word in words)
