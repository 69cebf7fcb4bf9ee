"""How Slurm is spoken to: the port behind which its programs are, or its REST server."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from runbus.executors._slurm.asked import Refusal
    from runbus.executors._slurm.listing import Fact
    from runbus.executors._slurm.partitions import Partition
    from runbus.executors._slurm.script import Batch
    from runbus.executors._slurm.verdict import Accounts

__all__ = ["Scheduler", "Sent"]


class Sent(NamedTuple):
    """What came of handing jobs over.

    Attributes:
        number: What Slurm calls them; empty if it does not have them, or has not said so.
        said: What it said instead.
        refusal: What that means for them.
    """

    number: str = ""
    said: str = ""
    refusal: Refusal = "refused"


class Scheduler(Protocol):
    """Tells Slurm what to do and asks it about all jobs of a user. Knows nothing of files."""

    @property
    def way(self) -> Hashable:
        """What is the same for all who ask the same cluster as the same user."""
        ...

    async def submit(self, batch: Batch, umask: str, withheld: Sequence[str]) -> Sent:
        """Hand over an attempt, or an array of them, once.

        Args:
            batch: What Slurm gets.
            umask: The user's own.
            withheld: Variables of this side's environment that jobs must not get.
        """
        ...

    async def queue(self, ids: Sequence[str] = ()) -> dict[str, Fact]:
        """Return what the controller says about jobs of this user, by their names.

        Args:
            ids: The numbers of those that it must be about, an empty one where nobody knows it; all
                jobs where none are given.

        Raises:
            HostError: It does not answer, or what is between does not.
        """
        ...

    async def accounts(self, ids: Sequence[str], names: Sequence[str]) -> Accounts:
        """Return what the accounts say about jobs, by their names.

        Args:
            ids: Numbers of jobs.
            names: Names of jobs whose numbers nobody knows.

        Raises:
            HostError: What is between does not answer.
        """
        ...

    async def end(self, ids: Sequence[str]) -> None:
        """Have jobs ended at once.

        Raises:
            HostError: Slurm, or what is between, does not answer.
        """
        ...

    async def tell_to_end(self, ids: Sequence[str]) -> None:
        """Have jobs end themselves: their folders say that they are to, and how.

        Args:
            ids: Their numbers; of components that are jobs of ours by themselves, theirs: `5+1`.
                They have one script, which looks into the folders of all of them, now and then.

        Raises:
            HostError: Slurm, or what is between, does not answer.
        """
        ...

    async def largest_array(self) -> int:
        """Return how many elements an array may have; 0 if nobody knows.

        Raises:
            HostError: What is between does not answer.
        """
        ...

    async def partitions(self) -> list[Partition]:
        """Return where jobs can queue.

        Raises:
            HostError: Slurm, or what is between, does not answer.
        """
        ...

    async def close(self) -> None:
        """Close connections of its own; it can be used again."""
        ...
