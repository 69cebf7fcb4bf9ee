"""A job, as everybody who has to do with it gets it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from runbus import codec
from runbus._home import ENV_RUN
from runbus.abc.packager import Package
from runbus.errors import UsageError
from runbus.events import (
    ArtifactLimits,
    Condition,
    Dependency,
    EarlyStop,
    Image,
    JobDraft,
    JobTransform,
    Resources,
    RetryPolicy,
    Timeouts,
)

__all__ = ["After", "Copy", "JobSpec"]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """Which of several equal jobs one is that were asked for as one.

    Attributes:
        of: What was asked for: what the names of all of them begin with.
        index: Which of `Capabilities.copies` it is.
    """

    of: str
    index: int


class After(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt of another job that the queue of a backend knows, and whose end a job waits for.

    Attributes:
        job: The other's name.
        folder: The folder of its attempt, which is its last.
        when: How it must have ended.
    """

    job: str
    folder: str
    when: Condition


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as it is handed to an executor.

    Attributes:
        experiment_id: The experiment it belongs to.
        name: Its name, unique within the experiment and safe as a folder name.
        run_id: The run that records what it measures.
        executor: The name of the executor that it goes to.
        argv: The program and its arguments, as the operating system gets them.
        given: A text that the program finds in the file `given` of the folder `RUNBUS_ATTEMPT`; no
            such file if empty. What is too long for a command line, or not for everybody to see.
        cwd: The folder it starts in.
        env: What is added to the environment it inherits.
        secrets: What else is added, as references by the names of the variables: see `Secret`.
        outputs: What else is added: what other jobs return, as the data of an `Output` by the names
            of the variables.
        output_words: Which words of `argv` other jobs return, by their places in it, from 0, as the
            data of an `Output` each.
        withheld: Variables of the submitting process that no job of the experiment inherits,
            because some job names them as secrets.
        folder: Where an attempt's request, logs and records lie.
        run_folder: Where the run keeps what it measures.
        attempt: Which attempt this is, from 1.
        resources: Which share of a machine it gets.
        timeouts: How long it may run, wait for its start, and be silent.
        retry: After which ends it gets another attempt.
        depends_on: Which jobs must have ended, and how, before it begins.
        after: Those of them that had not ended when it was submitted: the backend's own queue holds
            it back until they have. Only where `Capabilities.after` is not None.
        group: Which jobs of its experiment it starts, fails and ends together with: those with the
            same text; alone if empty.
        stop: When it is to end early, by what its run logs.
        artifacts: Patterns of files in the folder where it works, of which its run gets copies when
            an attempt ends: see `FilePatterns`.
        artifact_limits: How much of them it gets.
        is_trial: Whether it is a trial of a sweep: a plugin chooses its values as it begins.
        copy: Which of the copies it is that its executor runs of a job; None if there is one.
        package: The code that travels with it: it runs in a copy of its own. None for none.
        image: What the machine must hold before the job starts.
        bootstrap: Lines of POSIX shell that run first; one that fails fails the job.
    """

    experiment_id: str
    name: str
    run_id: str
    executor: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    folder: str
    run_folder: str
    attempt: int = 1
    resources: Resources = Resources()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    depends_on: tuple[Dependency, ...] = ()
    after: tuple[After, ...] = ()
    group: str = ""
    stop: EarlyStop = EarlyStop()
    artifacts: tuple[str, ...] = ()
    artifact_limits: ArtifactLimits = ArtifactLimits()
    is_trial: bool = False
    copy: Copy | None = None
    package: Package | None = None
    image: Image = Image()
    bootstrap: tuple[str, ...] = ()
    secrets: dict[str, str] = {}
    outputs: dict[str, dict[str, str]] = {}
    output_words: dict[int, dict[str, str]] = {}
    withheld: tuple[str, ...] = ()
    given: str = ""

    @property
    def takes_outputs(self) -> bool:
        """Whether other jobs return some of its values, as far as can be told at a glance."""
        return bool(self.outputs or self.output_words) or '"_from_"' in self.given

    @property
    def can_wait_in_queue(self) -> bool:
        """Whether it can be submitted before the jobs that it depends on have ended.

        All of it is known by then, and it begins together with no others.
        """
        return not (self.group or self.is_trial or self.takes_outputs)

    def transform(self) -> JobTransform:
        """Return what asks plugins to change it."""
        draft = JobDraft(
            argv=self.argv,
            given=self.given,
            cwd=self.cwd,
            env=tuple(self.env.items()),
            secrets=tuple(self.secrets.items()),
            resources=self.resources,
        )
        return JobTransform(
            value=draft,
            experiment_id=self.experiment_id,
            job=self.name,
            run_id=self.run_id,
            attempt=self.attempt,
            executor=self.executor,
            is_trial=self.is_trial,
        )

    def with_draft(self, draft: JobDraft) -> JobSpec:
        """Return it with what plugins have changed; which run it belongs to stays as it is.

        Raises:
            UsageError: A value is of another type than its field, or there is no program.
        """
        try:
            draft = codec.convert(codec.to_plain(draft), JobDraft)
        except codec.DecodeError as error:
            raise UsageError(f"job {self.name!r}, as a plugin made it: {error}") from error
        if not draft.argv:
            raise UsageError(f"job {self.name!r}, as a plugin made it: there is no program")
        secrets = dict(draft.secrets)
        env = {name: value for name, value in draft.env if name not in secrets}
        secrets.pop(ENV_RUN, None)
        if ENV_RUN in self.env:
            env[ENV_RUN] = self.env[ENV_RUN]
        return replace(
            self,
            argv=draft.argv,
            given=draft.given,
            cwd=draft.cwd,
            env=env,
            secrets=secrets,
            resources=draft.resources,
        )
