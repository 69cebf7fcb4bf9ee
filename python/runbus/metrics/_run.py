"""The run that a training loop logs to. Loads no numpy, asyncio or msgspec: scripts would pay."""

from __future__ import annotations

import atexit
import errno
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from runbus._home import ENV_ATTEMPT, ENV_HOME, ENV_RUN, Home, abbreviated
from runbus._ids import run_id_of, slug
from runbus._secrets import REDACTED, redacted, redacted_text
from runbus.errors import FileUnreadable, HomeUnusable, RunNotFound, near_matches, os_reason
from runbus.metrics._ends import CANCELLED, DROPPED, FAILED, SUCCEEDED, End
from runbus.metrics._environment import note_environment
from runbus.metrics._folder import make_run_folder, new_journal, writer_of
from runbus.metrics._info import RunInfo
from runbus.metrics._origin import Origin
from runbus.metrics._other_processes import (
    SharedWriter,
    arrive,
    finish_with_process,
    helper_of,
    let_go_of_ended,
)
from runbus.metrics._progress import DONE, TOTAL
from runbus.metrics._rank import rank
from runbus.metrics._recorder import Recorder
from runbus.metrics._records import RecordWriter
from runbus.metrics._resume import ALLOW, last_step, named_run
from runbus.metrics._system import asked_by, sample, stop_sampling
from runbus.metrics._values import check_free, check_name, config_of, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Self

    from runbus._core import Sampler
    from runbus.metrics._system import System

__all__ = ["FAILED", "SUCCEEDED", "Run", "finish_child", "init"]

_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()


