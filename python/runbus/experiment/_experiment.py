"""A set of jobs, submitted and followed as one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from runbus import codec
from runbus._home import ENV_RUN, Home
from runbus._ids import run_id_of, slug
from runbus.abc import JobSpec
from runbus.config import Task, expand_sweeps, parse_value
from runbus.errors import HomeUnusable, UsageError
from runbus.events import ResolveExecutor
from runbus.jobs import JobRecord, JobStore, Supervisor
from runbus.metrics import RunInfo, make_run_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.bus import Bus
    from runbus.config import Value

__all__ = ["AsyncExperiment", "Job", "sweep"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to run within an experiment.

    Attributes:
        name: What it is called; unique within the experiment.
        task: What to run.
        config: What the run records as its config.
        env: What is added to the job's environment.
    """

    name: str
    task: Task
    config: dict[str, Value] = {}
    env: dict[str, str] = {}


def sweep(task: Task, sweeps: Sequence[str] = (), *, name: str | None = None) -> list[Job]:
    """Return a job for each point of a grid; one job if nothing is swept.

    The values of a point reach the task as `--name=value` and the run as its config.

    Args:
        task: What to run.
        sweeps: Texts such as `lr=0.01,0.1`; the last one varies fastest.
        name: What the jobs' names begin with; the task's own title if None.

    Raises:
        SweepInvalid: A sweep cannot be read, or a name is swept twice.
    """
    base = name or task.title
    return [
        Job(
            name="-".join([base, *(f"{key}={value}" for key, value in point.items())]),
            task=task.with_values(dict(point)),
            config={key: parse_value(value) for key, value in point.items()},
        )
        for point in expand_sweeps(sweeps)
    ]


class AsyncExperiment:
    """Runs jobs on one executor and keeps the record of it.

    Everything is made by `prepare`, which `run` calls if nobody has: an experiment that is never
    run leaves nothing on disk.

    Args:
        project: What its runs are gathered under.
        jobs: What to run, in this order.
        executor: The name of the executor, as its plugin knows it.
        max_parallel: How many jobs run at a time; as many as there are processors if None.
        home: The home folder; the default one if None.

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
        self.project = project
        self._command_lines = [job.task.command_line() for job in jobs]
        self._jobs = list(jobs)
        self._executor = executor
        self._max_parallel = max_parallel or len(os.sched_getaffinity(0))
        self._home = home or Home()
        self._specs: list[JobSpec] = []
        self._supervisor: Supervisor | None = None
        self._cancel: tuple[str, float] | None = None
        self.id = ""
        self.folder = ""

    @property
    def specs(self) -> Sequence[JobSpec]:
        """The jobs as the executor gets them; empty before `prepare`."""
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
                for index, (job, argv) in enumerate(
                    zip(self._jobs, self._command_lines, strict=True), start=1
                )
            ]
            self._write_request()
        except OSError as error:
            reason = f"{(error.strerror or str(error)).lower()} ({error.filename})"
            raise HomeUnusable(self._home.path, reason) from error

    async def run(self, bus: Bus) -> list[JobRecord]:
        """Run all jobs to their ends.

        Cancelling this ends the jobs (TERM, then KILL after 10 s) before it is cancelled itself.
        Publishes `JobIntended`, `JobSubmitted`, `JobStarted`, `JobEnded` for each job, and emits
        its `LogLines` and `MetricBatch`.

        Returns:
            The records of the jobs, in the order in which they were given.

        Raises:
            NoHandler: No plugin brings the executor.
            HomeUnusable: The home folder cannot be written.
            JournalError: The journal cannot be written.
        """
        _, executor = await bus.first(ResolveExecutor(name=self._executor))
        if not self._specs:
            self.prepare()
        store = JobStore(self.folder)
        try:
            self._supervisor = Supervisor(bus, executor, store)
            if self._cancel is not None:
                await self._supervisor.cancel(*self._cancel)
            return await self._supervisor.run(self._specs, max_parallel=self._max_parallel)
        finally:
            store.close()

    async def cancel(self, reason: str, grace_s: float = 10.0) -> None:
        """Ask every job to end, and submit no more; `run` then returns as usual.

        Args:
            reason: Who asked, and why.
            grace_s: Seconds between TERM and KILL. A repeated call may shorten it; 0 kills now.
        """
        self._cancel = (reason, grace_s)
        if self._supervisor is not None:
            await self._supervisor.cancel(reason, grace_s)

    def _make_job(self, index: int, job: Job, argv: tuple[str, ...]) -> JobSpec:
        run_id = run_id_of(self.id, index)
        info = RunInfo.new(run_id, job.name, self.project, job.config, job=job.name)
        run_folder = make_run_folder(self.folder, info)
        # The index keeps apart names that differ only in what a folder's name cannot hold.
        folder = os.path.join(self.folder, "jobs", f"{index}-{slug(job.name)}", "1")
        os.makedirs(folder, mode=0o700)
        return JobSpec(
            experiment_id=self.id,
            name=job.name,
            run_id=run_id,
            argv=argv,
            cwd=os.getcwd(),
            # Lines must reach the log when they are printed, not when a buffer is full.
            env={"PYTHONUNBUFFERED": "1", **job.env, ENV_RUN: run_folder},
            folder=folder,
            run_folder=run_folder,
        )

    def _write_request(self) -> None:
        asked = {
            "id": self.id,
            "project": self.project,
            "created_ns": time.time_ns(),
            "executor": self._executor,
            "max_parallel": self._max_parallel,
            "jobs": [
                {
                    "name": spec.name,
                    "run_id": spec.run_id,
                    "argv": spec.argv,
                    "cwd": spec.cwd,
                    "folder": os.path.relpath(spec.folder, self.folder),
                    "config": job.config,
                    # Values may be secrets: only the names.
                    "env": sorted(job.env),
                }
                for job, spec in zip(self._jobs, self._specs, strict=True)
            ],
        }
        with open(os.path.join(self.folder, "experiment.json"), "xb") as file:
            file.write(codec.encode_json(asked))
