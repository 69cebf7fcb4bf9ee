"""Sweeps: a job for each point of a space, and which of them have run already."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from runbus._home import Home
from runbus._listed import listed
from runbus._secrets import Secret, redacted_text
from runbus.abc import ArtifactLimits, EarlyStop, Timeouts
from runbus.catalog import check_goal
from runbus.config import (
    Function,
    Grid,
    Space,
    check_task,
    difference_of_data,
    given_by,
    meant,
    space_of_words,
    value_text,
    words_of,
)
from runbus.errors import RunbusError, SweepChanged
from runbus.experiment._code import code_digest
from runbus.experiment._job import LONGEST_NAME, Job
from runbus.jobs import Asked, JobState, SweepAsked, SweepPoint, current_record, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runbus.config import Partial, Task

__all__ = ["Started", "as_points", "started_before", "sweep", "sweeps_of", "swept"]


def sweep(
    task: Task | Partial[Any],
    sweeps: Sequence[str] | Mapping[str, Iterable[Any]] | Space = (),
    *,
    name: str | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - it never changes
    stop: EarlyStop = EarlyStop(),  # noqa: B008 - it never changes
    artifacts: Sequence[str] = (),
    artifact_limits: ArtifactLimits = ArtifactLimits(),  # noqa: B008 - it never changes
    best: str = "",
) -> list[Job]:
    """Return a job for each point of a space; one job if nothing is swept.

    The values of a point reach the task as `--name=value`, or at its config paths if it is a
    function, and the run as its config.

    Args:
        task: What to run.
        sweeps: A space; or the values by names, or texts such as `lr=0.01,0.1`: a grid, whose last
            one varies fastest.
        name: What the sweep is called, and what the jobs' names begin with; no name, and the task's
            own title, if None.
        timeouts: How long each may take.
        stop: When each is to end early, by what its run logs.
        artifacts: Patterns of files that the run of each keeps copies of: see `Job`.
        artifact_limits: How many of them, and how many bytes, it keeps.
        best: What is best of the points, which lists and tables then show: `min:NAME` or `max:NAME`
            of a metric; that of `stop.patience` if empty.

    Raises:
        FieldInvalid: The sweeps are no space, and no list of texts; or a pattern, or `best`, is
            none.
        SweepInvalid: A sweep cannot be read, or a name is swept twice.
        SpaceInvalid: They describe no space, or too large a one.
        ConfigInvalid: The function has nothing at a path, or a value does not fit there.
        TaskInvalid: The task is not one.
    """
    task = check_task(task)
    if isinstance(sweeps, Mapping):
        sweeps = Grid(sweeps)
    space = sweeps if isinstance(sweeps, Space) else space_of_words(listed(sweeps, "sweeps"))
    job = Job(
        name=name or task.title,
        task=task,
        timeouts=timeouts,
        stop=stop,
        artifacts=artifacts,
        artifact_limits=artifact_limits,
    )
    if best:
        check_goal(best)
    return [job] if space is None else swept(job, space, name=name or "", goal=best)


def swept(job: Job, space: Space, *, name: str = "", goal: str = "") -> list[Job]:
    """Return a job for each point of a space.

    Args:
        job: What each of them is like: their names begin with its name.
        space: The space.
        name: What the sweep is called; empty for nothing.
        goal: What is best of its points; that of the job's patience if empty.

    Raises:
        SpaceInvalid: There are not as many different points.
        ConfigInvalid: The function has nothing at a path, or a value does not fit there.
    """
    points = list(space.points())
    task = check_task(job.task)
    jobs = [
        replace(
            job,
            task=task.with_values({path: value_text(value) for path, value in point.items()}),
            config={**_config_of(job), **meant(point)},
        )
        for point in points
    ]
    return as_points(jobs, points, space.data, name=name, goal=goal)


def as_points(
    jobs: Sequence[Job],
    points: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any],
    *,
    name: str = "",
    goal: str = "",
) -> list[Job]:
    """Return jobs as the points of a sweep that they are, with names of the values that differ.

    Args:
        jobs: The jobs, of the same name and code.
        points: What differs between them: a point for each.
        space: The space, as data.
        name: What the sweep is called; empty for nothing.
        goal: What is best of its points; that of the jobs' patience if empty.
    """
    if not jobs:
        return []
    first = jobs[0]
    code = _code_of(first.task, first.cwd or "")  # type: ignore[arg-type]
    data = meant(dict(space))
    goal = goal or first.stop.goal
    found = []
    titles = _titles(first.name, points)
    for index, (job, point, title) in enumerate(zip(jobs, points, titles, strict=True)):
        key = _key(job, code, None if point else index)
        at = SweepPoint(sweep=name, space=data, total=len(jobs), key=key, goal=goal)
        found.append(replace(job, name=title, point=at))
    return found


def _config_of(job: Job) -> dict[str, Any]:
    """Return what was said to be recorded, without what a function's values say anew."""
    if not isinstance(job.task, Function):
        return job.config
    values = job.task.values
    return {path: one for path, one in job.config.items() if path not in values}


def _code_of(task: Task, cwd: str) -> str:
    folder = task.folder if isinstance(task, Function) else ""
    words = [word for word in words_of(task) if isinstance(word, str)]
    return code_digest(words, cwd or os.getcwd(), folder)