class Run(SharedWriter, Recorder):
    """What a process logs to; `runbus.init` makes one.

    `log`, `series`, `group` are the compiled methods of `MetricWriter`, inherited: a call to them
    runs no Python. What is not a metric (params, tags, files) is recorded by those of `Recorder`.
    Threads may share a run.

    A run can be pickled, and so can its series and groups: in another process they come out as a
    writer of that process's own to the same run, in this one as what they were. So they may be
    arguments of what multiprocessing, joblib or Ray call. In a forked child a run is such a writer
    as well. Either has its journal from its first call on, and lets go of it when the run has
    ended: what it logs then is dropped, counted and reported once.

    Used as a context manager it finishes at the end of the block, as FAILED if an exception leaves
    it, as CANCELLED if that is a `KeyboardInterrupt` or one of `cancelled_on`; `sys.exit()` and
    `sys.exit(0)` are a success. A run that is not finished ends as its process does: SUCCEEDED if
    that exits with the status 0, else FAILED. One that is dropped before, other than by the return
    of the function that made it, is LOST, "dropped without finish()".

    Attributes:
        info: What the run is.
        folder: The run's folder.
    """

    # Without a dict of its own, `run.log` is found 7 ns sooner.
    __slots__ = ("__weakref__", "_cancelled_on", "_made_in", "_sampler", "_sync_ms", "info")

    info: RunInfo
    _cancelled_on: tuple[type[BaseException], ...]
    _made_in: tuple[CodeType, int] | None
    _sampler: Sampler | None
    _sync_ms: int | None

    def __new__(
        cls,
        path: str | None,
        info: RunInfo,
        folder: str,
        *,
        sync_ms: int | None = 100,
        cancelled_on: tuple[type[BaseException], ...] = (),
    ) -> Self:
        first = RunInfo.files_to_sync(folder)
        self = super().__new__(cls, path, sync_ms=sync_ms, sync_once=first if path else ())
        self.info = info
        self.folder = folder
        self._cancelled_on = cancelled_on
        self._is_helper = path is None
        self._made_in = None
        self._sampler = None
        self._own_records = RecordWriter(folder, None if path is None else writer_of(path))
        self._retry_at = 0.0
        self._sync_ms = sync_ms
        self._told = False
        _open_runs.add(self)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        config = redacted(to_plain(self.config, "config"))
        return _attached, (self.folder, tuple(self.info._replace(config=config)), self._sync_ms)

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

    def _arrive(self) -> None:
        """Have journals of this process; the compiled calls ask for it where there are none."""
        arrive(self, finish_child)

    @property
    def _records(self) -> RecordWriter:
        if not self.is_open and not self.closed:
            arrive(self, finish_child)
        return self._own_records

    def progress(self, done: float, total: float | None = None) -> None:
        """Report how much of the work is done: `run.progress(done, total)`.

        Views show the share, the rate and the time left. It is logged as the metrics
        `progress/done` and `progress/total`, under the step that was logged last: automatic steps
        go on as without it.

        Args:
            done: How much is done: steps, epochs, samples; counted from 0.
            total: How much there is to do, in the same unit; None if that is unknown.

        Raises:
            TypeError: A value is no real number.
            ValueError: The run is finished.
        """
        said = {DONE: done} if total is None else {DONE: done, TOTAL: total}
        step = self.last_step
        self.log(said, step=-1 if step is None else step)

    def sync(self) -> None:
        """Wait until everything logged so far is on the disk.

        Raises:
            OSError: The disk failed, or somebody has removed the run.
        """
        self._own_records.sync()
        super().sync()
        if self.is_open and not os.path.exists(self.path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)

    def close(self, state: int = SUCCEEDED, reason: str = "") -> None:
        """End the run in a state: everything is on disk when this returns. Safe to repeat.

        Never raises for the disk's sake: what it refuses is reported to the logger
        `runbus.metrics`.

        Args:
            state: 0 succeeded, 1 failed, 2 cancelled.
            reason: Why, to be shown with the state.
        """
        if self.closed:
            return
        self._stop_sampling()
        if reason and self.is_open:
            self._own_records.keep("end", lambda: {"reason": reason})
        # First: while its metrics are being written, a run has a writer.
        self._own_records.close()
        try:
            super().close(state)
        except OSError as error:
            self._own_records.warn(f"what was logged may not be on the disk: {error}")

    def _stop_sampling(self) -> None:
        if (sampler := self._sampler) is None:
            return
        self._sampler = None
        try:
            stop_sampling(self.folder, sampler)
        except OSError as error:
            self._own_records.warn(f"what was sampled may not be on the disk: {error}")

    def finish(self) -> None:
        """End the run as SUCCEEDED: everything is on disk when this returns. Safe to repeat."""
        self.close(SUCCEEDED)

    def _close_by(self, error: BaseException | None) -> None:
        end = End.by(error, self._cancelled_on)
        self.close(FAILED if end.state is None else end.state, end.reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_by(exc)

    def _prepare_exit(self, error: BaseException | None) -> None:
        """Do what needs the interpreter; functions of `atexit` may log after this.

        The exit status, which no one in the interpreter knows, is the end of the run: after a
        status of 0, an error that was printed is not.
        """
        if not self.is_open:
            return
        self._stop_sampling()
        self.fetch()
        end = End.by(error, self._cancelled_on)
        if end.state == CANCELLED:
            # Of an interrupt the process dies by the signal: it has no status.
            self.close(CANCELLED, end.reason)
            return
        if end.reason:
            self._own_records.keep("end", lambda: {"reason": end.reason})
        self._own_records.let_go()

    def __del__(
        self, _is_finalizing: Callable[[], bool] = sys.is_finalizing, _dropped: int = DROPPED
    ) -> None:
        if not self.is_open:
            return
        if _is_finalizing():
            # Its records were let go of before, and what modules name may be gone by now.
            self.leave(_dropped)
        elif self._is_helper:
            self.close()
        elif _is_returning(self._made_in):
            self._stop_sampling()
            self._own_records.let_go()
            self.leave(DROPPED)
        else:
            self.close(DROPPED)

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.name!r} of {self.project!r}>"


