"""What adding a job returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runbus.config import Output
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["JobHandle"]


class _Owner(Protocol):
    @property
    def id(self) -> str: ...


class JobHandle:
    """A job, a group of them, or a sweep, that was added to an experiment: later ones depend on it.

    As a text it is the job's name, which the methods of an experiment take as well. A job that its
    executor runs as several copies has these as its members once it is recorded.

    Args:
        name: What the job, or the group, is called.
        owner: The experiment.
        members: The jobs of a group, or the points of a sweep that are to run; none for a job.
        done: The runs of a sweep's points that had run before, by the names of their jobs.

    Attributes:
        name: What the job, the group or the sweep is called.
        owner: The experiment.
        members: The jobs of a group, or the points of a sweep that are to run; none for a job.
        done: The runs of a sweep's points that had run before, by the names of their jobs.
    """

    __slots__ = ("_is_sweep", "done", "members", "name", "owner")

    def __init__(
        self,
        name: str,
        owner: _Owner,
        members: Sequence[JobHandle] = (),
        done: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.owner = owner
        self.members = tuple(members)
        self.done = dict(done or {})
        self._is_sweep = done is not None

    def split(self, copies: Sequence[JobHandle]) -> None:
        """The job is recorded, as several copies."""
        self.members = tuple(copies)

    @property
    def experiment_id(self) -> str:
        """The id of the experiment; empty before that is recorded."""
        return self.owner.id

    @property
    def jobs(self) -> tuple[str, ...]:
        """The names of the jobs that it stands for: of its members, or its own."""
        return tuple(self._names())

    def output(self, key: str = "") -> Output:
        """Return what stands for the job's result: a value of a function, or of `env`.

        For jobs of the same experiment; those of another take `Output(name, key, experiment=ID)`.

        Args:
            key: Where in the result the value is, such as `best.lr`; all of it if empty.

        Raises:
            UsageError: It is a group, whose jobs have a result each.
            FieldInvalid: The key is no path.
        """
        if not self._is_job:
            raise UsageError(f"{self.name!r} is a group: its jobs have a result each")
        return Output(self.name, key)

    def _names(self) -> Iterator[str]:
        for one in self.members:
            yield from one._names()
        if self._is_job:
            yield self.name

    @property
    def is_sweep(self) -> bool:
        """Whether it stands for the points of a sweep, which are jobs by themselves."""
        return self._is_sweep

    @property
    def _is_job(self) -> bool:
        return not self.members and not self._is_sweep

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        group = f" of {len(self.members)} jobs" if self.members else ""
        return f"<JobHandle {self.name!r}{group}>"
