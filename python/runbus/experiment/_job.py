"""What goes into an experiment."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import force_setattr

from runbus._listed import check_mapping, listed
from runbus._secrets import Secret
from runbus.abc import (
    ArtifactLimits,
    Copy,
    Dependency,
    EarlyStop,
    FilePatterns,
    Resources,
    RetryPolicy,
    Timeouts,
)
from runbus.config import (
    Function,
    Output,
    Partial,
    Script,
    Task,
    check_task,
    given_by,
    needed_for,
    outputs_in,
    words_taken,
)
from runbus.errors import FieldInvalid, UsageError
from runbus.experiment._handle import JobHandle
from runbus.jobs import SweepPoint

__all__ = ["LONGEST_NAME", "Job"]

LONGEST_NAME = 200
"""How many characters the name of a job may have."""

_VALUES: dict[str, type] = {
    "resources": Resources,
    "timeouts": Timeouts,
    "retry": RetryPolicy,
    "stop": EarlyStop,
    "artifact_limits": ArtifactLimits,
}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to run within an experiment.

    Attributes:
        name: What it is called; unique within the experiment.
        task: What to run; a `Partial` becomes a `Function`.
        config: What the run records as its config; of a function its values, too.
        env: What is added to the job's environment; what must stay secret as a `Secret`, and what
            another job returns as an `Output`: a text as it is, anything else as JSON.
        cwd: The folder it starts in; the current one if None.
        executor: The executor it runs on; the experiment's if None.
        resources: Which share of a machine it gets.
        timeouts: How long it may run, wait for its start, and be silent.
        retry: After which ends it gets another attempt.
        depends_on: Which jobs of the experiment must have succeeded before it begins, their names
            or what adding them has returned; or a `Dependency` each, which may ask for another end,
            or name a job of another experiment. It is SKIPPED if one of them ends otherwise. Those
            whose results it takes are among them.
        group: Jobs of one group start, fail and end together: none begins before all can, and if
            one ends without success, the others are ended. Others may wait for it by this name.
        plugins: What changes it when it is recorded, in this order, and is told its end by the
            process that has recorded it: see `runbus.plugins.TaskPlugin`.
        stop: When it is to end early, by what its run logs; that counts as done.
        artifacts: Patterns of files in the folder where it starts, such as `*.ckpt` and
            `out/**/*.json`, of which its run keeps copies whenever an attempt ends: see
            `runbus.abc.FilePatterns`.
        artifact_limits: How many files, and bytes, are kept of an attempt.
        point: Which point of which sweep it is; None if of none.
        copy: Which copy it is of a job that its executor runs as several; None if it is whole.
        takes_over: The folder of a run of which its own gets the tags and notes; none if empty.

    Raises:
        TaskInvalid: The task is not one.
        FieldInvalid: The name is empty or too long, what should be a value is not one, or a pattern
            of artifacts leads out of the folder or is none.
        UsageError: A variable is neither text nor a `Secret` or `Output`, or it is of a group and
            has retries.
    """

    name: str
    task: Task | Partial[Any]
    config: dict[str, Any] = {}
    env: dict[str, str | Secret | Output] = {}
    cwd: str | None = None
    executor: str | None = None
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    depends_on: Sequence[str | Job | JobHandle | Dependency] = ()
    group: str = ""
    stop: EarlyStop = EarlyStop()
    artifacts: Sequence[str] = ()
    artifact_limits: ArtifactLimits = ArtifactLimits()
    point: SweepPoint | None = None
    copy: Copy | None = None
    takes_over: str = ""
    plugins: tuple[Any, ...] = ()  # of TaskPlugins, whose class costs what functions cost

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """What `depends_on` means, each as a `Dependency`."""
        return cast("tuple[Dependency, ...]", self.depends_on)

    def __post_init__(self) -> None:
        force_setattr(self, "task", check_task(self.task))
        name: Any = self.name
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
            reason = f"expected text of 1 to {LONGEST_NAME} characters"
            raise FieldInvalid("name", repr(name), reason)
        for field, kind in _VALUES.items():
            value: Any = getattr(self, field)
            if not isinstance(value, kind):
                reason = f"expected {kind.__name__}, got {type(value).__name__}"
                advice = f"write {field}={kind.__name__}(…)"
                raise FieldInvalid(field, repr(value), reason, advice)
        self._check_group()
        patterns = FilePatterns(listed(self.artifacts, "artifacts", of="patterns"))
        force_setattr(self, "artifacts", patterns.texts)
        check_mapping(self.env, "env", "names to texts")
        check_mapping(self.config, "config", "names to values")
        if self.plugins:
            from runbus.plugins import TaskPlugin  # not for jobs without any

            plugins = listed(self.plugins, "plugins", TaskPlugin, "TaskPlugins")
            force_setattr(self, "plugins", plugins)
        if isinstance(self.task, Function):
            force_setattr(self, "config", {**self.task.values, **self.config})
        if isinstance(self.task, Script):
            # What a script says of its surroundings, its job may say in another way.
            force_setattr(self, "env", {**self.task.env, **self.env})
            force_setattr(self, "cwd", self.cwd or self.task.cwd)
        env: dict[str, Any] = self.env
        for variable, text in env.items():
            if not isinstance(text, (str, Secret, Output)):
                got = type(text).__name__
                kinds = "text, a Secret or an Output"
                raise UsageError(f"env[{variable!r}]: expected {kinds}, got {got}")
        self._note_parents()

    def _check_group(self) -> None:
        group: Any = self.group
        if not isinstance(group, str) or len(group) > LONGEST_NAME:
            reason = f"expected text of at most {LONGEST_NAME} characters"
            raise FieldInvalid("group", repr(group), reason)
        if group and self.retry.retries:
            alone = "the jobs of a group end together: none has another attempt by itself"
            raise UsageError(f"job {self.name!r}: {alone}")

    def _note_parents(self) -> None:
        kinds = (str, Job, JobHandle, Dependency)
        parents = listed(self.depends_on, "depends_on", kinds, "jobs, or their names")
        said = [*itertools.chain.from_iterable(map(_dependencies, parents))]
        taken = [one for one in self.env.values() if isinstance(one, Output)]
        # What no file can hold is refused here, too.
        taken += [*outputs_in(given_by(self.task)), *words_taken(self.task)]
        force_setattr(self, "depends_on", (*said, *needed_for(taken, said)))


def _dependencies(given: str | Job | JobHandle | Dependency) -> Sequence[Dependency]:
    if isinstance(given, Dependency):
        return (given,)
    if isinstance(given, JobHandle):
        return [Dependency(job=name) for name in given.jobs]
    return (Dependency(job=given if isinstance(given, str) else given.name),)
