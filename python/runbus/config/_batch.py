"""What a batch file says, once it is read: the jobs, and the executors that they run on."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from runbus.config._executor_entry import ExecutorEntry
from runbus.config._output import Output, needed_for, outputs_of
from runbus.config._task import Command, Script, Task
from runbus.config._task_kinds import decode_task
from runbus.errors import FieldInvalid, SpaceInvalid
from runbus.events import ArtifactLimits, Dependency, EarlyStop, Resources, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.config._node import Mistakes
    from runbus.config._output import Argument
    from runbus.config._space import Space

__all__ = ["DEFAULT", "TAKING", "Batch", "BatchJob", "Name", "OutputField", "ValueField"]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Values = dict[str, bool | int | float | str | None]


class OutputField(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"job": "from"},
):
    """What another job returns, instead of a word of a command line.

    Attributes:
        job: The name of the job that returns it.
        key: Where in its result the value is, such as `best.lr`; all of the result if absent.
        experiment: Which experiment that job is of, by its id or project; this one if absent.
    """

    job: str
    key: str = ""
    experiment: str = ""

    def __post_init__(self) -> None:
        _ = self.output

    @property
    def output(self) -> Output:
        """What another job returns."""
        try:
            return Output(self.job, self.key, experiment=self.experiment)
        except FieldInvalid as error:
            raise ValueError(str(error)) from None


class ValueField(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"job": "from"},
):
    """Where a value is, instead of the value: that of a secret, or what another job returns.

    Attributes:
        secret: `env:NAME`, or `NAME` for short: a variable of the environment that the batch is
            submitted from; or `file:PATH`, relative to the batch file.
        job: The name of the job that returns it.
        key: Where in the result it is, such as `best.lr`; all of the result if absent.
        experiment: Which experiment that job is of, by its id or project; this one if absent.
    """

    secret: str | None = None
    job: str | None = None
    key: str = ""
    experiment: str = ""

    def __post_init__(self) -> None:
        if (self.secret is None) == (self.job is None):
            raise ValueError("expected one of secret and from")
        if self.secret is not None and (self.key or self.experiment):
            raise ValueError("key and experiment go with from")
        if self.job is not None:
            _ = self.output

    @property
    def output(self) -> Output:
        """What another job returns."""
        return OutputField(job=self.job or "", key=self.key, experiment=self.experiment).output


class BatchJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job of a batch: a command or a script, and how to run it.

    In a file the fields of its resources, time-outs and retries are keys of the job itself.

    Attributes:
        name: What it is called; unique within the batch.
        command: The program and its arguments; no shell reads them. An argument may be what another
            job returns: `{from: JOB, key: best.lr}`.
        script: A Python script, relative to the batch file.
        task: Any other task: its `type`, and the fields of that type.
        args: What the script gets in `sys.argv[1:]`; each may be what another job returns, too.
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
        depends_on: Which jobs must have ended before it begins: names of jobs that must succeed, or
            mappings of `job`, `when` (`afterok`, `afterany` or `afternotok`) and `experiment`,
            which names another one that the job is of. If one ends otherwise, it is SKIPPED.
        group: Jobs with the same text here start, fail and end together: none begins before all
            can, and if one ends without success, the others are ended. `depends_on` may name it.
        stop_when: When it is to end early, by a metric of its run: `val/loss > 3 after 500`, or
            `loss is nan`; several with `or` between them.
        patience: How many steps a metric may take to surpass its best value: `min:val/loss for
            500`, or `max:…`.
        artifacts: Patterns of files in `cwd`, such as `*.ckpt` or `out/**/*.json`, of which the run
            keeps copies whenever an attempt ends.
        artifact_files: How many files are kept of an attempt at the most.
        artifact_size: How many bytes they may have together; or a text such as `500GiB`.
        sweep: The space of which the job runs once for each point: one of `grid`, `zip`, `list`,
            `random` with `points` and `seed`, `file`, and `trials`.
    """

    name: Name
    command: Annotated[list[str | OutputField], msgspec.Meta(min_length=1)] | None = None
    script: str | None = None
    task: dict[str, Any] | None = None
    args: list[str | OutputField] = []
    env: dict[str, str | ValueField] = {}
    config: Values = {}
    cwd: str | None = None
    executor: str | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    depends_on: list[str | Dependency] = []
    group: Annotated[str, msgspec.Meta(max_length=200)] = ""
    stop: EarlyStop = EarlyStop()
    artifacts: list[str] = []
    artifact_limits: ArtifactLimits = ArtifactLimits()
    sweep: dict[str, Any] | None = None

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """What `depends_on` means, each as a `Dependency`, and whose results it takes."""
        said = [Dependency(job=one) if isinstance(one, str) else one for one in self.depends_on]
        return (*said, *needed_for(self.outputs, said))

    @property
    def outputs(self) -> list[Output]:
        """What of its values other jobs return."""
        fields = [one for one in self.env.values() if isinstance(one, ValueField)]
        words = [*(self.command or ()), *self.args]
        found = [one.output for one in fields if one.job is not None]
        found += [one.output for one in words if isinstance(one, OutputField)]
        with suppress(FieldInvalid):  # which is told of the task, with its place
            found += outputs_of([(self.task or {}).get(key) for key in TAKING])
        return found

    def space(self, folder: str) -> Space | None:
        """Return the space that `sweep` describes; None if there is none. Reads its file.

        Raises:
            SpaceInvalid: Something in it is wrong.
        """
        if self.sweep is None:
            return None
        from runbus.config._space_data import read_space  # costs what most batches need not pay

        wrong: Mistakes = []
        space = read_space(self.sweep, folder, wrong)
        if space is None:
            problems = tuple(one.told() for one in wrong)
            raise SpaceInvalid(f"the sweep of job {self.name!r}", problems, wrong[0].expected)
        return space

    def what(self, folder: str) -> Task:
        """Return what to run; paths are relative to `folder`."""
        if self.task is not None:
            return decode_task(self.task, folder)
        if self.script is not None:
            return Script(os.path.join(folder, self.script), _words(self.args))
        assert self.command is not None
        return Command(_words(self.command))


def _words(given: Sequence[str | OutputField]) -> tuple[Argument, ...]:
    return tuple(one.output if isinstance(one, OutputField) else one for one in given)


TAKING = ("values", "argv", "args")
"""The fields of tasks that may hold what other jobs return."""

DEFAULT = "default"
"""What the executor is called whose fields are where a name could be."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch file.

    Attributes:
        project: What its runs are gathered under.
        executor: The name of the executor of the jobs that name none.
        executors: The executors that it describes, and those of other files that its jobs use, by
            name.
        max_parallel: How many jobs run at a time; as many as there are processors if absent,
            and besides these all that run elsewhere.
        fail_fast: The first job that fails ends all others.
        jobs: The jobs, in the order in which they are submitted.
    """

    project: str
    jobs: list[BatchJob]
    executor: str = "local"
    executors: dict[str, ExecutorEntry] = {}
    max_parallel: int | None = None
    fail_fast: bool = False
