"""Jobs in a Slurm cluster, from its login node or through a tunnel to it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import anyio
from msgspec import Meta
from msgspec.structs import replace

from runbus._home import ENV_SAMPLER
from runbus._secrets import Secret  # noqa: TC001 - the configuration reads the fields
from runbus.abc import Capabilities, JobRef, Limits, Packager, Request, Tunnel
from runbus.config import LocalFile  # noqa: TC001 - the configuration reads the fields
from runbus.errors import (
    JobNotStarted,
    PartitionMissing,
    RunbusError,
    SecretMissing,
    SubmitUnknown,
    UsageError,
    os_reason,
)
from runbus.executors._choosing import Hosts
from runbus.executors._environment import check_gpu_variable
from runbus.executors._lent import TunnelPool  # noqa: TC001 - the configuration reads the fields
from runbus.executors._paths import OWN_ATTEMPT, marked
from runbus.executors._placement import (
    PLACEMENT,
    read_placement,
    ref_to,
    remote_folders,
    run_json,
)
from runbus.executors._slurm.body import SlurmBody
from runbus.executors._slurm.bounded import Bounded, numbered
from runbus.executors._slurm.choosing import AUTO
from runbus.executors._slurm.commands import Commands
from runbus.executors._slurm.host import SlurmHost
from runbus.executors._slurm.launch import is_launched, launched, node_count, node_log
from runbus.executors._slurm.machine import Member
from runbus.executors._slurm.numbers import chunks, element_name
from runbus.executors._slurm.options import SlurmOptions, components, directives, notice
from runbus.executors._slurm.partitions import Partition
from runbus.executors._slurm.requeued import RequeuingHost
from runbus.executors._slurm.resources import SlurmResources
from runbus.executors._slurm.script import DEPENDENCY, array_name, job_name
from runbus.executors._slurm.together import group_script
from runbus.executors._slurm.verdict import needs_word
from runbus.executors._tunnelled import PIECE, TunnelExecutor, tunnel_to
from runbus.transports import LocalTunnel

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from types import TracebackType
    from typing import Literal

    from runbus.abc import JobSpec, Observation
    from runbus.executors._slurm.scheduler import Scheduler

__all__ = ["AUTO", "Partition", "SlurmExecutor", "SlurmResources", "partitions"]


@dataclass(kw_only=True, eq=False)
class SlurmExecutor(SlurmOptions, TunnelExecutor):
    """Runs each job as one job of Slurm, through the wrapper.

    The cluster's machines must share the file system of the login node, at least below `job_dir`.
    There each attempt has its folder; logs, metric journals and records are copied from it as they
    grow. How a job ended its own record tells; what Slurm says explains it, and stands in for it
    where there is none. A job that Slurm does not list is not taken for lost until it is missing
    from both the queue and the accounts, several times.

    A job is known by a name that only it has, so one whose submission was cut off is found again.
    Slurm is asked about all jobs in one call of `squeue`, and in one of `sacct` about those that it
    no longer lists.

    Used as a plugin, or as an async context manager; leaving it leaves jobs running. Further
    options are those of `SlurmOptions`, under the names that `sbatch` has for them.

    Attributes:
        host: The login node, as `user@name:port`, or a tunnel; this machine if None.
        job_dir: Under which folder of it everything lies, if it is not given as a tunnel.
        identity: The private key file for a login node given as text.
        packager: Chooses the code that jobs get, each attempt a copy; paths in it are rewritten.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
        poll_s: How often Slurm is asked, in seconds. It is asked less often while nothing changes.
        copy_patience_s: How long the end of a job waits for files that cannot be copied although
            the login node answers.
        name: What jobs call this executor.
        tunnels: Lends tunnels, so that several executors have one connection.
        native_dependencies: Whether a job is handed to Slurm while those that it depends on are
            there, to wait in its queue; otherwise it is handed over once they have ended.
        rest: Where slurmrestd listens, to be asked instead of the programs of the login node:
            `unix:///run/slurmrestd.sock`, or `http://user@head:6820`. The files of jobs go by
            `host` all the same.
        token: Where the token for it is, as `scontrol token` prints it.

    Raises:
        UsageError: An option has not the form that Slurm reads, or there is no such option.
        ExtraMissing: The login node is given as text and asyncssh is not installed, or `rest` is
            given and httpx is not.
    """

    host: str | Tunnel | None = None
    job_dir: str = "~/.runbus/remote"
    identity: LocalFile | None = None
    packager: Packager | None = None
    workdir: str | None = None
    python: str | None = None
    poll_s: Annotated[float, Meta(gt=0)] = 5.0
    copy_patience_s: float = 60.0
    name: str = "slurm"
    tunnels: TunnelPool | None = None
    native_dependencies: bool = True
    rest: str | None = None
    token: Secret | None = None

    def __post_init__(self) -> None:
        """See that the options are such, and begin with the login node."""
        self.check()
        tunnel = self._reached()
        scheduler = scheduler_of(tunnel, self.rest, self.token)
        self._bounded = Bounded()
        follows = RequeuingHost if self.requeue else SlurmHost
        self._host = follows(
            tunnel, scheduler, self.poll_s, self._tell, self.copy_patience_s, notice(self)
        )
        self._use(
            Hosts({tunnel.name: self._host}),
            tunnel.job_dir,
            workdir=self.workdir,
            python=self.python,
        )

    def _reached(self) -> Tunnel:
        if self.host is None:
            return LocalTunnel(self.job_dir)
        if isinstance(self.host, Tunnel):
            return self.host
        reach = tunnel_to if self.tunnels is None else self.tunnels.to
        return reach(self.host, self.job_dir, self.identity)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop following and close the connections. Jobs continue."""
        await super().__aexit__(exc_type, exc, traceback)
        await self._host.scheduler.close()

    @property
    def capabilities(self) -> Capabilities:
        """What a cluster can do; how many GPUs it has, only Slurm knows."""
        cluster = self._cluster
        return Capabilities(
            gpus=None,
            containers=self.runtime is not None,
            affinity=True,
            niceness=True,
            time_limit=True,
            packages=True,
            pushes=True,
            files=True,
            batches=True,
            elsewhere=True,
            nodes=node_count(self),
            after=cluster if self._holds_back else None,
            copies=elements.indices if (elements := self.elements) else (),
            together=None if self._reason_apart else cluster,
        )

    @property
    def _cluster(self) -> Hashable:
        """What is the same for executors that hand jobs over in the same place."""
        return self._host.scheduler.way, self._host.name, self._job_dir

    @property
    def _reason_apart(self) -> str:
        """Which option keeps a job from being a component of one that Slurm begins as a whole.

        Of GPUs that are counted by the task, or for the whole job, the first machine's script would
        get those of one task, or as many as no machine has.
        """
        names = "resource_group", "requeue", "signal", "gpus", "gpus_per_task"
        return next((name for name in names if getattr(self, name)), "")

    @property
    def _holds_back(self) -> bool:
        """Whether its jobs can wait in Slurm's queue for each other."""
        first, *others = components(self)
        own = others or self.requeue or DEPENDENCY in dict(directives(self, first))
        return self.native_dependencies and not own

    def limits(self) -> Limits:
        """Return that it takes any number of jobs: Slurm queues them."""
        return Limits()

    def plan(self, job: JobSpec) -> Request:
        """Return the batch script, and the script that it runs."""
        self.capabilities.check(job, self.name)
        self._check_copy(job)
        check_gpu_variable(job)
        base = marked(self._job_dir)
        moved = self._moved(job, base, OWN_ATTEMPT if self.requeue else "")
        folder, _ = remote_folders(job, base)
        body = SlurmBody.for_slurm(moved, self, folder)
        if job.group and (option := self._reason_apart):
            others = f"the others of group {job.group!r}"
            body = replace(body, apart=f"Slurm begins it apart from {others}: it has {option}")
        return Request(job=job, body=body)

    def plan_together(self, requests: Sequence[Request]) -> Sequence[Request]:
        """Return requests that show the one script that is sent for all of them.

        Raises:
            UsageError: Slurm takes no one job of them, by what their executors ask for.
        """
        bodies = [request.of(SlurmBody) for request in requests]
        parts = [body.part(body.folder) for body in bodies]
        group_script(parts, b"")
        return [
            replace(request, body=replace(body, group=parts))
            for request, body in zip(requests, bodies, strict=True)
        ]

    def _check_copy(self, job: JobSpec) -> None:
        """Refuse a job that is none of the elements of the array, where there is one.

        Raises:
            UsageError: It is none.
        """
        asked = None if self.elements is None else self.elements.indices
        index = None if job.copy is None else job.copy.index
        if asked is None and index is not None:
            raise UsageError(f"job {job.name!r} is an element of an array, and there is no array")
        if asked is not None and index not in asked:
            raise UsageError(f"job {job.name!r} is no element of the array {self.array}")

    async def submit_all(self, requests: Sequence[Request]) -> list[JobRef | RunbusError | None]:
        """Hand several jobs over: a group as one heterogeneous job, equal jobs as one array.

        Each has its own folder, wrapper and records, as if it had been submitted alone. Of an array
        of which only some elements run at a time, those that do not go in one `sbatch` with the
        others find no room before there are so few left of these.
        """
        outcomes: dict[str, JobRef | RunbusError | None] = {}
        groups: dict[str, list[Request]] = {}
        for request in requests:
            group = request.job.group
            is_together = group and planner_of(request).capabilities.together is not None
            groups.setdefault(group if is_together else "", []).append(request)
        equal = groups.pop("", [])
        async with anyio.create_task_group() as sending:
            for together in groups.values():
                name = f"submit {len(together)} jobs to {self._host.name} together"
                sending.start_soon(self._send_together, together, outcomes, name=name)
            if equal:
                await self._send_equal(equal, outcomes)
        return [outcomes.get(request.job.folder) for request in requests]

    async def _send_equal(self, requests: Sequence[Request], outcomes: Outcomes) -> None:
        """Hand over those that ask for the same as arrays."""
        groups = await self._groups(requests, outcomes)
        limit = self.elements.at_a_time if self.elements else None
        open_jobs = (one.ref for one in self._host.open_jobs())
        with self._bounded.within(limit, groups, open_jobs) as going:
            async with anyio.create_task_group() as sending:
                for alike in going:
                    name = f"submit {len(alike)} jobs to {self._host.name}"
                    sending.start_soon(self._send, alike, outcomes, name=name)

    async def _groups(
        self, requests: Sequence[Request], outcomes: Outcomes
    ) -> list[Sequence[Request]]:
        """Return the jobs that can be reached, in groups of those that can be one array."""
        needs: dict[tuple[object, ...], list[Request]] = {}
        for request in requests:
            package = request.job.package
            was_sent = read_placement(request.job.folder) is not None
            need = package and package.sha256, request.job.timeouts.queue_s, was_sent
            needs.setdefault(need, []).append(request)
        groups: dict[tuple[bytes, str], list[Request]] = {}
        largest = 1
        for alike in needs.values():
            first = alike[0].job
            try:
                await self._reached_for(first)
                # Slurm takes no array of heterogeneous jobs.
                largest = await self._host.scheduler.largest_array()
                largest = 1 if self.resource_group else max(1, largest)
            except RunbusError as error:
                outcomes.update((one.job.folder, error_of(one.job, error)) for one in alike)
                continue
            for request in alike:
                copy_of = request.job.copy.of if request.job.copy else ""
                groups.setdefault((request.of(SlurmBody).like, copy_of), []).append(request)
        return [chunk for group in groups.values() for chunk in chunks(group, largest)]

    async def _send(self, alike: Sequence[Request], outcomes: Outcomes) -> None:
        """Hand over jobs that ask for the same."""
        indices = await self._indices(alike)
        if not indices:
            folder = alike[0].job.folder
            try:
                outcomes[folder] = await self._try_submit(alike[0])
            except RunbusError as error:
                outcomes[folder] = error
            return
        name = array_name([self._known_as(request.job) for request in alike])
        members = []
        for index, request in zip(indices, alike, strict=True):
            try:
                members.append(await self._member(request, index, element_name(name, index)))
            except (OSError, RunbusError) as error:
                outcomes[request.job.folder] = error_of(request.job, error)
        answers = await self._host.submit_all(members)
        for member, answer in zip(members, answers, strict=True):
            outcomes[member.ref.folder] = withdrawn(member, answer)
        self._tell()

    async def _send_together(self, requests: Sequence[Request], outcomes: Outcomes) -> None:
        """Hand over jobs of a group as the components of one job: all of them or none.

        Each goes as its own executor has planned it, which follows it from then on.
        """
        planners = [planner_of(request) for request in requests]
        try:
            self.plan_together(requests)
            for planner, request in zip(planners, requests, strict=True):
                await planner._reached_for(request.job)
            members = [
                await planner._member(request, None, planner._known_as(request.job))
                for planner, request in zip(planners, requests, strict=True)
            ]
        except (OSError, RunbusError) as error:
            outcomes.update((one.job.folder, error_of(one.job, error)) for one in requests)
            return
        answers = await self._host.machine.submit_all(members)
        for planner, member, answer in zip(planners, members, answers, strict=True):
            if isinstance(answer, JobRef):
                planner._host.follow_new(member)
            outcomes[member.ref.folder] = withdrawn(member, answer)
            planner._tell()

    async def _reached_for(self, job: JobSpec) -> None:
        """See that the login node can be reached, and has the code that a job takes along.

        Raises:
            RunbusError: It cannot.
        """
        host = await self._hosts.reserve(job, read_placement(job.folder))
        host.reserved.discard(job.folder)

    async def _indices(self, alike: Sequence[Request]) -> Sequence[int]:
        """Return which elements of an array jobs are; empty for one that goes by itself.

        Copies are those that were asked for, as far as the cluster has such indices.
        """
        asked = [one.job.copy.index for one in alike if one.job.copy is not None]
        if asked and max(asked) < await self._host.scheduler.largest_array():
            return asked
        return range(len(alike)) if len(alike) > 1 else ()

    async def _member(self, request: Request, index: int | None, name: str) -> Member:
        """Record where a job goes, as an element of an array or as a component."""
        job, machine = request.job, self._host.machine
        base = await machine.prepare()
        placement = replace(self._placed(job, self._host, base), known_as=name)
        await self._record(job, placement)
        fields = self._fields(job, self._host, base)
        text = run_json(job.run_folder)
        return Member(ref_to(job, placement), placement, request, fields, text, index)

    async def node_logs(
        self, ref: JobRef, node: int, source: Literal["stdout", "stderr"], offset: int
    ) -> bytes:
        """Read what a machine keeps in the attempt's folder on the cluster."""
        if node_count(self) == 1:
            return await super().node_logs(ref, node, source, offset)
        placement = read_placement(ref.folder)
        if placement is None or self._hosts.of(placement) is None:
            return b""
        path = os.fsencode(f"{placement.folder}/{node_log(node, source)}")
        return await self._host.tunnel.read(path, offset, PIECE)

    def _moved(self, job: JobSpec, base: str, own_folder: str = "") -> JobSpec:
        return numbered(self, launched(self, super()._moved(job, base, own_folder), base))

    @property
    def _is_read_again(self) -> bool:
        return self.requeue

    def _rendered(self, job: JobSpec, sampler: str) -> bytes:
        if not is_launched(self) or not sampler:
            return super()._rendered(job, sampler)
        # The tasks are none of the wrapper's processes: who starts them starts what samples them.
        told = replace(job, env={**job.env, ENV_SAMPLER: sampler})
        return super()._rendered(told, "")

    def _is_end(self, seen: Observation | None) -> bool:
        # What a signal has ended Slurm may begin anew, which only Slurm knows.
        return super()._is_end(seen) and not (self.requeue and seen and needs_word(seen))

    def _known_as(self, job: JobSpec) -> str:
        folder, _ = remote_folders(job, marked(self._job_dir))
        return job_name(job, folder)


