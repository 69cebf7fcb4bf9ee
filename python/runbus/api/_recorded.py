"""What is asked about an experiment by the names of its jobs, while it runs and afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from runbus._secrets import redacted_text
from runbus.api._status import ExperimentList, ExperimentStatus
from runbus.attempt import read_log
from runbus.catalog import RunList, batches, find_experiment, open_run
from runbus.config import members_by_group
from runbus.errors import (
    ExperimentNotFound,
    FieldInvalid,
    JobNotFound,
    UsageError,
    near_matches,
)
from runbus.experiment import JobHandle, as_batch, as_python, members_by_origin
from runbus.jobs import Asked, attempt_heading

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterator, Sequence
    from typing import Self

    from runbus.abc import JobSpec
    from runbus.catalog import JobStatus

__all__ = ["Recorded"]

_MOST_BYTES = 1 << 20
"""So much of a log is returned: what `read_log` reads at once."""

_SOURCES: tuple[Literal["stdout"], Literal["stderr"]] = ("stdout", "stderr")


class Recorded:
    """An experiment that is, or may be, on record.

    Args:
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
    """

    title: str

    def __init__(self, home: str | os.PathLike[str] | None) -> None:
        self._home = None if home is None else os.fspath(home)
        self._folder = ""
        self._handles: dict[str, JobHandle] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'not run yet'} of {self.title!r}>"

    @property
    def id(self) -> str:
        """Its id; empty before it is recorded."""
        return os.path.basename(self._folder)

    @property
    def folder(self) -> str:
        """Its folder; empty before it is recorded."""
        return self._folder

    @property
    def jobs(self) -> dict[str, JobHandle]:
        """What `add` has returned, by the names of jobs and groups."""
        return dict(self._handles)

    def as_yaml(self) -> str:
        """Return what was asked as a batch file that `runbus submit` takes. Blocks for files.

        Comments at its beginning say what a batch file has no words for.

        Raises:
            UsageError: It is not recorded yet.
            FileUnreadable: Its record is damaged.
            TaskInvalid: There is no task of some type any more.
        """
        return as_batch(self._recorded_folder())

    def as_python(self) -> str:
        """Return what was asked as Python code that asks for the same. Blocks for files.

        Nothing of the user's is imported or run; errors are those of `as_yaml`.
        """
        return as_python(self._recorded_folder())

    def _recorded_folder(self) -> str:
        if not self._folder:
            raise UsageError(f"the experiment {self.title!r} is not recorded yet: run it first")
        return self._folder

    def status(self) -> ExperimentStatus:
        """Return where the jobs stand, in the order in which they were added. Blocks for files.

        It is empty before the experiment is recorded.

        Raises:
            JournalError: The journal cannot be read.
        """
        return ExperimentStatus.of(self._folder)

    def logs(
        self,
        job: str | JobHandle,
        *,
        source: Literal["stdout", "stderr", "both"] = "both",
        attempt: int | None = None,
    ) -> str:
        """Return what a job has written so far; of much, the last MiB of each attempt.

        Where several attempts have written something, a line such as `==> attempt 2 <==` goes
        before what each has written.

        Args:
            job: The job.
            source: Which output; if both, its standard output before its standard error.
            attempt: Only this attempt, from 1; all in order if None. Empty for one that has not
                been made.

        Raises:
            JobNotFound: There is no such job.
            FieldInvalid: There is no such output.
        """
        if source not in (*_SOURCES, "both"):
            raise FieldInvalid("source", repr(source), "expected stdout, stderr or both")
        wanted = set(self._named(job))
        sources = _SOURCES if source == "both" else (source,)
        return "".join(
            _logs(one, sources, attempt)
            for one in ExperimentStatus.of(self._folder)
            if one.record.name in wanted
        )

    @property
    def runs(self) -> RunList:
        """What the jobs have recorded: a run each, in the order in which they were added."""
        return RunList(
            open_run(one.record.run_id, home=self._home)
            for one in ExperimentStatus.of(self._folder)
        )

    @property
    def results(self) -> dict[str, Any]:
        """What the functions of jobs that have succeeded returned, by the names of the jobs.

        Raises:
            ResultNotKept: A function returned what JSON cannot hold.
        """
        return {
            one.record.name: open_run(one.record.run_id, home=self._home).result
            for one in ExperimentStatus.of(self._folder)
            if one.record.state == "SUCCEEDED"
        }

    def _named(self, job: str | JobHandle | None) -> Iterator[str]:
        """Yield the jobs that a name or a handle means.

        Raises:
            JobNotFound: There is no such job.
        """
        handle = job if isinstance(job, JobHandle) else self._handles.get(str(job))
        if handle is None or self._handles.get(handle.name) is not handle:
            raise JobNotFound(str(job), near_matches(str(job), self._handles), bool(self._handles))
        yield from handle.jobs

    # -- finding again

    @classmethod
    def from_id(cls, id: str, *, home: str | os.PathLike[str] | None = None) -> Self:
        """Return an experiment that was recorded before; no code of it is imported or run.

        `run` or `wait` goes on with what has not ended. What is added joins the experiment with the
        next `run`, with the code that it has packaged; not while another process leads it.

        Args:
            id: Its id, or a part of it that no other id has.
            home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

        Raises:
            ExperimentNotFound: There is none.
            AmbiguousId: It is a part of several ids.
        """
        return cls._found(find_experiment(_text(id, "id"), home=home), home)

    @classmethod
    def from_title(cls, title: str, *, home: str | os.PathLike[str] | None = None) -> Self:
        """Return the newest experiment of a title; see `from_id`.

        Raises:
            ExperimentNotFound: There is none.
        """
        found = [one for one in cls.list(_text(title, "title"), home=home) if not one.problem]
        if not found:
            known = {one.project for one in cls.list(home=home)}
            raise ExperimentNotFound(title, near_matches(title, known), bool(known))
        return cls._found(found[-1].folder, home)

    @classmethod
    def list(
        cls, title: str | None = None, *, home: str | os.PathLike[str] | None = None
    ) -> ExperimentList:
        """Return the experiments of a title, or all, oldest first, and where their jobs stand."""
        return ExperimentList(batches(title, home=home))

    @classmethod
    def catalog(
        cls, title: str | None = None, *, home: str | os.PathLike[str] | None = None
    ) -> builtins.list[str]:
        """Return the ids of the experiments of a title, or of all, oldest first."""
        return [one.id for one in batches(title, home=home)]

    @classmethod
    def _found(cls, folder: str, home: str | os.PathLike[str] | None) -> Self:
        asked = Asked.read(folder)
        found = cls.__new__(cls)
        found._find(folder, asked, home)
        return found

    def _find(self, folder: str, asked: Asked, home: str | os.PathLike[str] | None) -> None:
        Recorded.__init__(self, home)
        self.title = asked.project
        self._folder = folder
        self._handles = {one.name: JobHandle(one.name, self) for one in asked.jobs}
        groups = members_by_group({one.name: one.group for one in asked.jobs})
        for name, members in groups.items():
            of_group = [self._handles[one] for one in members]
            self._handles.setdefault(name, JobHandle(name, self, of_group))
        self._split(asked.jobs)
        for sweep in asked.sweeps:
            points = [self._handles[one] for one in sweep.jobs if one in self._handles]
            if sweep.name:
                self._handles.setdefault(sweep.name, JobHandle(sweep.name, self, points, {}))

    def _split(self, specs: Sequence[JobSpec]) -> None:
        """Take in the copies that recorded jobs run as."""
        for name, members in members_by_origin({one.name: one.copy for one in specs}).items():
            for one in members:
                self._handles.setdefault(one, JobHandle(one, self))
            whole = self._handles.setdefault(name, JobHandle(name, self))
            whole.split([self._handles[one] for one in members])


def _logs(
    job: JobStatus, sources: Sequence[Literal["stdout", "stderr"]], attempt: int | None
) -> str:
    written = {
        number: text
        for number, folder in enumerate(job.attempts, 1)
        if attempt in (None, number) and (text := "".join(_log(folder, one) for one in sources))
    }
    if len(written) < 2:
        return "".join(written.values())
    return "".join(
        f"{attempt_heading(number)}\n" + text.removesuffix("\n") + "\n"
        for number, text in written.items()
    )


def _log(folder: str, source: Literal["stdout", "stderr"]) -> str:
    try:
        size = os.path.getsize(os.path.join(folder, f"{source}.log"))
    except OSError:
        return ""
    data = read_log(folder, source, max(0, size - _MOST_BYTES))
    return redacted_text(data.decode("utf-8", "replace"))


def _text(given: object, field: str) -> str:
    if not isinstance(given, str):
        raise FieldInvalid(field, repr(given), "expected text")
    return given
