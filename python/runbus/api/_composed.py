"""What goes into an experiment, job by job."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus._listed import listed
from runbus._secrets import redacted_text
from runbus.abc import ArtifactLimits
from runbus.api._executors_given import GivenExecutors
from runbus.api._job_of import (
    checked_dependencies,
    retry_of,
    task_of,
    timeouts_of,
    with_plugins,
)
from runbus.api._plugins_given import GivenPlugins
from runbus.api._recorded import Recorded
from runbus.config import graph_problems
from runbus.errors import FieldInvalid, UsageError
from runbus.experiment import Job, JobHandle, check_name, check_title, started_before

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from runbus.abc import Dependency, Executor, RetryPolicy, Timeouts
    from runbus.config import Config, ExecutorEntry, Partial, Task
    from runbus.experiment import ExperimentDraft, StoredExperiment
    from runbus.jobs import Asked
    from runbus.plugins import TaskPlugin

    _Asked = tuple[Any, Any, Any, Any, Any, Mapping[str, Any]]
    """Plugins, dependencies, retries, time limit, artifacts with their limits, and the values of a
    function."""

__all__ = ["Composed"]


class Composed(Recorded):
    """Takes jobs as people add them.

    See `AsyncExperiment` for the arguments and errors.

    Attributes:
        title: What its runs are gathered under.
    """

    _takes_kernel = False
    """Whether it may run on a kernel whose plugins bring executors."""

    def __init__(
        self,
        title: str,
        jobs: Sequence[Job] = (),
        *,
        executor: str | Mapping[str, Any] | Executor | Config[Any] = "local",
        executors: Mapping[str, ExecutorEntry | Mapping[str, Any] | Config[Any]] | None = None,
        max_parallel: int | None = None,
        root: str | None = None,
        plugins: Sequence[Any] = (),
        home: str | os.PathLike[str] | None = None,
        fail_fast: bool = False,
    ) -> None:
        if not isinstance(title, str):
            raise FieldInvalid("title", repr(title), "expected text")
        check_title(title)
        super().__init__(home)
        self.title = redacted_text(title)
        self._begin()
        self._executors = GivenExecutors(executors)
        self._executor = self._executors.named(executor, is_default=True)
        self._max_parallel = max_parallel
        self._root = root
        self._plugins = GivenPlugins(plugins)
        self._fail_fast = fail_fast
        given = listed(jobs, "jobs", Job, "jobs")
        groups = {job.name: job.group for job in given}
        for wrong in graph_problems({job.name: job.dependencies for job in given}, groups):
            raise UsageError(f"job {wrong.job!r}: {wrong.reason}")
        for job in given:
            self._take([job])

    def _begin(self) -> None:
        self._added: list[Job] = []
        self._refused: list[Exception] = []
        self._draft: ExperimentDraft | None = None
        self._stored: StoredExperiment | None = None
        self._lock = threading.Lock()
        self._notify: Callable[[], object] | None = None
        self._is_led_here = False
        self._task_plugins: dict[str, Sequence[TaskPlugin]] = {}

    def _find(self, folder: str, asked: Asked, home: str | os.PathLike[str] | None) -> None:
        super()._find(folder, asked, home)
        self._begin()
        self._executors = GivenExecutors(None)
        self._executors.entries.update(asked.executor_entries)
        self._executor = asked.executor
        self._max_parallel = asked.bound
        self._root = asked.root or None
        self._plugins = GivenPlugins.recorded(asked.changed_by)
        self._fail_fast = asked.fail_fast

    # -- adding

    def add(
        self,
        task: Task | Partial[Any] | Job | Callable[..., Any] | Sequence[Any],
        *,
        executor: str | Mapping[str, Any] | Executor | Config[Any] | None = None,
        name: str | None = None,
        plugins: Sequence[Any] = (),
        dependencies: Sequence[str | JobHandle | Job | Dependency] | JobHandle = (),
        retries: int | RetryPolicy = 0,
        timeout: float | str | Timeouts | None = None,
        artifacts: Sequence[str] = (),
        artifact_limits: ArtifactLimits | None = None,
        **values: Any,
    ) -> JobHandle:
        """Add a job, also while the experiment runs: then it begins as soon as it may.

        Any thread may call it. What is added when all has ended is for the next `run`.

        Args:
            task: What to run: a task; a `Partial`; a function, which gets the further arguments;
                or a list of these, which becomes a group: they start, fail and end together. A
                `Job` says all of it by itself. What `sweep` returns stays a sweep: only those of
                its points are added that the title has not run yet, each by itself.
            executor: Where: an executor's name, or `@file[:section]`; data such as
                `{"type": "ssh", "hosts": ["box"]}`; a `Config`; or an executor.
            name: What it is called; the task's title, with a number if that is taken, if None.
            plugins: What changes or wraps this job: `TaskPlugin`s, and hooks of its process.
            dependencies: What must have ended before it begins: what `add` has returned, or names,
                of jobs that must succeed; or a `Dependency` each, which may ask for another end.
            retries: How many more attempts it gets, or a `RetryPolicy`.
            timeout: How long an attempt may run: seconds, or a text such as `5m`; or `Timeouts`.
            artifacts: Patterns of files in the folder where it starts, such as `*.ckpt` and
                `out/**/*.json`, of which its run keeps copies whenever an attempt ends.
            artifact_limits: How many files, and bytes, it keeps of an attempt; 10,000 files of
                100 GiB together if None.
            values: The arguments of a function; those that are called as one of the above go into a
                `Partial`.

        Returns:
            What later jobs name in their `dependencies`.

        Raises:
            TaskInvalid: What is to run is not a task, or no other process could import it.
            ConfigInvalid: A value is missing or does not fit, or so a field of an executor.
            FieldInvalid: An argument is of another type.
            UsageError: The name is taken, or a dependency is unknown; or points of the sweep are
                not over in an earlier experiment.
            SweepChanged: The title has a sweep of the same name with another space.
        """
        kept = (artifacts, artifact_limits)
        asked = (plugins, dependencies, retries, timeout, kept, values)
        if isinstance(task, (list, tuple)):
            if task and all(isinstance(one, Job) and one.point is not None for one in task):
                return self._add_sweep(task, executor, name, asked)
            return self._add_group(task, executor, name, asked)
        return self._take([self._job(task, executor, name, asked)])[0]

    def _job(
        self, task: Any, executor: Any, name: str | None, asked: _Asked, taken: Collection[str] = ()
    ) -> Job:
        """Return what a job is to be; nothing is added.

        Args:
            task: What to run.
            executor: Where.
            name: What it is called.
            asked: How.
            taken: Names that are taken besides those of what was added.
        """
        if isinstance(task, Job):
            self._check_known(task)
            return task
        plugins, dependencies, retries, timeout, (artifacts, limits), values = asked
        where = self._executor if executor is None else self._named_executor(executor)
        made, changing = with_plugins(task_of(task, values), plugins)
        called = self._free(made.title, taken) if name is None else name
        job = Job(
            name=called,
            task=made,
            executor=where,
            timeouts=timeouts_of(timeout),
            retry=retry_of(retries),
            depends_on=checked_dependencies(dependencies, called, self, self._handles),
            artifacts=artifacts,
            artifact_limits=limits or ArtifactLimits(),
            plugins=changing,
        )
        self._check_known(job)  # whose results it takes, too
        return job

    def _named_executor(self, given: Any) -> str:
        may_be_unknown = self._takes_kernel or bool(self._plugins.hooking)
        return self._executors.named(given, may_be_unknown=may_be_unknown)

    def _add_group(
        self, tasks: Sequence[Any], executor: Any, name: str | None, asked: _Asked
    ) -> JobHandle:
        if not tasks:
            raise FieldInvalid("task", repr(tasks), "expected a task, or at least one in a list")
        places = executor if isinstance(executor, (list, tuple)) else [executor] * len(tasks)
        if len(places) != len(tasks):
            raise UsageError(f"{len(tasks)} tasks, and {len(places)} executors for them")
        if name is not None and name in self._handles:
            raise UsageError(f"two jobs are named {name!r}")
        jobs: list[Job] = []
        for number, (task, place) in enumerate(zip(tasks, places, strict=True), start=1):
            taken = {job.name for job in jobs}
            numbered = name and self._free(f"{name}-{number}", taken)
            jobs.append(self._job(task, place, numbered, asked, taken))
        called = name or self._free(f"{jobs[0].name}-group", {job.name for job in jobs})
        # All at once: none of them begins before the others are known.
        members = self._take([replace(job, group=called) for job in jobs])
        handle = self._handles[called] = JobHandle(called, self, members)
        return handle

    def _add_sweep(
        self, points: Sequence[Job], executor: Any, name: str | None, asked: _Asked
    ) -> JobHandle:
        if values := asked[-1]:
            raise UsageError(f"{next(iter(values))!r}: the points of a sweep have their values")
        started = started_before(self.title, points, home=self._home)
        if started.unfinished:
            earlier = os.path.basename(started.unfinished)
            raise UsageError(
                f"{earlier} has points of this sweep that are not over: "
                f"Experiment.from_id({earlier!r}).run() goes on with them"
            )
        point = points[0].point
        called = name or (point and point.sweep) or self._free(f"{_stem(points[0].name)}-sweep")
        if called in self._handles:
            raise UsageError(f"two jobs are named {called!r}")
        members = self._take([self._point(job, executor, asked) for job in started.missing])
        handle = self._handles[called] = JobHandle(called, self, members, started.done)
        return handle

    def _point(self, job: Job, executor: Any, asked: _Asked) -> Job:
        """Return a point of a sweep with what is said of all of them."""
        plugins, dependencies, retries, timeout, (artifacts, limits), values = asked
        del values
        task, changing = with_plugins(task_of(job.task, {}), plugins)
        made = replace(
            job,
            task=task,
            executor=job.executor if executor is None else self._named_executor(executor),
            timeouts=timeouts_of(timeout).or_else(job.timeouts),
            retry=retry_of(retries) if retries else job.retry,
            depends_on=[
                *job.dependencies,
                *checked_dependencies(dependencies, job.name, self, self._handles),
            ],
            plugins=(*job.plugins, *changing),
            artifacts=artifacts or job.artifacts,
            artifact_limits=limits or job.artifact_limits,
        )
        self._check_known(made)
        return made

    def _free(self, title: str, taken: Collection[str] = ()) -> str:
        name, number = title, 1
        while name in self._handles or name in taken:
            number += 1
            name = f"{title}-{number}"
        return name

    def _check_known(self, job: Job) -> None:
        checked_dependencies(job.dependencies, job.name, self, self._handles)

    def _take(self, jobs: Sequence[Job]) -> list[JobHandle]:
        """Add jobs, all at once."""
        ready = [self._ready(job) for job in jobs]
        names = [job.name for job in ready]
        with self._lock:
            for at, name in enumerate(names):
                if name in self._handles or name in names[:at]:
                    raise UsageError(f"two jobs are named {name!r}")
            handles = [JobHandle(name, self) for name in names]
            self._handles |= dict(zip(names, handles, strict=True))
            self._added += ready
            if self._notify is not None:
                self._notify()
        return handles

    def _ready(self, job: Job) -> Job:
        """Return a job with what the experiment says of all."""
        check_name(job.name)
        return self._plugins.changed(job)

    def _taken(self, most: int | None = None) -> list[Job]:
        """Take what was added, of which the rest stays if there is more than `most`."""
        with self._lock:
            taken, self._added = self._added[:most], self._added[most:] if most is not None else []
        return taken


def _stem(name: str) -> str:
    """Return the name of a point's job without its values."""
    return name.partition("=")[0].rpartition("-")[0] or name