def planner_of(request: Request) -> SlurmExecutor:
    """Return the executor that has planned a request: its options are what is asked of Slurm."""
    planner = request.of(SlurmBody).options
    assert isinstance(planner, SlurmExecutor)
    return planner


def withdrawn(member: Member, answer: JobRef | RunbusError | None) -> JobRef | RunbusError | None:
    """Return what became of a job; that it was sent there is forgotten if nothing runs."""
    if answer is None or isinstance(answer, (JobNotStarted, SecretMissing)):
        # Another attempt may go elsewhere.
        with suppress(OSError):
            os.unlink(os.path.join(member.ref.folder, PLACEMENT))
    return answer


Outcomes = dict[str, "JobRef | RunbusError | None"]
"""What became of jobs, by their folders."""


def error_of(job: JobSpec, error: OSError | RunbusError) -> RunbusError:
    """Return an error that concerns several jobs as that of one of them."""
    if isinstance(error, PartitionMissing):
        return error.of(job.name)
    if isinstance(error, JobNotStarted):
        return JobNotStarted(job.name, error.reason, error.advice)
    if isinstance(error, SubmitUnknown):
        return SubmitUnknown(job.name, error.reason)
    return JobNotStarted(job.name, os_reason(error) if isinstance(error, OSError) else str(error))


def scheduler_of(tunnel: Tunnel, rest: str | None, token: Secret | None) -> Scheduler:
    """Return how Slurm is spoken to: by slurmrestd if its address is given.

    Raises:
        UsageError: It is not an address, or there is a token and no address.
        ExtraMissing: httpx is not installed.
    """
    if rest is None:
        if token is not None:
            raise UsageError("a token is for slurmrestd: give rest, too")
        return Commands(tunnel)
    # Costs what httpx costs, which others need not pay.
    from runbus.executors._slurm.rest import Rest

    return Rest(rest, token, tunnel)


async def partitions(
    tunnel: Tunnel, rest: str | None = None, token: Secret | None = None
) -> list[Partition]:
    """Return where jobs can queue, as a login node or slurmrestd tells it.

    Raises:
        HostError: Slurm does not answer there, or the machine does not.
        UsageError: The address of slurmrestd is not one.
    """
    scheduler = scheduler_of(tunnel, rest, token)
    try:
        return await scheduler.partitions()
    finally:
        await scheduler.close()
