"""Jobs on their way to an executor."""

from __future__ import annotations

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
