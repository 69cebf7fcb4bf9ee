"""Jobs on their way to an executor."""

from __future__ import annotations

from typing import NamedTuple

from runbus.errors._root import RunbusError
from runbus.errors._usage import UsageError


class JobError(RunbusError):
    """A job could not be handled."""


class JobNotStarted(JobError):
    """An executor could not start a job.

    Attributes:
        job: The job's name.
        reason: What the backend said.
        advice: What to try next; None where nothing can be said.
    """

    job: str
    reason: str
    advice: str | None = None

    def __str__(self) -> str:
        return f"job {self.job!r} could not be started: {self.reason}"

    @property
    def hint(self) -> str | None:
        return self.advice


class PartitionMissing(JobNotStarted):
    """No partition of a cluster takes a job that leaves it open where it queues.

    Attributes:
        job: The job's name.
        reason: All of that in words.
        advice: What to try next.
        reasons: Each partition, and why it does not take the job.
    """

    reasons: tuple[tuple[str, str], ...] = ()

    def of(self, job: str) -> PartitionMissing:
        """Return the same for another job."""
        return PartitionMissing(job, self.reason, self.advice, self.reasons)


class SubmitUnknown(JobError):
    """A job was sent to a backend, and it is unknown whether it arrived.

    Attributes:
        job: The job's name.
        reason: What is known.
    """

    job: str
    reason: str

    def __str__(self) -> str:
        return f"job {self.job!r} may have been submitted or not: {self.reason}"


class Unsupported(UsageError):
    """A job asks for what its executor cannot give.

    Attributes:
        job: The job's name.
        executor: The executor's name.
        missing: What it asks for and would not get, in words.
    """

    job: str
    executor: str
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"job {self.job!r} asks for {' and '.join(self.missing)}, "
            f"which executor {self.executor!r} cannot give"
        )

    @property
    def hint(self) -> str:
        return "give the job another executor, or ask for less"


class JobFailure(NamedTuple):
    """A job that did not succeed.

    Attributes:
        job: Its name.
        run_id: The run that was made for it.
        state: How it ended: a `JobState` as text.
        reason: Why, one sentence.
        said: The last lines that it wrote, or the traceback of what its function raised; of the
            first failures only.
        log: The file that these are in; empty if it wrote none.
    """

    job: str
    run_id: str
    state: str
    reason: str
    said: tuple[str, ...] = ()
    log: str = ""

    def __str__(self) -> str:
        told = f"job {self.job!r} {self.state}" + (f": {self.reason}" if self.reason else "")
        log = (f"    {self.log}",) if self.log else ()
        return "\n".join([told, *(f"    | {line}" for line in self.said), *log])


class ExperimentFailed(JobError):
    """Jobs of an experiment did not succeed.

    Attributes:
        experiment: The experiment's id.
        jobs: How many jobs it has.
        failures: Those that failed, timed out, were lost, preempted or cancelled, in their order.
        skipped: Those that did not run because of others, with the reason of each.
        folder: The experiment's folder.
    """

    experiment: str
    jobs: int
    failures: tuple[JobFailure, ...]
    skipped: tuple[JobFailure, ...] = ()
    folder: str = ""

    def __str__(self) -> str:
        count = f"{len(self.failures):,} of {self.jobs:,}" if self.jobs > 1 else "the one"
        jobs = "jobs" if self.jobs > 1 else "job"
        head = f"{count} {jobs} of {self.experiment} did not succeed"
        head += f", {len(self.skipped):,} did not run" if self.skipped else ""
        told = [*self.failures, *self.skipped]
        more = [f"and {len(told) - SHOWN:,} more"] if len(told) > SHOWN else []
        return "\n".join([head, *map(str, told[:SHOWN]), *more])

    @property
    def hint(self) -> str:
        again = f"runbus retry {self.experiment} runs them again"
        return f"runbus why {self.failures[0].run_id} says more; {again}"


SHOWN = 10
"""The text of an error tells so many jobs."""