def _key(job: Job, code: str, trial: int | None) -> str:
    program, *words = words_of(job.task)
    env = {name: one.reference if isinstance(one, Secret) else one for name, one in job.env.items()}
    # Another interpreter of the same name is the same program: environments are made anew.
    parts = [
        os.path.basename(str(program)),
        words,
        given_by(job.task),
        job.config,
        env,
        code,
        trial,
    ]
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _titles(base: str, points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a name for each point: of the values that differ; each is another."""
    counted: dict[str, set[str]] = {}
    for point in points:
        for path, value in point.items():
            counted.setdefault(path, set()).add(value_text(value))
    is_everywhere = Counter(path for point in points for path in point)
    shown = [
        path
        for path, values in counted.items()
        if len(values) > 1 or is_everywhere[path] < len(points) or len(points) == 1
    ]
    names = [
        "-".join([base, *(f"{path}={value_text(point[path])}" for path in shown if path in point)])
        for point in points
    ]
    twice = Counter(names)
    for index, name in enumerate(names, start=1):
        if len(name) > LONGEST_NAME:
            yield f"{name[: LONGEST_NAME - 10]}-{index}"
        else:
            yield name if twice[name] == 1 else f"{name}-{index}"


def sweeps_of(jobs: Iterable[Job]) -> list[SweepAsked]:
    """Return what an experiment's record says of the sweeps of its jobs."""
    found: dict[str, list[tuple[str, SweepPoint]]] = {}
    for job in jobs:
        if job.point is not None:
            which = json.dumps([job.point.sweep, job.point.space], sort_keys=True)
            found.setdefault(which, []).append((job.name, job.point))
    return [
        SweepAsked(
            name=points[0][1].sweep,
            space=points[0][1].space,
            total=points[0][1].total,
            jobs={name: point.key for name, point in points},
            done=points[0][1].done,
            goal=points[0][1].goal,
        )
        for points in found.values()
    ]


class Started(NamedTuple):
    """How far the sweeps of some jobs have come before.

    Attributes:
        missing: The jobs that are still to run; those of no sweep are.
        done: The runs of the others, by the names of their jobs.
        unfinished: The folder of the newest experiment with points that are not over; empty if
            there is none.
    """

    missing: list[Job]
    done: dict[str, str]
    unfinished: str


def started_before(
    project: str, jobs: Sequence[Job], *, home: str | os.PathLike[str] | None = None
) -> Started:
    """Return which points of sweeps a project has already: they need not run again.

    A point is known by what it runs: command, values, variables and code. One that has succeeded,
    or was stopped early by a rule, is done. Blocks for the disk.

    Args:
        project: The project.
        jobs: The jobs that are to run, points of sweeps among them.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        SweepChanged: The project has a sweep of the same name with another space.
        HomeUnusable: The home folder cannot be read.
    """
    wanted = {job.point.key: job.name for job in jobs if job.point is not None}
    if not wanted:
        return Started(list(jobs), {}, "")
    spaces = {job.point.sweep: job.point.space for job in jobs if job.point and job.point.sweep}
    done: dict[str, str] = {}
    alive: dict[str, str] = {}
    folders = Home(home).experiment_folders(redacted_text(project), problems={})
    for folder in sorted(folders, key=os.path.basename, reverse=True):
        for one in _recorded(folder):
            if one.name in spaces:
                _check_space(one, spaces.pop(one.name), folder)
            if not wanted.keys().isdisjoint(one.jobs.values()):
                _note(one, folder, done, alive)
    unfinished = [folder for key, folder in alive.items() if key in wanted and key not in done]
    mine = {key: run for key, run in done.items() if key in wanted}
    missing = [
        job if job.point is None else replace(job, point=replace(job.point, done=mine))
        for job in jobs
        if job.point is None or job.point.key not in done
    ]
    runs = {name: done[key] for key, name in wanted.items() if key in done}
    newest = max(unfinished, key=os.path.basename, default="")
    return Started(_without_done(missing, runs), runs, newest)


def _without_done(jobs: list[Job], done: Mapping[str, str]) -> list[Job]:
    """Return jobs that wait for none that is done, without those that only its failure begins."""
    idle = {
        job.name
        for job in jobs
        if any(one.job in done and one.when == "afternotok" for one in job.dependencies)
    }
    while more := {
        job.name
        for job in jobs
        if job.name not in idle and any(one.job in idle for one in job.dependencies)
    }:
        idle |= more
    return [
        replace(job, depends_on=[one for one in job.dependencies if one.job not in done])
        for job in jobs
        if job.name not in idle
    ]


def _recorded(folder: str) -> list[SweepAsked]:
    try:
        return Asked.read(folder).sweeps
    except RunbusError:  # a run without jobs, or what other commands report
        return []


def _check_space(then: SweepAsked, now: dict[str, Any], folder: str) -> None:
    if then.space != now:
        lines = str(difference_of_data(then.space, now)).splitlines()
        raise SweepChanged(then.name, os.path.basename(folder), tuple(lines))


def _note(one: SweepAsked, folder: str, done: dict[str, str], alive: dict[str, str]) -> None:
    """Note which points of a sweep are over in an experiment, and which are on their way."""
    try:
        records = read_jobs(folder)
    except RunbusError:
        return
    for name, key in one.jobs.items():
        record = records.get(name)
        if record is not None:
            record = current_record(folder, record)
        if record is None or not record.state.is_terminal:
            alive.setdefault(key, folder)
        elif (record.state is JobState.SUCCEEDED or record.is_stopped_early) and os.path.isdir(
            os.path.join(folder, "runs", record.run_id)
        ):
            done.setdefault(key, record.run_id)
