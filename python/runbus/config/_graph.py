"""Which jobs wait for which: what cannot be, found before anything runs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from runbus.errors import near_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runbus.events import Dependency

    Waits = Mapping[str, Sequence[Dependency]]
    """What each job waits for, by its name; every job is a key."""

__all__ = [
    "GraphProblem",
    "graph_problems",
    "members_by_group",
    "no_such_job",
    "stages",
    "without_groups",
]


class GraphProblem(NamedTuple):
    """What is wrong with one dependency.

    Attributes:
        job: The job that has it.
        at: Which of its dependencies it is, from 0; -1 if it is its group.
        reason: What is wrong.
    """

    job: str
    at: int
    reason: str


def graph_problems(waits: Waits, groups: Mapping[str, str] | None = None) -> list[GraphProblem]:
    """Return what is wrong with the dependencies and groups of some jobs.

    Args:
        waits: What each job waits for, by its name; every job is a key.
        groups: The groups of those that have one, by their names.
    """
    groups = {job: group for job, group in (groups or {}).items() if group}
    problems = [
        GraphProblem(job, -1, f"{group!r} is the name of a job, and cannot be that of a group")
        for job, group in groups.items()
        if group in waits
    ]
    known = {*waits, *groups.values()}
    problems += [
        GraphProblem(job, index, reason)
        for job, dependencies in waits.items()
        for index, one in enumerate(dependencies)
        if (reason := _wrong_by_itself(job, one, dependencies[:index], known))
    ]
    return problems or list(_circle(waits, groups))


def _wrong_by_itself(
    job: str, one: Dependency, before: Sequence[Dependency], known: Iterable[str]
) -> str:
    parent = one.job
    if any(other.parent == one.parent for other in before):
        return f"it waits for {parent!r} already"
    if one.experiment:
        return ""
    if parent == job:
        return "a job cannot wait for itself"
    return "" if parent in known else no_such_job(parent, known)


def no_such_job(name: str, known: Iterable[str]) -> str:
    """Say that there is no such job, and which may have been meant."""
    near = near_matches(name, known)
    return f"there is no job {name!r}" + (f"; did you mean {near[0]!r}" if near else "")


def _circle(waits: Waits, groups: Mapping[str, str]) -> Iterator[GraphProblem]:
    """Yield the first circle, at the first of its jobs; a group waits for all that its jobs do."""
    if not any(waits.values()):
        return
    from graphlib import CycleError, TopologicalSorter

    graph: dict[str, list[str]] = {}
    for job, dependencies in waits.items():
        parents = [one.job for one in dependencies if not one.experiment]
        graph.setdefault(groups.get(job, job), []).extend(groups.get(one, one) for one in parents)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        (*ring, _) = error.args[1]  # each waits for the one before it
        first = min(ring, key=list(graph).index)
        at = ring.index(first)
        path = [*reversed(ring[: at + 1]), *reversed(ring[at:])]
        job, index = next(
            (job, at)
            for job, dependencies in waits.items()
            if groups.get(job, job) == first
            for at, one in enumerate(dependencies)
            if not one.experiment and groups.get(one.job, one.job) == path[1]
        )
        told = f"jobs wait in a circle: {' → '.join(path)}"
        if len(ring) == 1:
            told = f"the jobs of group {first!r} start together: none can wait for another"
        yield GraphProblem(job, index, told)


def members_by_group(groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the jobs of each group, from the groups of jobs."""
    members: dict[str, list[str]] = {}
    for job, group in groups.items():
        if group:
            members.setdefault(group, []).append(job)
    return members


def without_groups(
    dependencies: Sequence[Dependency], members: Mapping[str, Sequence[str]]
) -> tuple[Dependency, ...]:
    """Return dependencies with all jobs of a group in the place of its name, each job once."""
    found: dict[tuple[str, str], Dependency] = {}
    for one in dependencies:
        names = [one.job] if one.experiment else members.get(one.job, [one.job])
        for name in names:
            found.setdefault((one.experiment, name), replace(one, job=name))
    return tuple(found.values())


def stages(waits: Waits) -> dict[str, int]:
    """Return in which stage each job runs at the earliest, from 1; there must be no circle.

    Args:
        waits: What each job waits for, by its name; what is not among them does not count.
    """
    from graphlib import TopologicalSorter

    found: dict[str, int] = {}
    graph = {
        job: [one.job for one in dependencies if not one.experiment and one.job in waits]
        for job, dependencies in waits.items()
    }
    for job in TopologicalSorter(graph).static_order():
        found[job] = 1 + max((found[parent] for parent in graph[job]), default=0)
    return found
