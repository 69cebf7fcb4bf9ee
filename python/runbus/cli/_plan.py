"""What a batch would do, for a person: its graph, the code it takes along, and every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runbus import api
from runbus.cli._exit import ExitStatus
from runbus.cli._printer import format_size, print_json, printable
from runbus.cli._table import terminal_rows
from runbus.config import output_of, outputs_in, stages
from runbus.jobs import common_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from runbus.abc import JobSpec, Request
    from runbus.experiment import ExperimentDraft
    from runbus.packaging import Chosen

__all__ = ["print_plan"]

_FILES = 20
"""So many files of a package are shown to a person."""

_MANY = 20
"""Of more jobs, a terminal is shown one of each kind."""

_PARENTS = 10
"""So many of the jobs that one waits for are named."""


def print_plan(experiment: ExperimentDraft, *, json_out: TextIO | None = None) -> ExitStatus:
    """Print what would be done, without secrets; nothing is written or sent."""
    requests = api.plan(experiment)
    code = api.planned_code(experiment)
    jobs = [request.job for request in requests]
    stage_of = stages({job.name: job.depends_on for job in jobs})
    if json_out is not None:
        print_json(_described(experiment.project, requests, stage_of, code), json_out)
        return ExitStatus.OK
    is_folded = terminal_rows() is not None and len(jobs) > _MANY
    groups = _grouped(jobs, stage_of, is_folded=is_folded)
    for line in (*_graph(experiment.project, groups, stage_of), *_packages(code)):
        click.echo(printable(f"# {line}"))
    others = {some[0].name: len(some) - 1 for some in groups}
    for request in requests:
        if (more := others.get(request.job.name)) is not None:
            like = f", and {more:,} like it" if more else ""
            click.echo(f"\n# job {printable(request.job.name)}{like}")
            click.echo(request.render().rstrip("\n"))
    if len(groups) < len(jobs):
        told = "of jobs that are alike one request is shown: a pipe and --json get all"
        click.echo(told, err=True)
    return ExitStatus.OK


def _grouped(
    jobs: Sequence[JobSpec], stage_of: Mapping[str, int], *, is_folded: bool
) -> list[list[JobSpec]]:
    """Return jobs by their stages; folded, those of one kind together: of names that begin so."""
    groups: dict[object, list[JobSpec]] = {}
    for job in sorted(jobs, key=lambda job: stage_of[job.name]):
        kind = stage_of[job.name], job.executor, job.group, common_name(job.name)
        groups.setdefault(kind if is_folded else job.name, []).append(job)
    return list(groups.values())


def _graph(
    project: str, groups: Sequence[Sequence[JobSpec]], stage_of: Mapping[str, int]
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
        told += [f"after {_parents(job)}"] if job.depends_on else []
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


def _described(
    project: str,
    requests: Sequence[Request],
    stage_of: Mapping[str, int],
    code: Mapping[str, Chosen],
) -> dict[str, Any]:
    return {
        "project": project,
        "jobs": [
            {
                "name": request.job.name,
                "stage": stage_of[request.job.name],
                "executor": request.job.executor,
                "group": request.job.group or None,
                "depends_on": [
                    {"job": one.job, "when": one.when, "experiment": one.experiment or None}
                    for one in request.job.depends_on
                ],
                "request": request.render(),
            }
            for request in requests
        ],
        "code": {
            executor: {
                "files": [{"path": one.path, "size": one.size} for one in chosen.files],
                "commits": [one.commit for one in chosen.origins],
            }
            for executor, chosen in code.items()
        },
    }
