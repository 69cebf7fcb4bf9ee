"""The runs there are, and where they stand."""

from __future__ import annotations

import itertools
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import read_file
from runbus._home import Home, abbreviated
from runbus._ids import LATEST
from runbus.abc import PackageManifest
from runbus.catalog._html import table_html, time_text
from runbus.catalog._index import Contents, Index
from runbus.catalog._order import looked_at
from runbus.catalog._returned import error_of, result_of
from runbus.codec import DecodeError, decode_json
from runbus.errors import (
    FieldInvalid,
    FileUnreadable,
    RunNotFound,
    near_matches,
)
from runbus.events import JobStarted
from runbus.jobs import FactReader, JobRecord, JobState, current_record, read_jobs
from runbus.metrics import SAMPLES, RunInfo, StoredRun, read_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = [
    "END_STATES",
    "RunList",
    "RunRecord",
    "Unreadable",
    "find_run",
    "found_in",
    "newest_first",
    "open_run",
    "runs",
]

_SHOWN = 100
"""A notebook shows so many runs of a list, the newest, and says how many come before them."""

END_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)
"""The states that a run without a job ends in."""


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

    @classmethod
    def unread(cls, folder: str) -> Self:
        """Return a run that is known to be there; run.json is read when it is asked for."""
        run = cls.__new__(cls)
        run.folder, run._jobs = folder, None
        return run

    @cached_property
    def info(self) -> RunInfo:  # type: ignore[override]  # which may be set, as in the base class
        return RunInfo.read(self.folder)

    def __repr__(self) -> str:
        return f"<RunRecord {self.id} {self.name!r} {self.state}>"

    def _repr_html_(self) -> str:
        facts = [
            ["run", self.id],
            ["name", self.name],
            ["project", self.project],
            ["state", f"{self.state}{f': {self.reason}' if self.reason else ''}"],
            ["created", time_text(self.info.created_ns)],
            *(["param", f"{name} = {value}"] for name, value in self.params.items()),
            *(["tags", ", ".join(self.tags)] for _ in self.tags[:1]),
            ["folder", self.folder],
        ]
        metrics = [
            [name, str(one.points), str(one.last_step), f"{one.last:.6g}", f"{one.min:.6g}",
             f"{one.max:.6g}"]
            for name, one in self.summaries().items()
            if not name.startswith(SAMPLES)
        ]  # fmt: skip
        header = ["metric", "points", "last step", "last", "min", "max"]
        return table_html([], facts) + (table_html(header, metrics) if metrics else "")

    @cached_property
    def job(self) -> JobRecord | None:
        """The job that the run records, as it stood when this was first asked for; None if none."""
        if self.info.job is None:
            return None
        jobs = read_jobs(self.experiment_folder) if self._jobs is None else self._jobs
        job = jobs.get(self.info.job)
        return job and current_record(self.experiment_folder, job)

    @property
    def experiment_folder(self) -> str:
        """The folder of the experiment that the run belongs to."""
        return os.path.dirname(os.path.dirname(self.folder))

    @property
    def job_folder(self) -> str | None:
        """The folder of the job's latest attempt; None for a run without a job."""
        return os.path.join(self.experiment_folder, self.job.folder) if self.job else None

    def attempt_folder(self, attempt: int) -> str | None:
        """Return the folder of an attempt, counted from 1; None for a run without a job.

        The folder need not be there: the attempt may lie ahead.
        """
        folder = self.job_folder
        return folder and os.path.join(os.path.dirname(folder), str(attempt))

    def begun_attempts(self) -> list[int]:
        """Return the attempts of the job that have begun, in order; empty for a run without a job.

        One that waits for its turn, or was cancelled while it did, has not.

        Raises:
            JournalError: The journal of its experiment cannot be read.
        """
        if self.job is None:
            return []
        begun = {self.job.attempt} if self.job.started_ns else set()
        if self.job.attempt > 1:
            facts = FactReader(self.experiment_folder).poll()
            begun |= {
                fact.attempt
                for fact in facts
                if isinstance(fact, JobStarted) and fact.run_id == self.id
            }
            # One that was over before anybody looked has left its records.
            begun |= {one for one in range(1, self.job.attempt) if self._has_records(one)}
        return sorted(begun)

    def _has_records(self, attempt: int) -> bool:
        return os.path.exists(os.path.join(self.attempt_folder(attempt) or "", "pid.json"))

    def packaged(self) -> PackageManifest | None:
        """Return what code the job took along; None if none, or if its record is gone."""
        if self.job is None or not self.job.package:
            return None
        archive = os.path.join(self.experiment_folder, self.job.package)
        try:
            data = read_file(f"{archive.removesuffix('.tar.gz')}.json")
            return decode_json(data, PackageManifest)
        except (FileNotFoundError, FileUnreadable, DecodeError):
            return None

    @property
    def environment(self) -> dict[str, Any]:
        """What the latest attempt of its job ran in; empty if nothing of it logged to the run.

        `python`, `executable`, `host`, `system`, `image`, `gpus` (their models), `variables`
        (names only) and `packages` (versions by name). Of a job on another machine it comes with
        the end.
        """
        return read_environment(self.job_folder) if self.job_folder else {}

    @property
    def result(self) -> Any:
        """What its job's function returned, or `Run.log_result` or its program recorded; or None.

        Raises:
            ResultNotKept: It returned what JSON cannot hold, or has written what is no JSON.
            FileUnreadable: It is not what was logged.
        """
        return result_of(self, self.job.attempt if self.job else None, self.job_folder)

    @property
    def error(self) -> dict[str, str] | None:
        """What the function raised that its job has run: `type`, `text` and `traceback`; or None.

        Raises:
            FileUnreadable: It is not what was logged.
        """
        return error_of(self, self.job.attempt if self.job else None)

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
            return current_record(self.experiment_folder, self.job).state
        end = self.end_unless_live()
        if end is None:
            return JobState.RUNNING
        return JobState.LOST if end.state is None else END_STATES[end.state]

    @property
    def reason(self) -> str:
        """Why the run is in its state, such as `ValueError: boom`; empty if there is no reason."""
        if self.info.job is not None:
            if self.job is None:
                return ""
            return current_record(self.experiment_folder, self.job).reason
        return "" if self.is_being_written() else self.end().reason


