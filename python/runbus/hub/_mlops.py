"""Tracking in a home of runbus, by the words of tracking servers."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from runbus._files import make_folders
from runbus._home import ENV_RUN, Home
from runbus._ids import meaning_of, slug
from runbus._secrets import redacted_text
from runbus.abc import MLOpsPlugin
from runbus.catalog import RunRecord, open_run, runs
from runbus.errors import HomeUnusable, RunNotFound, UsageError, os_reason
from runbus.metrics import CANCELLED, Run, init

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RunbusMLOps", "TrackedExperiment"]


class TrackedExperiment(NamedTuple):
    """An experiment as tracking servers have it: what runbus calls a project.

    Attributes:
        experiment_id: Its id.
        name: What it is called.
        run_ids: Its runs, oldest first.
    """

    experiment_id: str
    name: str
    run_ids: tuple[str, ...]


class RunbusMLOps(MLOpsPlugin):
    """Tracks runs in a home of runbus: no server, and `runbus ls`, `show` and `plot` show them.

    Several runs may be open at once, started by several threads; each method without a run's id
    means the one that its own thread has started last.

    Args:
        home: The home folder; `$RUNBUS_HOME` or `~/.runbus` if None.
    """

    def __init__(self, *, home: str | None = None) -> None:
        self._home = Home(home)
        self._lock = threading.Lock()
        self._open: dict[str, Run] = {}
        self._current = threading.local()

    @property
    def home(self) -> str:
        """The home folder that runs are tracked in."""
        return self._home.path

    def initialize(self) -> None:
        """Make the home folder.

        Raises:
            HomeUnusable: It cannot be made or written.
        """
        try:
            make_folders(self._home.experiments)
        except OSError as error:
            raise HomeUnusable(self.home, os_reason(error)) from None
        if not os.access(self._home.experiments, os.W_OK):
            raise HomeUnusable(self.home, "it cannot be written")

    def shutdown(self) -> None:
        """End the runs that are open, as succeeded."""
        with self._lock:
            left, self._open = [*self._open.values()], {}
        for run in left:
            run.finish()

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the home can be written, how many runs are open and how much is free."""
        if not os.access(self._home.experiments, os.W_OK):
            return False, {"status": "error", "message": "the home cannot be written"}
        free = shutil.disk_usage(self._home.experiments).free
        facts = {"home": self.home, "open_runs": len(self._open), "free_bytes": free}
        return True, {"status": "connected", **facts}

    def set_tracking_uri(self, uri: str) -> None:
        """Use another home from now on; runs that are open stay in theirs.

        Args:
            uri: A path, or `file:///path`.

        Raises:
            UsageError: It names a server.
            HomeUnusable: The folder cannot be made or written.
        """
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file") or parts.netloc:
            told = redacted_text(uri)
            raise UsageError(f"{told} is no folder: runs are tracked in a home, without a server")
        before, self._home = self._home, Home(unquote(parts.path) if parts.scheme else uri)
        try:
            self.initialize()
        except HomeUnusable:
            self._home = before
            raise

    def create_experiment(self, name: str) -> str:
        """Return the id of the experiment of a name, which is made if it does not exist.

        Raises:
            UsageError: The name is empty, or means something else, as `latest` does.
            HomeUnusable: The home folder cannot be written.
        """
        id_ = experiment_id(name)
        try:
            make_folders(os.path.join(self._home.experiments, id_))
        except OSError as error:
            raise HomeUnusable(self.home, os_reason(error)) from None
        return id_

    def get_experiment_by_name(self, name: str) -> TrackedExperiment | None:
        """Return the experiment of a name, with its runs; None if there is none."""
        id_ = slug(name)
        if not os.path.isdir(os.path.join(self._home.experiments, id_)):
            return None
        found = runs(id_, home=self._home)
        title = found[-1].project if found else name
        return TrackedExperiment(id_, title, tuple(run.id for run in found))

    def start_run(self, experiment_id: str) -> str:
        """Start a run and return its id; it is the current one of this thread.

        In a job that runbus launched this is the job's own run, of which there is one.

        Raises:
            UsageError: The job's run is open already.
            HomeUnusable: The home folder cannot be written.
            ValueError: The id is no name of an experiment.
        """
        of_job = os.path.basename(os.environ.get(ENV_RUN, ""))
        if of_job and of_job in self._open:
            raise UsageError(f"a job has one run, and {of_job} is open already: end it first")
        run = init(project=experiment_id, home=self._home)
        with self._lock:
            self._open[run.id] = run
        self._current.run_id = run.id
        return run.id

    def log_metric(
        self, key: str, value: float, step: int | None = None, run_id: str | None = None
    ) -> None:
        """Log a value of a metric to a run, the current one if None.

        Raises:
            RunNotFound: No such run is open here.
        """
        self._run(run_id).log(key, value, step=step)

    def log_params(self, params: Mapping[str, Any], run_id: str | None = None) -> None:
        """Log parameters of a run, the current one if None.

        Raises:
            RunNotFound: No such run is open here.
            TypeError: A value cannot be kept.
        """
        self._run(run_id).params(params)

    def log_artifact(self, path: str, artifact_path: str, run_id: str | None = None) -> None:
        """Keep a copy of a file or folder with a run, the current one if None.

        Raises:
            RunNotFound: No such run is open here.
            ArtifactUnreadable: The file cannot be read.
            HomeUnusable: It cannot be kept: the disk is full, say.
        """
        if self._run(run_id).log_artifact(path, name=artifact_path or None) is None:
            raise HomeUnusable(self.home, f"{path} could not be kept")

    def end_run(self, run_id: str) -> None:
        """End a run as succeeded; safe to repeat.

        Raises:
            RunNotFound: There is no such run.
        """
        if (run := self._taken(run_id)) is not None:
            run.finish()
        else:
            self.get_run(run_id)

    def get_run(self, run_id: str) -> RunRecord:
        """Return the record of a run, of which all can be read that was logged so far.

        Raises:
            RunNotFound: There is no such run.
        """
        return open_run(run_id, home=self._home)

    def kill_run(self, run_id: str) -> bool:
        """End a run as cancelled, be it open here or that of a job, and only this one.

        Returns:
            Whether there was anything to end. A run that another process has open, without a job,
            is left to that process.

        Raises:
            RunNotFound: There is no such run.
        """
        if (run := self._taken(run_id)) is not None:
            run.close(CANCELLED, "killed")
            return True
        record = self.get_run(run_id)
        # Costs what a kernel costs, which a script that only tracks need not pay.
        from runbus.hub._jobs import end_job

        return end_job(record, "killed")

    def _taken(self, run_id: str) -> Run | None:
        with self._lock:
            return self._open.pop(run_id, None)

    def _run(self, run_id: str | None) -> Run:
        wanted = run_id or str(getattr(self._current, "run_id", ""))
        with self._lock:
            run = self._open.get(wanted)
        if run is None:
            if not wanted:
                raise UsageError("no run was started in this thread: call start_run() first")
            raise RunNotFound(wanted, ())
        return run


def experiment_id(name: str) -> str:
    """Return the id of an experiment of a name.

    Raises:
        UsageError: The name is empty, or means something else, as `latest` does.
    """
    given: object = name
    if not isinstance(given, str) or not given.strip():
        raise UsageError(f"an experiment cannot be called {name!r}")
    if means := meaning_of(slug(name)):
        raise UsageError(f"an experiment cannot be called {name!r}: that means {means}")
    return slug(name)
