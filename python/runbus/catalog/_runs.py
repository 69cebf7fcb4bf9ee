"""The runs there are, and where they stand."""

from __future__ import annotations

import itertools
import os
from functools import cached_property
from typing import TYPE_CHECKING

from runbus._home import Home
from runbus.abc import PackageManifest
from runbus.catalog._index import Index
from runbus.codec import DecodeError, decode_json
from runbus.errors import RunNotFound, near_matches
from runbus.jobs import JobRecord, JobState, current_state, read_jobs
from runbus.metrics import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.metrics import RunInfo

__all__ = ["RunRecord", "find_run", "open_run", "runs"]

_END_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


class RunRecord(StoredRun):
    """A run: what it is, where it stands, what it has logged.

    Attributes:
        folder: The run's folder.
        info: What the run is.
    """

    def __init__(
        self,
        folder: str,
        jobs: dict[str, JobRecord] | None = None,
        info: RunInfo | None = None,
    ) -> None:
        super().__init__(folder, info)
        self._jobs = jobs

    def __repr__(self) -> str:
        return f"<RunRecord {self.id} {self.name!r} {self.state}>"

    @cached_property
    def job(self) -> JobRecord | None:
        """The job that the run records, as it stood when this was first asked for; None if none."""
        if self.info.job is None:
            return None
        jobs = read_jobs(self.experiment_folder) if self._jobs is None else self._jobs
        return jobs.get(self.info.job)

    @property
    def experiment_folder(self) -> str:
        """The folder of the experiment that the run belongs to."""
        return os.path.dirname(os.path.dirname(self.folder))

    @property
    def job_folder(self) -> str | None:
        """The folder of the job's latest attempt; None for a run without a job."""
        return os.path.join(self.experiment_folder, self.job.folder) if self.job else None

    def packaged(self) -> PackageManifest | None:
        """Return what code the job took along; None if none, or if its record is gone."""
        if self.job is None or not self.job.package:
            return None
        archive = os.path.join(self.experiment_folder, self.job.package)
        try:
            with open(f"{archive.removesuffix('.tar.gz')}.json", "rb") as file:
                return decode_json(file.read(), PackageManifest)
        except (FileNotFoundError, DecodeError):
            return None

    @property
    def state(self) -> JobState:
        """Where the run stands.

        That of its job if it has one. Otherwise RUNNING while a process that made it, or went on
        with it, has not ended it; then how the latest of these ended it, or LOST if that died or
        dropped it without a word; how processes ended that were handed the run does not count.
        """
        if self.info.job is not None:
            if self.job is None:
                return JobState.INTENT
            return current_state(self.experiment_folder, self.job)
        if self.is_being_written():
            return JobState.RUNNING
        end = self.end().state
        return JobState.LOST if end is None else _END_STATES[end]

    @property
    def reason(self) -> str:
        """Why the run is in its state, such as `ValueError: boom`; empty if there is no reason."""
        if self.info.job is not None:
            return (self.job.reason or "") if self.job is not None else ""
        return "" if self.is_being_written() else self.end().reason


def runs(
    project: str | None = None,
    *,
    newest: int | None = None,
    home: str | os.PathLike[str] | None = None,
) -> list[RunRecord]:
    """Return the runs of a project, or all runs, oldest first.

    Args:
        project: The project; all if None.
        newest: How many at most, those of the newest experiments; all if None.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    found = list(itertools.islice(_newest_first(Home(home), project), newest))
    found.reverse()
    return sorted(found, key=lambda run: run.info.created_ns)


def _newest_first(home: Home, project: str | None = None) -> Iterator[RunRecord]:
    """Yield runs, those of the newest experiments first, and read no more than is asked for."""
    folders = sorted(home.experiment_folders(project), key=os.path.basename, reverse=True)
    index = Index(home)
    for folder in folders:
        infos, jobs = index.experiment(folder)
        infos.sort(key=lambda one: one[1].created_ns)
        for run, info in reversed(infos):
            yield RunRecord(run, jobs, info)
    index.save()


def open_run(run_id: str, *, home: str | os.PathLike[str] | None = None) -> RunRecord:
    """Open a run by its id.

    Args:
        run_id: What `Run.id` told.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        RunNotFound: There is none; names those that read almost the same.
        HomeUnusable: The home folder cannot be read.
    """
    where = Home(home)
    if run := _run_of(where, run_id):
        return run
    known = {os.path.basename(path) for path in where.run_folders()} - {run_id}
    raise RunNotFound(run_id, near_matches(run_id, known))


def _run_of(home: Home, run_id: str) -> RunRecord | None:
    """Return the run of an id; None if there is none, or a folder that does not say what it is."""
    folder = home.find_run(run_id)
    try:
        return RunRecord(folder) if folder is not None else None
    except FileNotFoundError:
        return None


def find_run(text: str, *, home: str | os.PathLike[str] | None = None) -> RunRecord:
    """Find a run as people name it: its id, its name (the newest of them), or "latest".

    Args:
        text: The name.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        RunNotFound: There is none; names those that read almost the same.
        HomeUnusable: The home folder cannot be read.
    """
    where = Home(home)
    if found := _run_of(where, text):
        return found
    names: dict[str, None] = {}
    for run in _newest_first(where):
        if text in (run.name, "latest"):
            return run
        names |= {run.name: None, run.id: None}
    raise RunNotFound(text, near_matches(text, names), bool(names))
