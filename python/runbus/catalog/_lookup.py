"""Finding an experiment as people name it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runbus._home import Home, abbreviated, is_there
from runbus._ids import LATEST, is_experiment_id, split_run_id
from runbus.catalog._runs import find_run, runs
from runbus.errors import (
    AmbiguousId,
    ExperimentNotFound,
    FileUnreadable,
    JobNotFound,
    NoBatch,
    NotFound,
    RunNotFound,
    near_matches,
)
from runbus.jobs import Asked, JobRecord, current_record, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runbus.catalog._runs import RunRecord

__all__ = ["JobStatus", "find_experiment", "find_job", "find_sweep", "job_statuses", "not_removed"]


class JobStatus(NamedTuple):
    """A job of an experiment, and where it stands.

    Attributes:
        record: What the journal and the job's own records tell.
        folder: The folder of its latest attempt.
    """

    record: JobRecord
    folder: str

    @property
    def attempts(self) -> list[str]:
        """The folders of its attempts, in order; one that has not begun is empty or missing."""
        parent = os.path.dirname(self.folder)
        return [os.path.join(parent, str(number + 1)) for number in range(self.record.attempt)]


def find_experiment(text: str | None, *, home: str | os.PathLike[str] | None = None) -> str:
    """Return the folder of an experiment: by its id, by its project (the newest), or the newest.

    Args:
        text: The id, a part of it that no other id has, or the project; the newest of all if None;
            that of the newest run if "latest".
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        ExperimentNotFound: It does not exist; names those that read almost the same.
        NoBatch: It names a run that runbus did not start, as "latest" may.
        AmbiguousId: It is a part of several ids.
        FileUnreadable: It may be in a folder that this user may not read.
        HomeUnusable: The home folder cannot be read.
    """
    folders, closed = _experiments(Home(home))
    folders.sort(key=os.path.basename)
    projects = {os.path.basename(os.path.dirname(folder)) for folder in folders}
    found = [folder for folder in folders if text in (None, LATEST, *folder.split(os.sep)[-2:])]
    if text == LATEST:
        _check_latest(found, home)
    if not found:
        for path, reason in closed.items():
            if _may_be_in(path, text):
                raise FileUnreadable(path, reason)
        ids = [os.path.basename(folder) for folder in reversed(folders)]
        if (part := abbreviated(text or "", ids)) is not None:
            return folders[-1 - ids.index(part)]
        if text is not None and (run := _plain_run(text, home)) is not None:
            raise _no_batch(text, run)
        similar = _similar(text or "", [*sorted(projects), *ids])
        if text is not None and (parts := split_run_id(text)) and parts[0] in ids:
            similar = (parts[0],)
        raise ExperimentNotFound(text or "", similar, bool(folders))
    return found[-1]


def _similar(text: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that may have been meant; none for a whole id: what is ended is not guessed.

    Ids of one day all read almost the same.
    """
    is_whole = is_experiment_id(text) or split_run_id(text) is not None
    return () if is_whole else near_matches(text, names)


def _check_latest(found: list[str], home: str | os.PathLike[str] | None) -> None:
    """Make sure that the newest experiment with jobs is that of the newest run.

    Raises:
        NoBatch: A run that runbus did not start is newer, and "latest" names that run.
    """
    run = _plain_run(LATEST, home)
    newest = os.path.basename(found[-1]) if found else ""
    if run is not None and os.path.basename(run.experiment_folder) > newest:
        raise _no_batch(LATEST, run, newest)


def _plain_run(text: str, home: str | os.PathLike[str] | None) -> RunRecord | None:
    """Return the run that a text names if no job of a batch is it."""
    try:
        run = find_run(text, home=home)
    except (RunNotFound, AmbiguousId, FileUnreadable):
        return None
    return run if run.info.job is None else None


def _no_batch(text: str, run: RunRecord, batch: str = "") -> NoBatch:
    pid = next(iter(run.live_pids()), 0)
    return NoBatch(text, (), run_id=run.id, pid=pid, batch=batch)


