"""A task queue without a broker: functions as supervised jobs of this machine."""

from __future__ import annotations

import importlib
import inspect
import os
import time
from collections.abc import Mapping, Sequence  # noqa: TC003 - the configuration reads it
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from runbus._listed import listed
from runbus._secrets import Secret  # noqa: TC001 - as above
from runbus.abc import TaskQueuePlugin
from runbus.api import portal
from runbus.catalog import open_run
from runbus.config import Partial
from runbus.errors import (
    FieldInvalid,
    HubClosed,
    QueueFull,
    RunNotFound,
    StillRunning,
    TargetUnusable,
    TaskFailed,
    TaskNotFound,
    UsageError,
    near_matches,
)
from runbus.executors import LocalExecutor
from runbus.experiment import ExperimentDraft, Job
from runbus.hub._jobs import Leader, Led, end_job
from runbus.hub._plain import check_amount
from runbus.jobs import JobState, leader_of
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.catalog import RunRecord

__all__ = ["LocalQueue"]

_LOOK_S = 0.1

_STATUS = {
    JobState.RUNNING: "STARTED",
    JobState.SUCCEEDED: "SUCCESS",
    JobState.FAILED: "FAILURE",
    JobState.TIMEOUT: "FAILURE",
    JobState.LOST: "FAILURE",
    JobState.CANCELLED: "REVOKED",
    JobState.PREEMPTED: "RETRY",
}
"""States in Celery's words; what has not begun is PENDING, or RETRY after an attempt."""


