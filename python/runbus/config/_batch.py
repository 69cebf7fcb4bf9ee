"""What a batch file says, once it is read: the jobs, and the executors that they run on."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec

from runbus.config._executor_entry import ExecutorEntry
from runbus.config._task import Command, Script, Task
from runbus.config._task_kinds import decode_task
from runbus.events import Resources, RetryPolicy, Timeouts

__all__ = ["DEFAULT", "Batch", "BatchJob", "Name", "SecretField"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Values = dict[str, bool | int | float | str | None]


class SecretField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a secret is, instead of the secret.

    Attributes:
        secret: `env:NAME`, or `NAME` for short: a variable of the environment that the batch is
            submitted from; or `file:PATH`, relative to the batch file.
    """

    secret: str


class BatchJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job of a batch: a command or a script, and how to run it.

    In a file the fields of its resources, time-outs and retries are keys of the job itself.

    Attributes:
        name: What it is called; unique within the batch.
        command: The program and its arguments; no shell reads them.
        script: A Python script, relative to the batch file.
        task: Any other task: its `type`, and the fields of that type.
        args: What the script gets in `sys.argv[1:]`.
        env: What is added to its environment.
        config: What its run records as config.
        cwd: The folder it starts in, relative to the batch file; the batch file's own if absent.
        executor: The executor it runs on, by its name or as its fields; the batch's if absent.
        gpus: How many GPUs it needs for itself.
        cpus: The processors it may run on, such as `0-3,6`; all if absent.
        nice: How much it yields to others, from 0 to 19.
        retries: How many more attempts it gets if it fails.
        retry_on: After what it gets one: `exit`, `signal`, `oom` (it took more memory than there
            was), `timeout`, `lost` (it vanished), `preempted` (its machine was taken away), `start`
            (it could not be started), and exit codes as numbers; after any of them if absent.
        backoff: Seconds before the second attempt, at most a year; doubled for each one after.
        timeout: Whole seconds that it may run before it is ended, as TIMEOUT; or a text such as
            `90s`, `5m`, `2h`, `1d`, as in the two that follow and in `backoff`.
        queue_timeout: Whole seconds that it may wait for its start once it is sent to its executor.
        idle_timeout: Whole seconds that it may run without writing to its output.
    """

    name: Name
    command: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None
    script: str | None = None
    task: dict[str, Any] | None = None
    args: list[str] = []
    env: dict[str, str | SecretField] = {}
    config: Values = {}
    cwd: str | None = None
    executor: str | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()

    def what(self, folder: str) -> Task:
        """Return what to run; paths are relative to `folder`."""
        if self.task is not None:
            return decode_task(self.task, folder)
        if self.script is not None:
            return Script(os.path.join(folder, self.script), tuple(self.args))
        assert self.command is not None
        return Command(tuple(self.command))


DEFAULT = "default"
"""What the executor is called whose fields are where a name could be."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch file.

    Attributes:
        project: What its runs are gathered under.
        executor: The name of the executor of the jobs that name none.
        executors: The executors that it describes, and those of other files that its jobs use, by
            name.
        max_parallel: How many jobs run at a time; as many as there are processors if absent.
        jobs: The jobs, in the order in which they are submitted.
    """

    project: str
    jobs: list[BatchJob]
    executor: str = "local"
    executors: dict[str, ExecutorEntry] = {}
    max_parallel: int | None = None

    def timeouts_of(self, job: BatchJob) -> Timeouts:
        """Return the time-outs of a job: its own, and those of its executor where it says none."""
        entry = self.executors.get(job.executor or self.executor)
        return job.timeouts if entry is None else job.timeouts.or_else(entry.timeouts)
