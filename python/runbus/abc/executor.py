"""The port of whatever runs jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal

import msgspec

from runbus.abc._made import Portable
from runbus.errors import RunbusError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc.files import JobFiles
    from runbus.abc.job import JobSpec
    from runbus.abc.packager import Packager
    from runbus.abc.request import Request

__all__ = [
    "UNMET",
    "Capabilities",
    "Executor",
    "JobRef",
    "Limits",
    "Observation",
    "Phase",
]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do for a job. What it cannot is refused before anything is sent.

    Attributes:
        gpus: The most GPUs that one job can have for itself; None if only the backend knows.
        images: Whether it makes a machine as a job's image asks. Its variables everyone gives.
        containers: Whether it runs a job in the image that is its base, without adding packages.
        affinity: Whether it holds a job to some processors.
        niceness: Whether it lets a job yield to others.
        time_limit: Whether it ends a job by itself, also when nobody watches any more.
        packages: Whether it gives a job a copy of the packaged code.
        code_images: Whether it builds an image of the packaged code, if that is asked for.
        pushes: Whether `wait_for_change` returns when something happens, and not only in time.
        batches: Whether `submit_all` hands over several jobs in fewer calls than one for each.
        nodes: On how many machines a job writes, each of which `Executor.node_logs` tells apart.
        files: Whether `Executor.files` reads the folder where a job worked.
        after: Which queue holds jobs back until others in it have ended, as their `after` says: the
            same value where executors share it. Such a job begins only if the records of all of
            them say that it may, and otherwise ends with `UNMET` as its reason. None
            if there is no such queue.
        elsewhere: Whether jobs run on other machines than this one, whose processors do not matter
            then: where nobody says how many jobs run at a time, only `Limits.jobs` bounds them.
        copies: As which copies each job is to run, by their indices: an experiment has a job for
            each of them then, `NAME[INDEX]`. Each job is one by itself if empty.
        together: Which executors begin the jobs of a group (`JobSpec.group`) at once: the same
            value where one call of `submit_all`, of any of them, does that for jobs of all. None
            where each begins when its own turn comes.
    """

    gpus: int | None = 0
    images: bool = False
    containers: bool = False
    affinity: bool = False
    niceness: bool = False
    time_limit: bool = False
    packages: bool = False
    code_images: bool = False
    pushes: bool = False
    batches: bool = False
    nodes: int = 1
    files: bool = False
    after: Hashable = None
    elsewhere: bool = False
    copies: tuple[int, ...] = ()
    together: Hashable = None

    def check(self, job: JobSpec, executor: str) -> None:
        """Refuse a job that asks for more.

        Args:
            job: The job.
            executor: The name of the executor that this is about.

        Raises:
            Unsupported: Everything that it asks for and will not get.
        """
        wanted = job.resources
        asked = [
            (job.image.base, self.images or self.containers, f"the image {job.image.base!r}"),
            (job.image.python, self.images, f"Python {job.image.python}"),
            (job.image.pip, self.images, "Python packages"),
            (job.image.apt, self.images, "system packages"),
            (wanted.cpus, self.affinity, "processors of its own"),
            (wanted.nice, self.niceness, "niceness"),
            (job.timeouts.run_s, self.time_limit, "a time limit"),
            (job.package, self.packages, "packaged code"),
            (job.artifacts, self.files, "artifacts from the folder where it worked"),
            (job.package and job.package.image, self.code_images, "an image of its code"),
            (job.after, self.after is not None, "a queue that waits for other jobs"),
            (
                wanted.gpus,
                self.gpus is None or wanted.gpus <= self.gpus,
                f"{wanted.gpus} GPU{'s' if wanted.gpus != 1 else ''} (there are {self.gpus})",
            ),
        ]
        if missing := tuple(words for asks, given, words in asked if asks and not given):
            raise Unsupported(job.name, executor, missing)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a backend takes at a time.

    Attributes:
        jobs: How many jobs it runs at a time, further ones being no use there; None for any number.
        observe_s: Least number of seconds between two looks.
    """

    jobs: int | None = None
    observe_s: float = 0.0


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


Phase = Literal[
    "queued", "provisioning", "running", "suspended", "preempted", "ended", "gone"
]  # fmt: skip
"""Where a job stands for its backend: it waits; its machine is being made; it runs; it has begun
and stands still; its machine was taken away, and the backend will not start it again by itself; it
has ended; it is neither there nor recorded as ended."""


UNMET = "what it waits for did not let it begin"
"""The reason for the end of a job that a queue has held back, and that did not begin: its turn came
before the ends of what it waits for were on record, or after ends that it was not to follow."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What was really seen of a job.

    Attributes:
        phase: Where it stands: see `Phase`.
        host: The machine; empty while unknown.
        pid: Its process there; 0 while unknown.
        started_ns: Unix time of its start in nanoseconds; 0 while unknown.
        ended_ns: Unix time of its end in nanoseconds; 0 while unknown.
        duration_s: Seconds from start to end by a clock that is never set; 0 while unknown.
        cpu_s: Seconds of processor time that it and its children took; 0 while unknown.
        max_rss_bytes: The most memory that one of its processes ever had, in bytes; None while
            unknown.
        exit_code: Its exit status, once ended by itself.
        signal: The signal that ended it.
        reason: What the backend says about it.
        wrapper: Which wrapper kept its record, "program" or "script"; empty while unknown.
        native_state: The backend's own word for its state, such as CONFIGURING: a word that
            changes as the state does, and no progress; empty if it has none.
        evidence: What told this, such as `exit.json` or `squeue`; empty if nothing did.
        requeues: How often the backend has by itself put it back into its queue since it was
            submitted, under the same handle. Each time begins another attempt, in a folder of its
            own beside the one before.
    """

    phase: Phase
    host: str = ""
    pid: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str = ""
    wrapper: str = ""
    native_state: str = ""
    evidence: str = ""
    requeues: int = 0


class Executor(Portable, ABC):
    """Runs jobs on one kind of backend.

    It only plans, starts, looks and stops: retries, time-outs, records and events are the
    supervisor's. All methods may be called from several tasks.

    What a job writes lies in the attempt's folder as `stdout.log` and `stderr.log` while it runs,
    copied there if the job runs elsewhere, and all of it before `observe` says "ended".

    Attributes:
        name: What jobs call it.
        packager: Chooses the code that travels with its jobs; None for none. The package
            is built once, when an experiment is prepared, and given to the jobs.
    """

    name: str
    packager: Packager | None = None

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can do for a job; the same for its whole life."""

    @abstractmethod
    def limits(self) -> Limits:
        """Return how much it takes at a time."""

    @abstractmethod
    def plan(self, job: JobSpec) -> Request:
        """Return what `submit` would send. Pure: a dry run prints it, once it is rendered.

        Raises:
            Unsupported: The job asks for what `capabilities` do not give.
            UsageError: The job cannot run on this backend as it is.
        """

    def plan_together(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return requests of jobs that begin together, as they are sent then.

        Pure: a dry run prints them. Called where `capabilities.together` is the same for all.

        Args:
            requests: What `plan` has returned for each, of this executor or of another.
        """
        return requests

    async def make_ready(self) -> None:
        """Begin with what the first `submit` needs and takes time, because it will soon be called.

        Called while the folder of an experiment is made, where it is cut off when that is done,
        and again while the intents are made durable. What goes wrong is for `submit` to tell.
        """

    @abstractmethod
    async def submit(self, request: Request) -> JobRef:
        """Hand a job to the backend.

        The intent is durable before this is called. Secrets are resolved here and reach the job's
        script as the variables of `runbus.attempt.secret_environment`, through its environment or a
        file that only its owner can read. Cancelling it leaves a job that is either not submitted,
        or that `find` and `observe` find by what is in the request.

        Raises:
            JobNotStarted: The backend refused it; nothing runs.
            SecretMissing: A secret cannot be read; nothing runs.
            SubmitUnknown: The backend may have it: `find` tells, once it answers.
        """

    async def submit_all(
        self, requests: Sequence[Request]
    ) -> Sequence[JobRef | RunbusError | None]:
        """Hand several jobs to the backend: those that are ready at the same time.

        Each is a job of its own, as if `submit` had been called for it. Those of a group may be of
        several executors, where `capabilities.together` says so, and begin together. Called only
        where `capabilities.batches` or that says so. Cancelling it is like cancelling `submit`, for
        all of them.

        Returns:
            What became of each, in the order of the requests: its reference; the error that
            `submit` would have raised; None if there is no room for it now: give it again later.
        """
        return [await self._outcome(request) for request in requests]

    async def _outcome(self, request: Request) -> JobRef | RunbusError:
        try:
            return await self.submit(request)
        except RunbusError as error:
            return error

    @abstractmethod
    async def find(self, job: JobSpec) -> JobRef | None:
        """Look a job up by what it was called when it was submitted, by any process.

        Asked before a submit is repeated: one whose answer was lost, or that another process may
        have made. Cancelling it is harmless.

        Returns:
            What `submit` returned then, or as good; None if the backend answers and has no such
            job, so that it may be submitted.

        Raises:
            HostError: The backend does not answer: the state is unknown.
        """

    @abstractmethod
    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        """Look at many jobs in one go, which may be of several experiments.

        Returns:
            An observation by reference. A job that is missing from it was not seen, which says
            nothing about it.
        """

    @abstractmethod
    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return when a job may have changed since the last call, or after `timeout_s` seconds.

        A backend that does not push simply waits. Cancelling it is harmless.

        Returns:
            Whether something may have changed.
        """

    @abstractmethod
    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        """Return what a job has written, from a byte on: from the backend itself if need be.

        For who reads without waiting for the copies in the attempt's folder, which nobody makes
        when no process leads the experiment. The offset after the returned bytes is the next
        cursor. Cancelling it is harmless.

        Args:
            ref: The job.
            source: Which of its outputs.
            offset: Where to begin, in bytes.

        Returns:
            At most 1 MiB; empty if there is nothing there (yet).

        Raises:
            HostError: The backend does not answer.
        """

    async def node_logs(
        self, ref: JobRef, node: int, source: Literal["stdout", "stderr"], offset: int
    ) -> bytes:
        """Return what a job has written on one of its machines: from the backend itself.

        Args:
            ref: The job.
            node: Which of its machines, from 0.
            source: Which of its outputs.
            offset: Where to begin, in bytes of what that machine has written.

        Returns:
            At most 1 MiB; empty if there is nothing there (yet).

        Raises:
            Unsupported: The job has one machine: `capabilities.nodes` is 1.
            HostError: The backend does not answer.
        """
        raise Unsupported(ref.name, self.name, (f"what machine {node} has written",))

    @abstractmethod
    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Ask jobs to end: TERM to everything they started, KILL after `grace_s` seconds.

        Returns at once; the end is seen by `observe`. Safe to repeat: a smaller `grace_s`
        shortens the wait, 0 kills now. Jobs that have ended already are left alone.
        """

    async def files(self, job: JobSpec) -> JobFiles:
        """Return the files in the folder where an attempt worked that has ended here.

        Called for jobs with `artifacts`, once their end was observed, by any process; until it has
        been used without an error, what the job left must stay.

        Args:
            job: The attempt, as it was submitted.

        Raises:
            Unsupported: `capabilities.files` is False.
            HostError: The backend does not answer, or knows nothing of the attempt.
        """
        raise Unsupported(job.name, self.name, ("artifacts",))