class LocalQueue(TaskQueuePlugin):
    """Calls functions by name, each in a supervised process of its own, whose record is a run.

    Ids of tasks are ids of runs: `runbus show` and `logs` know them, and so does another process.
    The process that has submitted tasks leads them; `shutdown` ends those that are not over.

    Args:
        tasks: Modules whose functions are registered from the beginning.
        max_parallel: How many run at a time; as many as there are processors if None.
        capacity: How many may wait and run together.
        project: What the runs are gathered under.
        home: The home folder; `$RUNBUS_HOME` or `~/.runbus` if None.
        env: What is added to the environment of each task; what must stay secret as a `Secret`.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str] = (),
        max_parallel: Annotated[int | None, Meta(ge=1)] = None,
        capacity: Annotated[int, Meta(ge=1)] = 1_000,
        project: str = "tasks",
        home: str | None = None,
        env: Mapping[str, str | Secret] | None = None,
    ) -> None:
        for field, value in (("max_parallel", max_parallel), ("capacity", capacity)):
            if value is not None:
                check_amount(value, field, least=1, whole=True)
        self._modules = listed(tasks, "tasks", of="modules")
        self._max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self._capacity = capacity
        self._project = project
        self._home = home
        self._env: dict[str, Any] = {**(env or {})}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._tasks: dict[str, Led] = {}
        self._unled: dict[str, Exception] = {}
        self._open: ExitStack | None = None
        self._process = 0
        self._leader: Leader

    def initialize(self) -> None:
        """Start what supervises the jobs, and register the modules.

        Raises:
            TargetUnusable: A module cannot be imported.
            UsageError: Two functions have one name.
        """
        for module in self._modules:
            self.register_tasks(module)
        self._leader = Leader(self._max_parallel)
        with ExitStack() as stack:
            kernel = Kernel(plugins=[LocalExecutor(), self._leader])
            stack.enter_context(portal().hold(kernel))
            self._open, self._process = stack.pop_all(), os.getpid()

    def shutdown(self) -> None:
        """End all tasks that are not over, as REVOKED, and wait for that."""
        stack, self._open = self._open, None
        if stack is not None and self._process == os.getpid():  # a forked child has no kernel
            with stack:
                portal().call(self._leader.end_all, "the queue was shut down")

    def health_check(self) -> tuple[bool, dict[str, Any]]:
        """Return how many tasks wait and run, and which functions are registered."""
        if self._open is None:
            return False, {"status": "not open"}
        unfinished = len(self._unfinished())
        waiting = self._leader.waiting
        counts = {"waiting": waiting, "running": unfinished - waiting}
        return True, {"status": "connected", **counts, "tasks": sorted(self._functions)}

    def register_tasks(self, tasks_module: str) -> None:
        """Make the functions of a module known: those of its `__all__`, or its public ones.

        Raises:
            FieldInvalid: The name is no text.
            TargetUnusable: It cannot be imported.
            UsageError: A function of another module has the name of one of them.
        """
        given: object = tasks_module
        if not isinstance(given, str) or not given:
            raise FieldInvalid("tasks_module", repr(given), "expected the name of a module")
        try:
            module = importlib.import_module(tasks_module)
        except KeyboardInterrupt:  # a person at the keyboard, not the module
            raise
        except BaseException as error:  # what an import runs may also call sys.exit()
            problem = f"it cannot be imported: {type(error).__name__}: {error}"
            raise TargetUnusable(repr(tasks_module), problem) from error
        public = getattr(module, "__all__", None)
        names = [name for name in vars(module) if name[0] != "_"] if public is None else public
        for name in names:
            found = getattr(module, name, None)
            own = public is not None or getattr(found, "__module__", None) == module.__name__
            if inspect.isfunction(found) and own:
                self.register(found, name)

    def register(self, function: Callable[..., Any], name: str = "") -> None:
        """Make one function known, which other processes must be able to import.

        Raises:
            UsageError: Another function has the name.
        """
        name = name or function.__name__
        known = self._functions.setdefault(name, function)
        if known is not function:
            raise UsageError(f"a task {name!r} of {known.__module__} is registered already")

    def submit_task(self, task_name: str, /, *args: Any, **kwargs: Any) -> str:
        """Have a function called with these arguments, and return the id of the task.

        Raises:
            TaskNotFound: No function is registered by that name.
            QueueFull: As many tasks as may be wait or run.
            ConfigInvalid: The arguments do not fit the function, or are no data.
            TaskInvalid: No other process can import the function.
            SecretMissing: A secret of `env` cannot be read.
            HomeUnusable: The record of the run cannot be written.
            HubClosed: The queue is not open.
        """
        self._check_open("submit_task")
        if task_name not in self._functions:
            raise TaskNotFound(task_name, near_matches(task_name, self._functions))
        if len(self._unfinished()) >= self._capacity:
            raise QueueFull("the task queue", f"{self._capacity:,} tasks")
        task: Any = Partial(self._functions[task_name], *args, **kwargs)
        job = Job(name=task_name, task=task, env=self._env)
        draft = ExperimentDraft(self._project, [job], home=self._home)
        led = portal().call(self._leader.start, draft.prepare())
        self._tasks[led.run_id] = led
        return led.run_id

    def get_status(self, task_id: str) -> str:
        """Return PENDING, STARTED, RETRY, SUCCESS, FAILURE or REVOKED.

        Raises:
            TaskNotFound: There is no such task.
        """
        if self._why_unled(task_id) is not None:
            return "FAILURE"
        return _status_of(self._record(task_id))

    def get_result(self, task_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of a task, and return what its function returned.

        Args:
            task_id: The task.
            timeout: How many seconds to wait at most; as long as it takes if None.

        Raises:
            TaskNotFound: There is no such task.
            StillRunning: It has not ended in that time, or no process leads it any more; a
                TimeoutError.
            TaskFailed: It failed or was revoked.
            FieldInvalid: The time is no number.
            ResultNotKept: It returned what JSON cannot hold.
        """
        if timeout is not None:
            check_amount(timeout, "timeout", least=0)
        record = self._record(task_id)
        began = time.monotonic()
        led = self._tasks.get(task_id)
        if not (portal().call(led.wait, timeout) if led else self._ended(record, timeout)):
            raise StillRunning(f"task {task_id}", round(time.monotonic() - began, 3))
        if (error := self._why_unled(task_id)) is not None:
            raise TaskFailed(task_id, "FAILURE", str(error))
        record = self._record(task_id)
        if record.state is JobState.SUCCEEDED:
            return record.result
        raised = record.error
        problem = f"{raised['type']}: {raised['text']}" if raised else record.reason
        raise TaskFailed(task_id, _status_of(record), problem)

    def revoke(self, task_id: str) -> bool:
        """Call a task off, or end its process (TERM, after 5 s KILL), and wait for that.

        Returns:
            Whether there was anything to end.

        Raises:
            TaskNotFound: There is no such task.
        """
        led = self._tasks.get(task_id)
        if led is not None:
            return portal().call(self._leader.cancel, led, "revoked")
        return end_job(self._record(task_id), "revoked")

    def _ended(self, record: RunRecord, timeout_s: float | None) -> bool:
        """Wait for the end of a job that another process leads; return whether it has come."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._record(record.id).state.is_terminal:
            is_late = until is not None and time.monotonic() >= until
            if is_late or leader_of(record.experiment_folder) is None:
                return self._record(record.id).state.is_terminal
            time.sleep(_LOOK_S)
        return True

    def _record(self, task_id: str) -> RunRecord:
        try:
            record = open_run(task_id, home=self._home)
        except RunNotFound as error:
            raise TaskNotFound(task_id, error.similar) from None
        if record.id != task_id or record.info.job is None:  # a part of an id, or another run
            raise TaskNotFound(task_id, ())
        return record

    def _unfinished(self) -> dict[str, Led]:
        """Forget the tasks that are over, which their records tell of, and return the others."""
        for task_id, led in [*self._tasks.items()]:
            if led.is_over:
                self._why_unled(task_id)
                self._tasks.pop(task_id, None)
        return dict(self._tasks)

    def _why_unled(self, task_id: str) -> Exception | None:
        """Return why a task could not be led to its end; of the last ones only it is known."""
        led = self._tasks.get(task_id)
        if led is not None and led.error is not None:
            self._unled[task_id] = led.error
            for oldest in [*self._unled][: -self._capacity]:
                self._unled.pop(oldest, None)
        return self._unled.get(task_id)

    def _check_open(self, verb: str) -> None:
        if self._open is None or self._process != os.getpid():
            raise HubClosed("the task queue", verb)


def _status_of(record: RunRecord) -> str:
    again = record.job is not None and record.job.attempt > 1
    return _STATUS.get(record.state, "RETRY" if again else "PENDING")
