"""Jobs that their executors run as several copies: a job for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.abc import Copy, Dependency
from runbus.config import Output, given_by, outputs_in, words_taken
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runbus.abc import Executor
    from runbus.experiment._job import Job

__all__ = ["as_copies", "members_by_origin"]


def as_copies(
    jobs: Sequence[Job],
    executors: Mapping[str, Executor],
    executor: str,
    before: Iterable[Job] = (),
) -> list[Job]:
    """Return jobs with their copies in the place of those that run as several.

    What waits for such a job waits for all of its copies.

    Args:
        jobs: The jobs; what is a copy already stays as it is.
        executors: What runs them, by the names that they use; as far as it is known.
        executor: The executor of those that name none.
        before: The jobs of the experiment that were recorded before.

    Raises:
        UsageError: A job that runs as several is of a group or a sweep, or others take its result.
    """
    made = [_copies_of(job, executors.get(job.executor or executor)) for job in jobs]
    every = [*before, *(job for copies in made for job in copies)]
    members = members_by_origin({job.name: job.copy for job in every})
    if not members:
        return list(jobs)
    if twice := next((job.name for job in every if job.name in members), ""):
        raise UsageError(f"two jobs are named {twice!r}")
    return [_waiting_for_all(job, members) for copies in made for job in copies]


def members_by_origin(copies: Mapping[str, Copy | None]) -> dict[str, list[str]]:
    """Return the copies of each job that runs as several, from what is said of all jobs."""
    members: dict[str, list[str]] = {}
    for name, copy in copies.items():
        if copy is not None:
            members.setdefault(copy.of, []).append(name)
    return members


def _copies_of(job: Job, executor: Executor | None) -> list[Job]:
    indices = () if executor is None or job.copy is not None else executor.capabilities.copies
    if not indices:
        return [job]
    assert executor is not None
    so_many = f"executor {executor.name!r} runs it as {len(indices):,} copies"
    if job.group:
        raise UsageError(f"job {job.name!r} is of group {job.group!r}, and {so_many}")
    if job.point is not None:
        raise UsageError(f"job {job.name!r} is a point of a sweep, and {so_many}")
    return [
        replace(job, name=f"{job.name}[{index}]", copy=Copy(of=job.name, index=index))
        for index in indices
    ]


def _waiting_for_all(job: Job, members: Mapping[str, Sequence[str]]) -> Job:
    """Return a job that waits for all copies of those that it waits for."""
    if not any(one.job in members and not one.experiment for one in job.dependencies):
        return job
    taken = [one for one in job.env.values() if isinstance(one, Output)]
    taken += [*outputs_in(given_by(job.task)), *words_taken(job.task)]
    for one in taken:
        if one.job in members and not one.experiment:
            several = f"that runs as {len(members[one.job]):,} copies"
            raise UsageError(f"job {job.name!r} takes what {one.job!r} returns, and {several}")
    waits = [
        each
        for one in job.dependencies
        for each in (
            [one]
            if one.experiment or one.job not in members
            else [Dependency(job=name, when=one.when) for name in members[one.job]]
        )
    ]
    return replace(job, depends_on=waits)
