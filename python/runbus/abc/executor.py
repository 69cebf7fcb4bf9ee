"""The port of whatever runs jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import msgspec

from runbus.events import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Executor", "JobRef", "JobSpec", "Observation", "Request"]


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One job, as it is handed to an executor.

    Attributes:
        experiment_id: The experiment it belongs to.
        name: Its name, unique within the experiment and safe as a folder name.
        run_id: The run that records what it measures.
        executor: The name of the executor that it goes to.
        argv: The program and its arguments, as the operating system gets them.
        cwd: The folder it starts in.
        env: What is added to the environment it inherits.
        secrets: What else is added, as references by the names of the variables: see `Secret`.
        folder: Where an attempt's request, logs and records lie.
        run_folder: Where the run keeps what it measures.
        attempt: Which attempt this is, from 1.
        gpus: How many GPUs it needs for itself.
        cpus: The processors it may run on, as `taskset -c` takes them; all if empty.
        nice: How much it yields to others, from 0 to 19.
        timeout_s: Seconds after which it is ended, as TIMEOUT; None for no limit.
        retries: How many more attempts it gets if it fails.
        backoff_s: Seconds before the second attempt; doubled for each one after.
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
    gpus: int = 0
    cpus: str = ""
    nice: int = 0
    timeout_s: int | None = None
    retries: int = 0
    backoff_s: float = 1.0
    image: Image = Image()
    bootstrap: tuple[str, ...] = ()
    secrets: dict[str, str] = {}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor is about to send: printable, comparable, complete."""

    job: JobSpec
    script: str

    def render(self) -> str:
        """Return the request as a person would read it: the script that the backend will run."""
        return self.script


class JobRef(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor needs to find a job again, after a restart of anything.

    Attributes:
        name: The job's name.
        folder: The folder of the attempt.
        handle: What the backend calls it.
    """

    name: str
    folder: str
    handle: str


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What was really seen of a job.

    Attributes:
        phase: "queued", "running", "ended", or "gone" if it is neither there nor recorded as ended.
        host: The machine; empty while unknown.
        pid: Its process there; 0 while unknown.
        started_ns: Unix time of its start in nanoseconds; 0 while unknown.
        ended_ns: Unix time of its end in nanoseconds; 0 while unknown.
        duration_s: Seconds from start to end by a clock that is never set; 0 while unknown.
        cpu_s: Seconds of processor time that it and its children took; 0 while unknown.
        exit_code: Its exit status, once ended by itself.
        signal: The signal that ended it.
        reason: What the backend says about it.
    """

    phase: Literal["queued", "running", "ended", "gone"]
    host: str = ""
    pid: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""


class Executor(ABC):
    """Runs jobs on one kind of backend.

    It only plans, starts, looks and stops: retries, time-outs, records and events are the
    supervisor's. All methods may be called from several tasks.
    """

    name: str

    @abstractmethod
    def plan(self, job: JobSpec) -> Request:
        """Return what `submit` would send. Pure: a dry run prints it.

        Raises:
            UsageError: The job cannot run on this backend as it is.
        """

    @abstractmethod
    async def submit(self, request: Request) -> JobRef:
        """Hand a job to the backend.

        The intent is durable before this is called. Secrets are resolved here and reach the job's
        script as the variables of `runbus.jobs.secret_environment`, through its environment or a
        file that only its owner can read. Cancelling it leaves a job that is either not submitted,
        or that `observe` finds by the folder in the request.

        Raises:
            JobNotStarted: The backend refused it; nothing runs.
            SecretMissing: A secret cannot be had; nothing runs.
        """

    @abstractmethod
    async def observe(self, refs: Sequence[JobRef]) -> dict[str, Observation]:
        """Look at many jobs in one go.

        Returns:
            An observation by job name. A job that is missing from it was not seen, which says
            nothing about it.
        """

    @abstractmethod
    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when a job may have changed since the last call, or after `timeout_s` seconds.

        A backend that does not push simply waits. Cancelling it is harmless.
        """

    @abstractmethod
    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Ask jobs to end: TERM to everything they started, KILL after `grace_s` seconds.

        Returns at once; the end is seen by `observe`. Safe to repeat: a smaller `grace_s`
        shortens the wait, 0 kills now. Jobs that have ended already are left alone.
        """