def init(
    project: str | None = None,
    name: str | None = None,
    config: Any = None,
    *,
    id: str | None = None,
    resume: str | None = None,
    home: str | os.PathLike[str] | None = None,
    sync_ms: int | None = 100,
    cancelled_on: type[BaseException] | tuple[type[BaseException], ...] = (),
    system: bool | System | None = None,
) -> Run:
    """Start logging.

    In a job that runbus launched, this attaches to the run that was made for the job: its project
    and name stay, and `config` adds what the launcher did not set. So it does with `id` and
    `resume`, and where the variable `RUNBUS_RUN` holds the id or the folder of a run: the ranks of
    a launcher log to one run, a script goes on with an earlier one. Anywhere else it makes a run.

    Args:
        project: What to gather the run under; "default" if nothing says otherwise.
        name: What to call it; the script's name with the end of the run's id, such as
            `train-k3x9qd`, if nothing says otherwise.
        config: What it was started with: a mapping, a dataclass or an `argparse.Namespace` of
            numbers, texts, lists and the like; see `docs/concepts/runs.md` for all that it takes.
        id: The run to join, which is in the home: its id, or a part of it that no other id
            has, such as `k3x9qd`.
        resume: Goes on with a run: automatic steps follow the last one that this rank has logged
            there. The id of the run, as `id` takes it; or "must" or "allow", of a run that `id`
            or `RUNBUS_RUN` names: if there is no such run, "must" raises and "allow" makes a new
            one. A checkpoint that holds `run.id` so brings its run along.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
        sync_ms: How often what was logged is written to the disk, in the background: so much a
            power failure may take. None leaves it to the operating system. The death of the process
            takes nothing in any case.
        cancelled_on: Exceptions which mean, where they end the run, that it was cancelled.
            `KeyboardInterrupt`, `asyncio.CancelledError`, `GeneratorExit` and `optuna.TrialPruned`
            do anyway.
        system: Whether this machine is sampled while the run lasts, by a thread that takes nothing
            from this one: processors, memory, disks, network, GPUs and the run's processes, as
            metrics under `sys/`. A `System` says how. None leaves it to the variable
            `RUNBUS_SYSTEM`, 0, 1 or fields of a `System`; without it the run of a job is sampled
            once it has lasted a second, and no other. However many processes ask, a machine is
            sampled once for a run.

    Returns:
        The run. Log to it with `run.log("loss", 0.1, step=3)` or `run.log({"loss": 0.1}, step=3)`.

    Raises:
        HomeUnusable: The home folder, or that of the run that was made for the job, cannot be made
            or written.
        RunNotFound: There is no run of that id.
        AmbiguousId: `id` is a part of the ids of several runs.
        TypeError: `id` and `resume` are two ids, a name is not a text, `config` holds a value that
            cannot be kept, or `cancelled_on` is not an exception.
        ValueError: A name holds a lone surrogate, is too long, or means another run ("latest" and
            ids do), `config` holds itself or two equal names, `sync_ms` is less than 1, an
            interval of `system` is out of range, `RUNBUS_SYSTEM` holds something else, or `resume`
            is "must" and nothing names a run.
    """
    names = (
        (project, "a project"), (name, "a run"), (id, "the run to join"), (resume, "what to resume")
    )  # fmt: skip
    for given, what in names:
        if given is not None and given != "":
            check_name(given, what)
    if name:
        check_free(name, "a run")
    if project:
        check_free(slug(project), "a project")
    if sync_ms is not None and sync_ms < 1:
        raise ValueError("sync_ms must be at least 1, or None")
    wanted = asked_by(system)
    exceptions = _exceptions(cancelled_on)
    values = config_of(config)
    asked, is_variable = named_run(id, resume)
    place, variable = Home(home).path, ENV_HOME
    try:
        if asked and (folder := _folder_to_join(asked, home, resume)):
            place, variable = folder, ENV_RUN if is_variable else ""
            before = last_step(folder) if resume else None
            run = _joined(folder, values, before, sync_ms, exceptions)
        else:
            # The title becomes the name of a folder.
            title = redacted_text(project or "default")
            run = _make(Home(home), title, name, values, sync_ms, exceptions)
    except OSError as error:
        raise HomeUnusable(place, os_reason(error), variable) from None
    run._made_in = _place_of(sys._getframe(1).f_back)
    if asked and (attempt := os.environ.get(ENV_ATTEMPT)) and not rank():
        note_environment(attempt)
    run._sampler = sample(run.folder, wanted, sync_ms, is_decided=system is not None)
    if "multiprocessing.util" in sys.modules:
        finish_with_process(finish_child)
    return run


def _exceptions(given: Any) -> tuple[type[BaseException], ...]:
    kinds = given if isinstance(given, tuple) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"cancelled_on must be exception classes, not {kind!r}")
    return kinds


def _joined(
    folder: str,
    config: dict[str, Any],
    before: int | None,
    sync_ms: int | None,
    cancelled_on: tuple[type[BaseException], ...],
) -> Run:
    """Return a writer to a run that is there, whose automatic steps follow `before` if not None."""
    info = _attach(folder, config)
    run = Run(new_journal(folder), info, folder, sync_ms=sync_ms, cancelled_on=cancelled_on)
    if before is not None:
        run.continue_after(before)
    return run


def _attached(folder: str, info: tuple[Any, ...], sync_ms: int | None) -> Run:
    """Return this process's writer to a run: what a pickled run becomes. Opens no file."""
    if isinstance(run := helper_of(folder), Run):
        return run
    for run in list(_open_runs):
        if run.folder == folder and not run.closed:
            return run
    let_go_of_ended()
    return Run(None, RunInfo(*info), folder, sync_ms=sync_ms)