def _experiments(home: Home) -> tuple[list[str], dict[str, str]]:
    """Return the folders of experiments, and why other folders cannot be read."""
    folders = []
    closed: dict[str, str] = {}
    for folder in home.experiment_folders(problems=closed):
        try:
            if is_there(os.path.join(folder, "experiment.json")):
                folders.append(folder)
        except FileUnreadable as error:
            closed[folder] = error.reason
    return folders, closed


def _may_be_in(path: str, text: str | None) -> bool:
    """Whether an experiment, or a job, of that name may be what a folder hides."""
    if text is None or text == LATEST:
        return True
    run = split_run_id(text)
    wanted = run[0] if run else text
    project, name = path.split(os.sep)[-2:]
    if is_experiment_id(name):
        return wanted in (project, name)
    return wanted == name or is_experiment_id(wanted)


def _job_of_run(name: str, home: str | os.PathLike[str] | None) -> tuple[str, str] | None:
    """Return the experiment and the job of the newest run of a name; None if it has no job."""
    for run in reversed(runs(home=home)):
        if run.name == name and run.info.job is not None:
            return run.experiment_folder, run.info.job
    return None


def job_statuses(folder: str) -> list[JobStatus]:
    """Return the jobs of the experiment in `folder`, in the order in which they were given.

    Left out are a job of which nothing is recorded yet, and one whose run was removed.
    """
    jobs = read_jobs(folder)
    records = [
        current_record(folder, jobs[job.name])
        for job in Asked.read(folder).jobs
        if job.name in jobs
    ]
    return [
        JobStatus(record, os.path.join(folder, record.folder))
        for record in not_removed(folder, records)
    ]


def not_removed(folder: str, records: Iterable[JobRecord]) -> list[JobRecord]:
    """Return the records of an experiment's jobs without those that are over and have no run."""
    try:
        there = set(os.listdir(os.path.join(folder, "runs")))
    except OSError:
        there = set()
    return [one for one in records if one.run_id in there or not one.state.is_terminal]


def find_sweep(
    name: str, *, home: str | os.PathLike[str] | None = None
) -> tuple[str, list[str]] | None:
    """Return the folder of the newest experiment with a sweep of a name, and the jobs of that.

    A job that ran as several copies is named in the same way.

    Args:
        name: The name of the sweep, or of the job.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Returns:
        None if there is no such sweep, and no such job.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    for folder in sorted(Home(home).experiment_folders(), key=os.path.basename, reverse=True):
        try:
            asked = Asked.read(folder)
        except (NotFound, FileUnreadable):
            continue
        for one in asked.sweeps:
            if name and one.name == name:
                return folder, [*one.jobs]
        if copies := [one.name for one in asked.jobs if one.copy and one.copy.of == name]:
            return folder, copies
    return None


def find_job(text: str, *, home: str | os.PathLike[str] | None = None) -> tuple[str, str | None]:
    """Return the folder of an experiment and the name of a job of it; None for all its jobs.

    Args:
        text: The id of a job's run, the job's name or the name that its run was given later (the
            newest of that name), or what `find_experiment` takes; "latest" is the experiment of
            the newest run, whatever jobs are called.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        JobNotFound: There is neither; names those that read almost the same.
        NoBatch: It names a run that runbus did not start, as "latest" may.
        AmbiguousId: It is a part of several ids.
        HomeUnusable: The home folder cannot be read.
    """
    names: list[str] = []
    jobs: dict[str, tuple[str, str]] = {}
    renamed = None if text == LATEST else _job_of_run(text, home)
    for folder in sorted(Home(home).experiment_folders(), key=os.path.basename, reverse=True):
        if text == LATEST:
            break
        try:
            asked = Asked.read(folder)
        except (NotFound, FileUnreadable):
            continue
        for job in asked.jobs:
            if text in (job.name, job.run_id) or renamed == (folder, job.name):
                return folder, job.name
            names.append(job.name)
            jobs[job.run_id] = folder, job.name
    try:
        return find_experiment(text, home=home), None
    except ExperimentNotFound as error:
        if (part := abbreviated(text, jobs)) is not None:
            return jobs[part]
        if isinstance(error, NoBatch):
            raise
        similar = _similar(text, [*error.similar, *dict.fromkeys(names)])
        raise JobNotFound(text, similar, error.are_any) from None
