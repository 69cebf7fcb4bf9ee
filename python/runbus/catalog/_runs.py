"""The runs there are, and where they stand."""

from __future__ import annotations

import itertools
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus._files import read_file
from runbus._home import Home, abbreviated
from runbus._ids import LATEST
from runbus._secrets import redacted_text
from runbus.abc import PackageManifest
from runbus.catalog._html import table_html, time_text
from runbus.catalog._index import INDEX_FILE, Index, Seen
from runbus.catalog._returned import error_of, result_of
from runbus.codec import DecodeError, decode_json
from runbus.errors import (
    FieldInvalid,
    FileUnreadable,
    RunbusError,
    RunNotFound,
    near_matches,
)
from runbus.events import JobStarted
from runbus.jobs import FactReader, JobRecord, JobState, current_record, read_jobs
from runbus.metrics import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.metrics import RunInfo

__all__ = [
    "UNREADABLE",
    "RunList",
    "RunRecord",
    "RunRow",
    "find_run",
    "open_run",
    "rebuild_index",
    "runs",
    "survey",
]

UNREADABLE = "UNREADABLE"
"""The state of a run in a list, if a file of it is damaged or may not be read."""

_SHOWN = 100
"""A notebook shows so many runs of a list, the newest, and says how many come before them."""

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
        return sorted(begun)

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
    def result(self) -> Any:
        """What the function returned that its job has run; None if nothing, or if it ran none.

        Raises:
            ResultNotKept: It returned what JSON cannot hold.
            FileUnreadable: It is not what was logged.
        """
        return result_of(self, self.job.attempt if self.job else None)

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
        return JobState.LOST if end.state is None else _END_STATES[end.state]

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
    readable = (one for one in _newest_first(Home(home), project) if isinstance(one, RunRecord))
    found = RunList(itertools.islice(readable, newest))
    found.reverse()
    return found


class RunRow(NamedTuple):
    """A run, or a folder that should be one, as a list of runs shows it.

    Attributes:
        id: The run's id; the name of its folder, if the run cannot be read.
        name: What people call it; empty if the run cannot be read.
        project: What it is gathered under.
        state: Where it stands: a `JobState`, or `UNREADABLE`.
        tags: Its tags.
        created_ns: When it was made, Unix time in nanoseconds; 0 if that is not known.
        folder: Its folder.
        run: The run; None if it cannot be read.
        problem: Which file is wrong, and how; empty if all is well.
    """

    id: str
    name: str
    project: str
    state: str
    tags: list[str]
    created_ns: int
    folder: str
    run: RunRecord | None
    problem: str

    @classmethod
    def of(cls, found: RunRecord | Unreadable, seen: Seen | None = None) -> RunRow:
        """Look at a run; whatever is wrong with its files becomes a part of the row.

        Args:
            found: The run.
            seen: What is known of it, and need not be looked at.
        """
        if isinstance(found, Unreadable):
            id_, project = os.path.basename(found.folder), _project_of(found.folder)
            row = cls(id_, "", project, UNREADABLE, [], 0, found.folder, None, found.problem)
            return row
        try:
            state, tags = seen or (str(found.state), found.tags)
            problem = ""
        except (RunbusError, OSError) as error:
            state, tags, problem = UNREADABLE, [], str(error)
        about = found.info
        return cls(
            *(about.id, about.name, about.project, state, tags, about.created_ns),
            *(found.folder, found if not problem else None, problem),
        )


def survey(
    project: str | None = None,
    *,
    newest: int | None = None,
    home: str | os.PathLike[str] | None = None,
) -> list[RunRow]:
    """Return a row for each run, oldest first, and for each folder of one that cannot be read.

    Args:
        project: The project; all if None.
        newest: How many at most, those of the newest experiments; all if None.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    where = Home(home)
    with Index(where) as index:
        found = itertools.islice(_newest_first(where, project, index), newest)
        rows = [_row(one, index) for one in found]
        index.save()
    rows.reverse()
    return rows


def rebuild_index(home: Home) -> int:
    """Make the index anew and return how many experiments are in it."""
    try:
        os.unlink(os.path.join(home.path, INDEX_FILE))
    except OSError:
        pass
    with Index(home) as index:
        for one in _newest_first(home, index=index):
            _row(one, index)
        return index.save(worth=0)


def _row(found: RunRecord | Unreadable, index: Index) -> RunRow:
    """Look at a run, from the index where that is as good, and remember there what is over."""
    if isinstance(found, RunRecord) and (seen := index.seen(found.folder)) is not None:
        return RunRow.of(found, seen)
    row = RunRow.of(found)
    if row.run is not None and row.run.info.job is None and row.state in _END_STATES:
        index.note(row.folder, Seen(row.state, row.tags))
    return row


class Unreadable(NamedTuple):
    """A folder that should be a run or an experiment; `problem` says why it is not."""

    folder: str
    problem: str


def _project_of(folder: str) -> str:
    """Return the project of a run's or an experiment's folder, as far as paths tell."""
    parent = os.path.dirname(folder)
    if os.path.basename(parent) == "runs":
        parent = os.path.dirname(os.path.dirname(parent))
    return os.path.basename(parent)


def _newest_first(
    home: Home, project: str | None = None, index: Index | None = None
) -> Iterator[RunRecord | Unreadable]:
    """Yield runs, those of the newest experiments first, and read no more than is asked for."""
    if index is None:
        with Index(home) as index:
            yield from _newest_first(home, project, index)
            index.save()
        return
    closed: dict[str, str] = {}
    title = None if project is None else redacted_text(project)  # as its folder is called
    folders = list(home.experiment_folders(title, problems=closed))
    folders.sort(key=os.path.basename, reverse=True)
    for folder in folders:
        infos, jobs, problems = index.experiment(folder)
        unsaid = problems.pop(folder, "")
        for run, info in reversed(infos):
            if unsaid and info.job is not None:
                yield Unreadable(run, unsaid)
            else:
                yield RunRecord(run, jobs, info)
        if unsaid and not any(info.job is not None for _, info in infos):
            yield Unreadable(folder, unsaid)
        yield from itertools.starmap(Unreadable, problems.items())
    yield from itertools.starmap(Unreadable, closed.items())


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
    for run in _newest_first(where):
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