def _folder_to_join(
    asked: str, home: str | os.PathLike[str] | None, resume: str | None
) -> str | None:
    """Return the folder of the run to go on with; None if a new one may be made instead.

    Raises:
        RunNotFound: There is no run of that id.
        AmbiguousId: It is a part of several ids.
    """
    try:
        folder = _folder_of(asked, home)
    except RunNotFound:
        if resume != ALLOW:
            raise
        return None
    return folder if resume != ALLOW or os.path.isdir(folder) else None


def _folder_of(asked: str, home: str | os.PathLike[str] | None) -> str:
    """Return the folder of a run, which is named by it or by its id.

    Raises:
        RunNotFound: There is no run of that id.
        AmbiguousId: It is a part of several ids.
    """
    if os.sep in asked:
        return asked
    where = Home(home)
    folder = where.find_run(asked)
    if folder is None:
        known = {os.path.basename(path): path for path in where.run_folders()}
        if (found := abbreviated(asked, known)) is not None:
            return known[found]
        # The newest of a name is one today and another tomorrow: nobody logs to it by that.
        named = [run for run, path in known.items() if _is_called(asked, path)]
        similar = tuple(named) or near_matches(asked, known)
        raise RunNotFound(asked, similar, bool(known), bool(named))
    return folder


def _is_called(name: str, folder: str) -> bool:
    try:
        return RunInfo.read(folder).name == name
    except (FileNotFoundError, FileUnreadable):
        return False


def _make(
    home: Home,
    project: str,
    name: str | None,
    config: dict[str, Any],
    sync_ms: int | None,
    cancelled_on: tuple[type[BaseException], ...],
) -> Run:
    experiment_id, experiment = home.new_experiment(project)
    try:
        run_id = run_id_of(experiment_id, 1)
        origin = Origin.of_process()
        called = name or _name_of(origin, experiment_id)
        info = RunInfo.new(run_id, called, project, config, origin=origin)
        folder = make_run_folder(experiment, info)
        see_git_asked = origin.ask_git(experiment)
        journal = new_journal(folder)
        see_git_asked()
        return Run(journal, info, folder, sync_ms=sync_ms, cancelled_on=cancelled_on)
    except BaseException:
        import shutil

        shutil.rmtree(experiment, ignore_errors=True)
        raise


def _name_of(origin: Origin, experiment_id: str) -> str:
    """Return what a run is called that nobody has given a name: its script, and letters of its id.

    `train-k3x9qd`: as short as it can be and still be another one than before.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    script = spec.name.removesuffix(".__main__") if spec else ""  # python -m package.module
    if not script and origin.argv and "ipykernel" not in sys.modules:
        script = os.path.splitext(os.path.basename(origin.argv[0]))[0]
    script = slug(script.rpartition(".")[2] or "run").removeprefix("unnamed")
    return f"{script if script not in ('', 'c') else 'run'}-{experiment_id[-6:]}"


def _attach(folder: str, config: dict[str, Any]) -> RunInfo:
    info = RunInfo.read(folder)
    # What is a secret there is known here.
    known = {name: value for name, value in config.items() if info.config.get(name) == REDACTED}
    merged = {**config, **info.config, **known}
    # Of the processes of one launch the first speaks for all.
    if to_plain(merged, "config") != info.config and not rank():
        info = info._replace(config=merged)
        info.write(folder)
    return info._replace(config=merged)


def _place_of(frame: FrameType | None) -> tuple[CodeType, int] | None:
    return None if frame is None else (frame.f_code, frame.f_lasti)


def _is_returning(made_in: tuple[CodeType, int] | None) -> bool:
    """Whether what is being dropped goes with the return of the function that made it.

    Then its caller is where it was when it called that function. An exception that left it would
    have been dropped elsewhere.
    """
    try:
        frame = sys._getframe(2)
    except ValueError:
        return True  # what the interpreter drops when it exits by `SystemExit`
    return _place_of(frame) == made_in


def finish_child() -> None:
    """End all runs as a child of multiprocessing does: called where its exception is handled."""
    error = sys.exception()
    for run in list(_open_runs):
        if run.is_open:
            run._close_by(error)


@atexit.register
def _prepare_exit() -> None:
    # The interpreter keeps an exception that nobody caught; at a prompt that is not the end.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for run in list(_open_runs):
        try:
            run._prepare_exit(error)
        except Exception as failure:  # of one run, which must not be that of the others
            run._own_records.warn(f"its end could not be prepared: {failure!r}")
