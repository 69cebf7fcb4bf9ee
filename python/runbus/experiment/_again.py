"""Jobs as they were recorded: as they were asked for, and to run them again."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus._secrets import Secret
from runbus.catalog import job_statuses
from runbus.config import (
    Function,
    Output,
    Recorded,
    guess,
    output_data,
    output_of,
    with_outputs,
)
from runbus.experiment._job import Job
from runbus.jobs import Asked, JobState
from runbus.metrics import Origin, RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from runbus.abc import JobSpec, Package
    from runbus.config import Argument
    from runbus.jobs import JobRecord

logger = logging.getLogger("runbus.experiment")

__all__ = ["jobs_asked", "jobs_recorded", "jobs_to_rerun", "jobs_to_retry", "kept_code"]


def jobs_asked(folder: str) -> tuple[Asked, list[Job]]:
    """Return what was asked of the experiment in `folder`, with its jobs as they were given.

    Nothing of the user's is imported or run. A task of a class that no other process can make is
    the `Command` that it was then.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
        FileUnreadable: Its files cannot be read, or are damaged.
        TaskInvalid: There is no task of some type any more, or it takes other fields.
    """
    asked, jobs = jobs_recorded(folder)
    return asked, [replace(job, task=job.task.asked) for job in jobs]  # type: ignore[union-attr]


def jobs_recorded(folder: str) -> tuple[Asked, list[Job]]:
    """Return what was asked of the experiment in `folder`, with its jobs as they were recorded.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
        FileUnreadable: Its files cannot be read, or are damaged.
    """
    asked = Asked.read(folder)
    return asked, _jobs(asked, folder, {spec.name for spec in asked.jobs})


def jobs_to_rerun(
    folder: str, only: str | None = None, values: Mapping[str, str] | None = None
) -> tuple[Asked, list[Job]]:
    """Return what a new experiment needs to run the one in `folder` once more.

    The command lines are those of then, word for word. A warning tells of a folder whose code is
    not what it was, and was not packaged.

    Args:
        folder: The experiment's folder.
        only: The name of the one job to run, which waits for no other; all if None.
        values: What is different this time: options of scripts, and values of functions.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
        FileUnreadable: Its files cannot be read, or are damaged.
        TaskInvalid: Values are given, and there is no task of some type any more.
        UsageError: A value does not fit.
    """
    asked = Asked.read(folder)
    specs = [spec for spec in asked.jobs if only in (None, spec.name)]
    _warn_of_changes(folder, [spec for spec in specs if spec.package is None])
    names = {spec.name for spec in specs}
    return asked, [_with_values(job, values or {}) for job in _jobs(asked, folder, names)]


def jobs_to_retry(folder: str, *, failed_only: bool = False) -> tuple[Asked, list[Job]]:
    """Return what a new experiment needs to run again what did not succeed in the one in `folder`.

    The command lines are those of then, word for word: what the tasks would make of themselves
    today (another interpreter, another version of a plugin, or none) would be something else.

    Args:
        folder: The experiment's folder.
        failed_only: Whether those that were cancelled are left as they are.

    Returns:
        What was asked of the old one, and the jobs that ended without success, with those that were
        skipped for them; their runs get the tags and notes of the old ones.
    """
    asked = Asked.read(folder)
    records = [status.record for status in job_statuses(folder)]
    again = _to_run_again(asked, records, failed_only=failed_only)
    runs = {spec.name: os.path.join(folder, spec.run_folder) for spec in asked.jobs}
    jobs = _jobs(asked, folder, again)
    return asked, [replace(job, takes_over=runs[job.name]) for job in jobs]


def kept_code(asked: Asked, folder: str) -> dict[str, Package]:
    """Return the packages that the jobs of the experiment in `folder` took along, by executor.

    Blocks: each is read once, and its digest compared with the one that is on record.

    Raises:
        PackageChanged: One is gone, or is not what it was.
    """
    from runbus.packaging import check_package  # costs what archives cost

    kept: dict[str, Package] = {}
    for spec in asked.jobs:
        if spec.package is None or spec.executor in kept:
            continue
        path = os.path.join(folder, spec.package.path)
        kept[spec.executor] = replace(spec.package, path=path)
        check_package(kept[spec.executor])
    return kept


def _jobs(asked: Asked, folder: str, names: Collection[str]) -> list[Job]:
    """Return some jobs as they were recorded.

    They wait for each other and for those of other experiments, and take from the old one what jobs
    of it returned that are not among them.
    """

    def old(one: Output) -> dict[str, str]:
        is_new = one.experiment or one.job in names
        return output_data(
            Output(one.job, one.key, experiment=one.experiment if is_new else asked.id)
        )

    # Those that an older runbus has recorded have no tasks.
    tasks = [*asked.tasks, *[{}] * (len(asked.jobs) - len(asked.tasks))]
    points = {name: one.point(name) for one in asked.sweeps for name in one.jobs}
    return [
        Job(
            name=spec.name,
            task=Recorded(_words(spec, old), with_outputs(spec.given, old), task),
            config=_config_of(os.path.join(folder, spec.run_folder)),
            env={
                **spec.env,
                **{name: Secret(at) for name, at in spec.secrets.items()},
                **{name: output_of(old(output_of(one))) for name, one in spec.outputs.items()},
            },
            cwd=spec.cwd,
            executor=spec.executor,
            resources=spec.resources,
            timeouts=spec.timeouts,
            retry=spec.retry,
            # What has succeeded is there already.
            depends_on=[one for one in spec.depends_on if one.experiment or one.job in names],
            group=spec.group,
            stop=spec.stop,
            artifacts=spec.artifacts,
            artifact_limits=spec.artifact_limits,
            point=points.get(spec.name),
            copy=spec.copy,
        )
        for spec, task in zip(asked.jobs, tasks, strict=False)
        if spec.name in names
    ]


def _words(spec: JobSpec, old: Callable[[Output], dict[str, str]]) -> tuple[Argument, ...]:
    taken = {at: output_of(old(output_of(one))) for at, one in spec.output_words.items()}
    return tuple(taken.get(at, word) for at, word in enumerate(spec.argv))


def _warn_of_changes(folder: str, specs: Sequence[JobSpec]) -> None:
    """Tell of the folders that jobs without packaged code start in, if code there may differ."""
    for spec in {spec.cwd: spec for spec in reversed(specs)}.values():
        try:
            then = RunInfo.read(os.path.join(folder, spec.run_folder)).origin.answered(folder)
        except FileNotFoundError:  # the run was removed
            then = Origin()
        now = Origin.of_job((), spec.cwd).commit
        if not then.commit or then.commit != now or then.is_changed is not False:
            was = f"{then.commit[:12]}{' with changes' if then.is_changed else ''}"
            commits = f": commit {was} then, {now[:12] or 'none'} now" if then.commit else ""
            told = "job %r took no code along, and runs what is in %s now%s"
            logger.warning(told, spec.name, spec.cwd, commits)


def _config_of(run_folder: str) -> dict[str, object]:
    try:
        return RunInfo.read(run_folder).config
    except FileNotFoundError:  # the run was removed
        return {}


def _with_values(job: Job, values: Mapping[str, str]) -> Job:
    """Return a job with other values of its task, which its run has in its config, too."""
    if not values:
        return job
    job = replace(job, point=None)
    task = job.task.with_values(dict(values))
    if isinstance(task, Function):
        own = {key: one for key, one in job.config.items() if key not in task.values}
        return replace(job, task=task, config={**own, **task.values})
    told = {key: guess(value) for key, value in values.items()}
    return replace(job, task=task, config={**job.config, **told})


def _to_run_again(asked: Asked, records: Sequence[JobRecord], *, failed_only: bool) -> set[str]:
    """Return the names of jobs that ended without success, and of those skipped because of them.

    Those that were skipped because others succeeded have nothing to do, nor have those that were
    stopped early.
    """
    ended = [one for one in records if one.state.is_terminal and not one.is_stopped_early]
    states = {record.name: record.state for record in ended}
    over = {JobState.SUCCEEDED, JobState.SKIPPED}
    over |= {JobState.CANCELLED} if failed_only else set()
    again = {name for name, state in states.items() if state not in over}
    # A group starts together, this time, too.
    groups = {one.group for one in asked.jobs if one.group and one.name in again}
    again |= {one.name for one in asked.jobs if one.group in groups and one.name in states}
    left = {name for name, state in states.items() if state is JobState.CANCELLED} - again
    skipped = {one.name: one for one in asked.jobs if states.get(one.name) is JobState.SKIPPED}
    while more := [
        name
        for name, one in skipped.items()
        if any(dep.job in again for dep in one.depends_on)
        and not any(dep.job in left and dep.when == "afterok" for dep in one.depends_on)
    ]:
        again.update(more)
        for name in more:
            del skipped[name]
    return again
