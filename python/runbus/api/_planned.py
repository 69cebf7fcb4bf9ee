"""What would be sent: the graph of the jobs, the code that they take along, and every request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.abc import Request
from runbus.api._teller import plain
from runbus.config import format_size, output_of, outputs_in, stages
from runbus.jobs import common_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.packaging import Chosen

__all__ = ["Plan"]

_FILES = 20
"""So many files of a package are shown to a person."""

_PARENTS = 10
"""So many of the jobs that one waits for are named."""


class Plan(list[Request]):
    """What would be sent, a request for each job; as a text and in a notebook, all of it.

    Args:
        project: What the runs are gathered under.
        requests: The requests.
        code: What code the jobs take along, by executor.
        queues: What `Capabilities.after` says of each executor.

    Attributes:
        project: What the runs are gathered under.
        code: What code the jobs take along, by executor.
        held_back: The jobs that wait in the queue of their executor for those that they depend on,
            as far as there are places for them (`max_parallel`); all others wait here.
    """

    def __init__(
        self,
        project: str,
        requests: Iterable[Request],
        code: Mapping[str, Chosen],
        queues: Mapping[str, Hashable] | None = None,
    ) -> None:
        super().__init__(requests)
        self.project = project
        self.code = code
        self.held_back = _held_back([request.job for request in self], queues or {})

    @property
    def stages(self) -> dict[str, int]:
        """In which stage each job runs at the earliest, from 1, by name."""
        return stages({request.job.name: request.job.depends_on for request in self})

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, *, is_folded: bool = False) -> Iterator[str]:
        """Yield what a person is shown, without secrets.

        Args:
            is_folded: Whether one request stands for all jobs of a kind: of names that begin so.
        """
        if not self:
            yield f"# {plain(self.project)}: nothing is left to be sent"
            return
        stage_of = self.stages
        groups = _grouped([request.job for request in self], stage_of, is_folded=is_folded)
        graph = _graph(self.project, groups, stage_of, self.held_back)
        for line in (*graph, *_packages(self.code)):
            yield f"# {plain(line)}"
        others = {some[0].name: len(some) - 1 for some in groups}
        for request in self:
            if (more := others.get(request.job.name)) is not None:
                like = f", and {more:,} like it" if more else ""
                yield f"\n# job {plain(request.job.name)}{like}"
                yield request.render().rstrip("\n")


def _grouped(
    jobs: Sequence[JobSpec], stage_of: Mapping[str, int], *, is_folded: bool
) -> list[list[JobSpec]]:
    """Return jobs by their stages; folded, those of one kind together: of names that begin so."""
    groups: dict[object, list[JobSpec]] = {}
    for job in sorted(jobs, key=lambda job: stage_of[job.name]):
        kind = stage_of[job.name], job.executor, job.group, common_name(job.name)
        groups.setdefault(kind if is_folded else job.name, []).append(job)
    return list(groups.values())


def _held_back(jobs: Sequence[JobSpec], queues: Mapping[str, Hashable]) -> frozenset[str]:
    """Return the jobs of which all that they depend on wait or run in the same queue as they."""
    # One that gets another attempt would be known to its queue by another number then.
    in_queue = {job.name: None if job.retry.retries else queues.get(job.executor) for job in jobs}
    return frozenset(
        job.name
        for job in jobs
        if (queue := queues.get(job.executor)) is not None
        and job.depends_on
        and job.can_wait_in_queue
        and all(not one.experiment and in_queue.get(one.job) == queue for one in job.depends_on)
    )


def _graph(
    project: str,
    groups: Sequence[Sequence[JobSpec]],
    stage_of: Mapping[str, int],
    held_back: frozenset[str],
) -> Iterator[str]:
    """Yield a line a job, or a group of them, in the order in which they may run."""
    last, count = max(stage_of.values()), sum(map(len, groups))
    counted = "1 job" if count == 1 else f"{count:,} jobs"
    yield f"{project}: {counted} in {last} stage{'s' if last > 1 else ''}"
    names = [
        some[0].name if len(some) == 1 else f"{common_name(some[0].name)} ({len(some):,})"
        for some in groups
    ]
    width, before = max(map(len, names)), 0
    for name, (job, *_) in zip(names, groups, strict=True):
        stage = stage_of[job.name]
        told = [f"group {job.group}"] if job.group else []
        where = f", in the queue of {job.executor}" if job.name in held_back else ""
        told += [f"after {_parents(job)}{where}"] if job.depends_on else []
        told += [f"{place} from {output}" for place, output in _taken(job)]
        words = f"{name:<{width}}  on {job.executor}  {'; '.join(told)}".rstrip()
        yield f"{stage if stage != before else '':>{len(str(last))}}  {words}"
        before = stage


def _parents(job: JobSpec) -> str:
    """Return after which jobs one runs: of very many the first ones."""
    shown = ", ".join(map(str, job.depends_on[:_PARENTS]))
    more = len(job.depends_on) - _PARENTS
    return f"{shown} and {more:,} more" if more > 0 else shown


def _taken(job: JobSpec) -> Iterator[tuple[str, str]]:
    for name, data in job.outputs.items():
        yield name, str(output_of(data))
    for output in outputs_in(job.given):
        yield "a value", str(output)


def _packages(code: Mapping[str, Chosen]) -> Iterator[str]:
    """Yield what is packaged for each executor."""
    for executor, chosen in code.items():
        size = sum(one.size for one in chosen.files)
        counted = "1 file" if len(chosen.files) == 1 else f"{len(chosen.files):,} files"
        yield f"code for {executor}: {counted}, {format_size(size)}"
        for origin in chosen.origins:
            changed = f", {len(origin.changed)} changed" if origin.changed else ""
            kept = " as they are" if origin.changed and origin.included else ""
            yield f"  commit {origin.commit[:12]} of {origin.path}{changed}{kept}"
        for file in chosen.files[:_FILES]:
            yield f"  {file.path}  {format_size(file.size)}"
        if (more := len(chosen.files) - _FILES) > 0:
            yield f"  and {more:,} more: --json lists them"