class RunList(list[RunRecord]):
    """A list of runs, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            [run.id, run.name, run.project, str(run.state), time_text(run.info.created_ns)]
            for run in self[-_SHOWN:]
        ]
        left_out = f"<p>… and {len(self) - _SHOWN} before them</p>" if len(self) > _SHOWN else ""
        return table_html(["id", "name", "project", "state", "created"], rows) + left_out


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
    readable = (one for one in newest_first(Home(home), project) if isinstance(one, RunRecord))
    found = RunList(itertools.islice(readable, newest))
    found.reverse()
    return found


class Unreadable(NamedTuple):
    """A folder that should be a run or an experiment; `problem` says why it is not."""

    folder: str
    problem: str


def newest_first(
    home: Home, project: str | None = None, index: Index | None = None
) -> Iterator[RunRecord | Unreadable]:
    """Yield runs, those of the newest experiments first, and read no more than is asked for."""
    if index is None:
        with Index(home) as index:
            yield from newest_first(home, project, index)
            index.save()
        return
    closed: dict[str, str] = {}
    for folder in looked_at(home, project, index, closed):
        yield from found_in(folder, index.experiment(folder))
    yield from itertools.starmap(Unreadable, closed.items())


def found_in(folder: str, contents: Contents) -> Iterator[RunRecord | Unreadable]:
    """Yield the runs of an experiment, the last one first."""
    infos, jobs, problems = contents
    unsaid = problems.pop(folder, "")
    for run, info in reversed(infos):
        if unsaid and info.job is not None:
            yield Unreadable(run, unsaid)
        else:
            yield RunRecord(run, jobs, info)
    if unsaid and not any(info.job is not None for _, info in infos):
        yield Unreadable(folder, unsaid)
    yield from itertools.starmap(Unreadable, problems.items())


def open_run(run: str, *, home: str | os.PathLike[str] | None = None) -> RunRecord:
    """Open a run by its id, a part of its id, or its name.

    Args:
        run: What `Run.id` told; or a part of it that no other id has, such as `k3x9qd`; or the
            name of a run (the newest of that name); or "latest".
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        RunNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        FieldInvalid: It is no text.
        FileUnreadable: The run of that id cannot be read, or is damaged.
        HomeUnusable: The home folder cannot be read.
    """
    return find_run(run, home=home)


def _run_of(home: Home, run_id: str) -> RunRecord | None:
    """Return the run of an id; None if there is none, or a folder that does not say what it is."""
    folder = home.find_run(run_id)
    try:
        return RunRecord(folder) if folder is not None else None
    except FileNotFoundError:
        return None


def find_run(text: str, *, home: str | os.PathLike[str] | None = None) -> RunRecord:
    """Find a run as people name it: by its id, its name (the newest), a part of its id, "latest".

    Args:
        text: The name.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        RunNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        FieldInvalid: It is no text.
        FileUnreadable: The run of that id cannot be read, or is damaged.
        HomeUnusable: The home folder cannot be read.
    """
    given: object = text
    if not isinstance(given, str):
        expected = "expected text: an id, a part of one, or a name"
        raise FieldInvalid("run", repr(text), expected, "write run.id, or its name")
    where = Home(home)
    if found := _run_of(where, text):
        return found
    names: dict[str, None] = {}
    known: dict[str, RunRecord] = {}
    for run in newest_first(where):
        if isinstance(run, Unreadable):
            continue
        if text in (run.name, LATEST):
            return run
        known[run.id] = run
        names |= {run.name: None, run.id: None}
    if (found_id := abbreviated(text, known)) is not None:
        return known[found_id]
    near = near_matches(text, [LATEST, *names] if names else ())
    raise RunNotFound(text, near, bool(names))
