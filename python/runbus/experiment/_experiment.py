"""A set of jobs, submitted and followed as one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runbus._home import ENV_RUN, Home
from runbus._ids import run_id_of, slug
from runbus.abc import JobSpec
from runbus.errors import HomeUnusable, UsageError
from runbus.events import ResolveExecutor
from runbus.experiment._asked import Asked
from runbus.jobs import JobRecord, JobStore, Supervisor, intend
from runbus.metrics import RunInfo, make_run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from runbus.abc import Executor
    from runbus.bus import Bus
    from runbus.config import ExecutorFields
    from runbus.experiment._job import Job

__all__ = ["AsyncExperiment"]

_GRACE_S = 10.0


class AsyncExperiment:
    """Runs jobs and keeps the record of it.

    Everything on disk is made by `prepare`, which `run` calls if nobody has: an experiment that is
    never run leaves nothing behind.

    Args:
        project: What its runs are gathered under.
        jobs: What to run, in this order.
        executor: The executor of the jobs that name none.
        executors: The fields of executors that come with the experiment, by name. Whoever leads
            it gives the kernel a plugin for each: see `runbus.executors.make_executor`.
        max_parallel: How many jobs run at a time; as many as there are processors if None.
        home: The home folder; the default one if None.

    Attributes:
        id: Its id; empty before `prepare`.
        folder: Its folder; empty before `prepare`.
        project: What its runs are gathered under.
        executors: The fields of the executors that come with it, by name.

    Raises:
        UsageError: There is no job, two have one name, or `max_parallel` is below 1.
        ScriptUnusable: A script is missing, or is not a file that can be read.
    """

    def __init__(
        self,
        project: str,
        jobs: Sequence[Job],
        *,
        executor: str = "local",
        executors: Mapping[str, ExecutorFields] | None = None,
        max_parallel: int | None = None,
        home: Home | None = None,
    ) -> None:
        if not jobs:
            raise UsageError("an experiment needs at least one job")
        if max_parallel is not None and max_parallel < 1:
            raise UsageError(f"max_parallel is {max_parallel}, but must be at least 1")
        names = [job.name for job in jobs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two jobs are named {twice[0]!r}")
        self._jobs = [(job, job.task.command_line()) for job in jobs]
        self._executor = executor
        self.executors = dict(executors or {})
        self._max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self._home = home or Home()
        self._supervisor: Supervisor | None = None
        self._cancel: tuple[str, float] | None = None
        self._specs: Sequence[JobSpec] = ()
        self.project = project
        self.id = ""
        self.folder = ""

    @classmethod
    def open(cls, folder: str, *, home: Home | None = None) -> Self:
        """Return an experiment as it was prepared, to go on with what is unfinished of it.

        Args:
            folder: The experiment's folder.
            home: The home folder; the default one if None.

        Raises:
            ExperimentNotFound: There is no experiment in that folder.
        """
        asked = Asked.read(folder)
        self = cls.__new__(cls)
        self._jobs = []
        self._executor = ""
        self.executors = asked.executors
        self._max_parallel = asked.max_parallel
        self._home = home or Home()
        self._supervisor = None
        self._cancel = None
        self._specs = asked.absolute(folder).jobs
        self.project = asked.project
        self.id, self.folder = asked.id, folder
        return self

    @property
    def specs(self) -> Sequence[JobSpec]:
        """The jobs as the executors get them; empty before `prepare`."""
        return self._specs

    def prepare(self) -> None:
        """Make the folders and records of the experiment, its jobs and its runs.

        Raises:
            HomeUnusable: They cannot be written.
        """
        self.id, self.folder = self._home.new_experiment(self.project)
        try:
            self._specs = [
                self._make_job(index, job, argv)
                for index, (job, argv) in enumerate(self._jobs, start=1)
            ]
            Asked(
                id=self.id,
                project=self.project,
                created_ns=time.time_ns(),
                max_parallel=self._max_parallel,
                jobs=list(self._specs),
                executors=self.executors,
            ).write(self.folder)
            self._home.note_open(self.folder)
        except OSError as error:
            # A write that finds no room does not say in which file.
            where = f" ({error.filename})" if error.filename else ""
            reason = (error.strerror or str(error)).lower() + where
            raise HomeUnusable(self._home.path, reason) from error

    def intend(self) -> list[JobRecord]:
        """Record the intent of every job, durably, for another process to carry out.

        Returns:
            The records of the jobs, in the order in which they were given.

        Raises:
            JournalHeld: Another process leads the experiment.
            JournalError: The journal cannot be written.
        """
        store = JobStore(self.folder)
        try:
            return intend(store, self._specs)
        finally:
            store.close()

    def dry_specs(self) -> list[JobSpec]:
        """Return the jobs as `run` would hand them on, without writing anything."""
        folder = os.path.join(self._home.experiments, slug(self.project), "EXPERIMENT")
        return [
            self._spec(index, job, argv, folder)
            for index, (job, argv) in enumerate(self._jobs, start=1)
        ]

    async def run(self, bus: Bus) -> list[JobRecord]:
        """Run all jobs to their ends; jobs that have ended already are left as they are.

        Cancelling this ends the jobs (TERM, then KILL after 10 s) before it is cancelled itself.
        Publishes `JobIntended`, `JobSubmitted`, `JobStarted`, `JobRetrying` and `JobEnded` for
        each job, and emits its `LogLines` and `MetricBatch`.

        Returns:
            The records of the jobs, in the order in which they were given.

        Raises:
            NoHandler: No plugin brings an executor that a job names.
            HomeUnusable: The home folder cannot be written.
            JournalError: The journal cannot be written, or another process leads the experiment.
        """
        asked = {spec.executor for spec in self._specs} or {
            job.executor or self._executor for job, _ in self._jobs
        }
        executors: dict[str, Executor] = {
            name: (await bus.first(ResolveExecutor(name=name)))[1] for name in sorted(asked)
        }
        if not self._specs:
            self.prepare()
        store = JobStore(self.folder)
        try:
            self._supervisor = Supervisor(bus, executors, store)
            if self._cancel is not None:
                await self._supervisor.cancel(*self._cancel)
            records = await self._supervisor.run(self._specs, max_parallel=self._max_parallel)
            self._home.note_closed(self.folder)
            return records
        finally:
            store.close()

    async def cancel(self, reason: str, grace_s: float = _GRACE_S) -> None:
        """Ask every job to end, and submit no more; `run` then returns as usual.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
        """
        self._cancel = (reason, grace_s)
        if self._supervisor is not None:
            await self._supervisor.cancel(reason, grace_s)

    def _make_job(self, index: int, job: Job, argv: tuple[str, ...]) -> JobSpec:
        spec = self._spec(index, job, argv, self.folder)
        info = RunInfo.new(spec.run_id, job.name, self.project, job.config, job=job.name)
        make_run_folder(self.folder, info)
        os.makedirs(spec.folder, mode=0o700)
        return spec

    def _spec(self, index: int, job: Job, argv: tuple[str, ...], experiment: str) -> JobSpec:
        run_id = run_id_of(self.id or "EXPERIMENT", index)
        run_folder = os.path.join(experiment, "runs", run_id)
        # The index keeps apart names that differ only in what a folder's name cannot hold.
        folder = os.path.join(experiment, "jobs", f"{index}-{slug(job.name)}", "1")
        return JobSpec(
            experiment_id=self.id,
            name=job.name,
            run_id=run_id,
            executor=job.executor or self._executor,
            argv=argv,
            cwd=os.path.abspath(job.cwd or os.getcwd()),
            # Lines must reach the log when they are printed, not when a buffer is full.
            env={"PYTHONUNBUFFERED": "1", **job.env, ENV_RUN: run_folder},
            folder=folder,
            run_folder=run_folder,
            gpus=job.gpus,
            cpus=job.cpus,
            nice=job.nice,
            timeout_s=job.timeout_s,
            retries=job.retries,
            backoff_s=job.backoff_s,
        )
