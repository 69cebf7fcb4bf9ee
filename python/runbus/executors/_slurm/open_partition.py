"""Choosing where jobs queue that leave it open, by what the cluster said of itself lately."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from runbus.errors import PartitionMissing
from runbus.executors._slurm.choosing import choose, needs_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from runbus.executors._slurm.partitions import Partition

__all__ = ["OpenPartition"]

_LASTS_S = 30.0
"""How long it holds what the cluster said: jobs come in numbers, and others use Slurm, too."""


_ADVICE = "ask for less, or name a partition"


class OpenPartition:
    """Chooses the partitions of jobs.

    Args:
        host: The login node.
        ask: Asks what partitions there are.
    """

    def __init__(self, host: str, ask: Callable[[], Awaitable[Sequence[Partition]]]) -> None:
        self._host = host
        self._ask = ask
        self._asking = anyio.Lock()
        self._found: Sequence[Partition] = ()
        self._asked_at = float("-inf")

    async def of(self, job: str, asked: Mapping[str, str]) -> str:
        """Return the partition of a job.

        Args:
            job: Its name.
            asked: What it asks of Slurm, as options of sbatch.

        Raises:
            HostError: Slurm, or the machine, does not answer.
            PartitionMissing: None takes it.
        """
        async with self._asking:
            if time.monotonic() - self._asked_at > _LASTS_S:
                self._found = await self._ask()
                self._asked_at = time.monotonic()
        chosen, reasons = choose(needs_of(asked), self._found)
        if not chosen:
            why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
            told = f"no partition of {self._host} takes it: {why or 'it has none for this user'}"
            raise PartitionMissing(job, told, _ADVICE, tuple(reasons.items()))
        return chosen
