"""The run that a training loop logs to. Loads no numpy, asyncio or msgspec: scripts would pay."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from runbus._core import MetricWriter
from runbus._home import ENV_HOME, ENV_RUN, Home
from runbus._ids import run_id_of
from runbus._secrets import REDACTED
from runbus.errors import HomeUnusable
from runbus.metrics._folder import make_run_folder, new_journal, writer_of
from runbus.metrics._info import RunInfo
from runbus.metrics._rank import rank
from runbus.metrics._recorder import Recorder
from runbus.metrics._records import RecordWriter
from runbus.metrics._values import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

__all__ = ["FAILED", "SUCCEEDED", "Run", "init"]

SUCCEEDED, FAILED = 0, 1
"""The states a journal can end in."""

_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()
_workers: list[Run] = []  # Runs that only pickles hold: the next one must find the same writer.


class Run(MetricWriter, Recorder):
    """What a process logs to; `runbus.init` makes one.

    `log`, `series`, `group` are the compiled methods of `MetricWriter`, inherited: a call to them
    runs no Python. What is no metric (params, tags, files) is recorded by those of `Recorder`.
    Threads may share a run. A forked child's copy is inert: it logs nothing.

    A run can be pickled, and so can its series and groups: in another process they come out as a
    writer of that process's own to the same run, in this one as what they were. So they may be
    arguments of what multiprocessing, joblib or Ray call.

    Used as a context manager it finishes at the end of the block, as FAILED if an exception leaves
    it; `sys.exit()` and `sys.exit(0)` are no failure. A run that is not finished is finished when
    nothing refers to it any more, or when the interpreter exits.

    Attributes:
        info: What the run is.
        folder: The run's folder.
    """

    # Without a dict of its own, `run.log` is found 7 ns sooner.
    __slots__ = ("__weakref__", "_pid", "_records", "_sync_ms", "folder", "info")

    info: RunInfo
    folder: str
    _sync_ms: int | None
    _pid: int
    _records: RecordWriter

    def __new__(cls, path: str, info: RunInfo, folder: str, *, sync_ms: int | None = 100) -> Self:
        self = super().__new__(cls, path, sync_ms=sync_ms)
        self.info = info
        self.folder = folder
        self._sync_ms = sync_ms
        self._pid = os.getpid()
        self._records = RecordWriter(folder, writer_of(path))
        _open_runs.add(self)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self.folder, self._sync_ms)

    @property
    def id(self) -> str:
        """The run's id, as `runbus.open_run` takes it."""
        return self.info.id

    @property
    def name(self) -> str:
        """What people call the run."""
        return self.info.name

    @property
    def project(self) -> str:
        """What the run is gathered under."""
        return self.info.project

    @property
    def config(self) -> dict[str, Any]:
        """What the run was started with; inside a sweep, the sweep's values are in it."""
        return self.info.config

    def sync(self) -> None:
        """Wait until everything logged so far is on the disk.

        Raises:
            OSError: The disk failed.
        """
        self._records.sync()
        super().sync()

    def close(self, state: int = SUCCEEDED) -> None:
        """End the run in a state: everything is on disk when this returns. Safe to repeat.

        Raises:
            OSError: The disk failed. The run is ended all the same.
        """
        # First: while its metrics are being written, a run has a writer.
        self._records.close()
        super().close(state)

    def finish(self) -> None:
        """End the run as SUCCEEDED: everything is on disk when this returns. Safe to repeat."""
        self.close(SUCCEEDED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = isinstance(exc, SystemExit) and exc.code in (None, 0)
        self.close(SUCCEEDED if exc_type is None or left else FAILED)

    def __del__(self) -> None:
        # As when `main` made it and has returned.
        if not self.closed:
            self.close(SUCCEEDED)

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.name!r} of {self.project!r}>"


def init(
    project: str | None = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    sync_ms: int | None = 100,
) -> Run:
    """Start logging.

    In a job that runbus launched, this attaches to the run that was made for the job: its project
    and name stay, and `config` adds what the launcher did not set. Anywhere else it makes a run.

    Args:
        project: What to gather the run under; "default" if nothing says otherwise.
        name: What to call it; the id if nothing says otherwise.
        config: What it was started with: numbers, texts, lists and mappings.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
        sync_ms: How often what was logged is written to the disk, in the background: so much a
            power failure may take. None leaves it to the operating system. The death of the process
            takes nothing in any case.

    Returns:
        The run. Log to it with `run.log("loss", 0.1, step=3)` or `run.log({"loss": 0.1}, step=3)`.

    Raises:
        HomeUnusable: The home folder, or that of the run that was made for the job, cannot be made
            or written.
        TypeError: A name is no text, or `config` holds a value that cannot be kept as JSON.
        ValueError: A name holds a lone surrogate or is too long, `config` holds itself, or
            `sync_ms` is less than 1.
    """
    for given, what in ((project, "a project"), (name, "a run")):
        if given is not None and given != "":
            check_name(given, what)
    attached = os.environ.get(ENV_RUN)
    place = attached or Home(home).path
    try:
        if attached:
            folder, info = attached, _attach(attached, config or {})
        else:
            folder, info = _make(Home(home), project or "default", name, config or {})
        run = Run(new_journal(folder), info, folder, sync_ms=sync_ms)
    except OSError as error:
        variable = ENV_RUN if attached else ENV_HOME
        raise HomeUnusable(place, (error.strerror or str(error)).lower(), variable) from error
    return run


def _attached(folder: str, sync_ms: int | None) -> Run:
    """Return this process's writer to a run, made on first use: what a pickled run becomes."""
    ours = [run for run in list(_open_runs) if run._pid == os.getpid() and not run.closed]
    for run in ours:
        if run.folder == folder:
            return run
    try:
        journal = new_journal(folder, is_helper=True)
        run = Run(journal, RunInfo.read(folder), folder, sync_ms=sync_ms)
    except OSError as error:
        raise HomeUnusable(folder, (error.strerror or str(error)).lower(), "") from error
    _workers[:] = [*(run for run in _workers if run in ours), run]
    if "multiprocessing.util" in sys.modules:
        # Its children leave without the interpreter's own end.
        from multiprocessing.util import register_after_fork

        _finish_with_process(run)
        # What is an argument of a child comes before the child has cleared its list of things to do
        # at the end, which it does just before this.
        register_after_fork(run, _finish_with_process)
    return run


def _finish_with_process(run: Run) -> None:
    from multiprocessing.util import Finalize

    if run._pid == os.getpid():
        Finalize(None, run.finish, exitpriority=0)


def _make(
    home: Home, project: str, name: str | None, config: Mapping[str, Any]
) -> tuple[str, RunInfo]:
    experiment_id, experiment = home.new_experiment(project)
    run_id = run_id_of(experiment_id, 1)
    info = RunInfo.new(run_id, name or run_id, project, config)
    return make_run_folder(experiment, info), info


def _attach(folder: str, config: Mapping[str, Any]) -> RunInfo:
    info = RunInfo.read(folder)
    # What is a secret there is none here.
    known = {name: value for name, value in config.items() if info.config.get(name) == REDACTED}
    merged = {**config, **info.config, **known}
    # Of the processes of one launch the first speaks for all.
    if merged != info.config and not rank():
        info = info._replace(config=merged)
        info.write(folder)
    return info


@atexit.register
def _finish_at_exit() -> None:
    # The interpreter keeps an exception that nobody caught; at a prompt that is not the end.
    crashed = hasattr(sys, "last_value") and not hasattr(sys, "ps1")
    for run in list(_open_runs):
        run.close(FAILED if crashed else SUCCEEDED)
