"""Jobs on other machines over SSH, detached: they outlive the connection and its process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence  # noqa: TC003 - the configuration reads the signature
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
from msgspec import Meta
from msgspec.structs import replace

from runbus._listed import listed
from runbus.abc import (
    Capabilities,
    Executor,
    JobRef,
    Limits,
    Observation,
    Packager,
    Request,
    Tunnel,
)
from runbus.attempt import AttemptBody, observe_folder, outlived, read_log, render_request
from runbus.codec import encode_json
from runbus.config import Check, LocalFile, host_problems, parse_host
from runbus.errors import (
    JobNotStarted,
    SecretMissing,
    UsageError,
    os_reason,
)
from runbus.events import ResolveExecutor
from runbus.executors._choosing import Hosts
from runbus.executors._copies import log_base
from runbus.executors._environment import check_gpu_variable
from runbus.executors._host import Host, seen_there
from runbus.executors._lent import TunnelPool  # noqa: TC001 - the configuration reads it
from runbus.executors._machine import package_path
from runbus.executors._paths import at_home, expanded, marked
from runbus.executors._placement import (
    PLACEMENT,
    Placement,
    read_placement,
    ref_to,
    remote_folders,
    run_json,
    write_placement,
)
from runbus.executors._unpacked import in_unpacked_code

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, Self

    from runbus.abc import JobSpec, Scope

__all__ = ["SSHExecutor", "tunnel_to"]

_GPU_LOOK_S = 1.0
"""How often a machine is asked for GPUs that others have."""

_PIECE = 1 << 20

_NO_FOLDER = "runbus: this machine has no such folder; give its executor a packager or a workdir"


class _MarkedBody(AttemptBody, frozen=True, kw_only=True):
    """A request whose folders lie in homes that only the machine knows."""

    finished = staticmethod(expanded)


class SSHExecutor(Executor):
    """Runs each job through the wrapper on one of several machines.

    The wrapper program is sent to each machine once; where it does not start, the script does the
    same job.

    Logs, metric journals and records are copied into the attempt's and the run's own folders as
    they grow, so that a follower of local jobs can follow this one. A machine out of reach
    changes nothing about its jobs; when it is back, copying continues where it stopped.

    Used as a plugin, or as an async context manager; leaving it leaves jobs running.

    Args:
        hosts: The machines, as `name`, `user@name:port`, or tunnels. Those given as text are
            reached as the user's SSH configuration says.
        slots: How many jobs a machine has at a time; further ones wait.
        job_dir: Under which folder of a machine given as text everything lies.
        identity: The private key file for machines given as text, instead of the configured ones.
        gpus: The GPUs that each machine may lend to jobs; those that it has if None.
        packager: Chooses the code that jobs get, each attempt a copy; paths in it are rewritten.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
        copy_patience_s: How long the end of a job waits for files that cannot be copied although
            the machine answers; it is then told without them.
        name: What jobs call this executor.

    Raises:
        UsageError: There is no machine, or two have one name.
        ExtraMissing: A machine is given as text and asyncssh is not installed.
    """

    def __init__(
        self,
        hosts: Annotated[Sequence[str | Tunnel], Meta(min_length=1), Check(host_problems)],
        *,
        slots: Annotated[int, Meta(ge=1)] = 1,
        job_dir: str = "~/.runbus/remote",
        identity: LocalFile | None = None,
        gpus: Sequence[str] | None = None,
        packager: Packager | None = None,
        workdir: str | None = None,
        python: str | None = None,
        copy_patience_s: float = 60.0,
        name: str = "ssh",
        tunnels: TunnelPool | None = None,
    ) -> None:
        self.name = name
        reach = tunnel_to if tunnels is None else tunnels.to
        reached = [
            host if isinstance(host, Tunnel) else reach(host, job_dir, identity)
            for host in listed(hosts, "hosts", (str, Tunnel), "texts or tunnels")
        ]
        if not reached or slots < 1:
            raise UsageError(f"executor {name!r} needs at least one host and one slot")
        if len({one.job_dir for one in reached}) > 1:
            raise UsageError(f"all hosts of executor {name!r} must have one job_dir")
        self._job_dir = reached[0].job_dir
        self.packager = packager
        gpus = self._gpus = None if gpus is None else listed(gpus, "gpus")
        self._slots = slots
        self._workdir = workdir
        self._python = python
        self._changed = anyio.Event()
        self._hosts = Hosts(
            {one.name: Host(one, slots, gpus, self._tell, copy_patience_s) for one in reached}
        )
        if len(self._hosts) < len(reached):
            raise UsageError(f"two hosts of executor {name!r} have one name")
        self._tasks: anyio.abc.TaskGroup | None = None

    async def setup(self, scope: Scope) -> None:
        """Answer for this executor's name; what a plugin does."""
        await scope.enter(self)
        scope.on(ResolveExecutor, self._resolve)

    async def __aenter__(self) -> Self:
        """Begin to follow jobs; machines are connected on first use."""
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        for host in self._hosts:
            self._tasks.start_soon(host.run, name=f"follow {host.name}")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop following and close the connections. Jobs continue."""
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._tasks = None
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                for host in self._hosts:
                    closing.start_soon(host.tunnel.close, name=f"close {host.name}")

    @property
    def capabilities(self) -> Capabilities:
        """What the machines can do; they are as they are, so there are no images."""
        return Capabilities(
            gpus=None if self._gpus is None else len(self._gpus),
            affinity=True,
            niceness=True,
            time_limit=True,
            packages=True,
            pushes=True,
        )

    def limits(self) -> Limits:
        """Return how many slots there are."""
        return Limits(jobs=self._slots * len(self._hosts))

    def plan(self, job: JobSpec) -> Request:
        """Return the script that would run there."""
        self.capabilities.check(job, self.name)
        check_gpu_variable(job)
        body = _MarkedBody.of(self._moved(job, marked(self._job_dir)), advice=_NO_FOLDER)
        return Request(job=job, body=body)

    async def submit(self, request: Request) -> JobRef:
        """Start the wrapper on a machine with a free slot, or wait for one.

        The choice is recorded in the attempt's folder before the machine is told, so a job that
        is submitted again, by any process, goes to the same machine, which then has it already.

        Raises:
            JobNotStarted: No machine could be reached, or the chosen one refused; nothing runs.
            SubmitUnknown: The chosen one does not answer, or not any more.
        """
        # A lock tells nobody when it falls free: other kernels may hold the GPUs.
        while (ref := await self._try_submit(request)) is None:  # noqa: ASYNC110
            await anyio.sleep(_GPU_LOOK_S)
        return ref

    async def _try_submit(self, request: Request) -> JobRef | None:
        """Submit a job; None if the machine has not so many free GPUs."""
        job = request.job
        placement = read_placement(job.folder)
        if placement is not None and self._hosts.of(placement) is None:
            raise JobNotStarted(job.name, f"it was sent to {placement.host}, which is not ours")
        host = await self._hosts.reserve(job, placement)
        try:
            if placement is None:
                placement = self._placed(job, host, await host.machine.prepare())
                await self._record(job, placement)
            ref = ref_to(job, placement)
            started = False
            try:
                fields = self._fields(job, host, await host.machine.prepare())
                started = await host.submit(
                    ref, placement, request, fields, run_json(job.run_folder)
                )
            except (JobNotStarted, SecretMissing):
                # Nothing runs there: another attempt may go elsewhere.
                os.unlink(os.path.join(job.folder, PLACEMENT))
                raise
            if started:
                return ref
            os.unlink(os.path.join(job.folder, PLACEMENT))
            host.busy_until = time.monotonic() + _GPU_LOOK_S
            return None
        except OSError as error:
            raise JobNotStarted(job.name, os_reason(error)) from error
        finally:
            host.reserved.discard(job.folder)
            self._tell()

    async def find(self, job: JobSpec) -> JobRef | None:
        """Ask the machine where the job was sent, if it was, whether it has it."""
        placement = read_placement(job.folder)
        host = self._hosts.of(placement)
        if placement is None or host is None:
            return None
        ref = ref_to(job, placement)
        seen = observe_folder(job.folder)
        if seen is None:
            if not await host.machine.has(placement):
                return None
            host.follow(ref, placement)
        return ref

    async def _record(self, job: JobSpec, placement: Placement) -> None:
        record = encode_json(placement)
        if len(self._hosts) > 1:
            # Waits for the disk: after a power failure here, no other machine may be chosen.
            await anyio.to_thread.run_sync(write_placement, job.folder, record, True)
        else:
            write_placement(job.folder, record, False)

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        """Return what was seen last of each job whose machine answers.

        Each machine is asked in the background, in one request for all of its jobs.
        """
        found = {}
        for ref in refs:
            followed = self._follow(ref)
            if followed is not None:
                found[ref] = followed
        return found

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return when something new was seen since the last call, or after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s):
            await self._changed.wait()
        has_changed = self._changed.is_set()
        self._changed = anyio.Event()
        return has_changed

    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        """Read what has been copied here, and after that what the machine has."""
        if data := read_log(ref.folder, source, offset):
            return data
        seen = observe_folder(ref.folder)
        placement = read_placement(ref.folder)
        host = self._hosts.of(placement)
        ended = seen is not None and seen.phase == "ended"
        if placement is None or host is None or (ended and not outlived(ref.folder)):
            # All of it was copied before its end was reported, unless something of it still writes.
            return b""
        path = os.fsencode(f"{placement.folder}/{source}.log")
        there = max(0, offset - log_base(ref.folder, source))
        return await host.tunnel.read(path, there, _PIECE)

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Have the wrapper end each job, as soon as its machine can be reached."""
        for ref in refs:
            seen = observe_folder(ref.folder)
            placement = read_placement(ref.folder)
            host = self._hosts.of(placement)
            ended = seen is not None and seen.phase == "ended"
            if placement is not None and host is not None and not ended:
                host.follow(ref, placement)
                host.cancel(placement, grace_s)

    def _follow(self, ref: JobRef) -> Observation | None:
        for host in self._hosts:
            if (job := host.jobs.get(ref.folder)) is not None:
                if job.observation is not None and job.observation.phase == "ended":
                    self._forget(ref)
                return job.observation
        placement = read_placement(ref.folder)
        seen = seen_there(ref.folder, placement.host) if placement else observe_folder(ref.folder)
        if seen is not None and seen.phase == "ended":
            return seen
        owner = self._hosts.of(placement)
        if placement is not None and owner is not None:
            owner.follow(ref, placement)
        return None

    def _forget(self, ref: JobRef) -> None:
        for host in self._hosts:
            if host.jobs.pop(ref.folder, None) is not None:
                self._hosts.make_room()

    def _placed(self, job: JobSpec, host: Host, base: str) -> Placement:
        folder, run_folder = remote_folders(job, base)
        return Placement(
            host=host.name,
            folder=folder,
            run_folder=run_folder,
            local_run_folder=os.path.relpath(job.run_folder, job.folder),
        )

    def _moved(self, job: JobSpec, base: str) -> JobSpec:
        """Return a job with its paths as they are on a machine."""
        folder, run_folder = remote_folders(job, base)
        package = job.package and replace(job.package, path=package_path(base, job.package))
        there = in_unpacked_code(replace(job, folder=folder, package=package))
        python = self._python
        return replace(
            there,
            argv=tuple(
                marked(python, is_program=True)
                if python and index == 0 and word == sys.executable
                else word
                for index, word in enumerate(there.argv)
            ),
            cwd=marked(self._workdir) if self._workdir else there.cwd,
            env={
                name: run_folder if value == job.run_folder else value
                for name, value in there.env.items()
            },
        )

    def _fields(self, job: JobSpec, host: Host, base: str) -> bytes:
        """Return what the wrapper program reads; empty where only a shell can tell a path."""
        there = self._moved(job, base)
        cwd, program = (at_home(path, host.machine.home) for path in (there.cwd, there.argv[0]))
        if cwd is None or program is None:
            return b""
        moved = replace(there, cwd=cwd, argv=(program, *there.argv[1:]))
        return render_request(moved, advice=_NO_FOLDER)

    def _tell(self) -> None:
        self._changed.set()
        self._hosts.make_room()

    def _resolve(self, event: ResolveExecutor) -> SSHExecutor | None:
        return self if event.name == self.name else None


def tunnel_to(host: str, job_dir: str, identity: str | None) -> Tunnel:
    """Return a tunnel to a machine that is given as text.

    Raises:
        UsageError: The text names no machine.
        ExtraMissing: asyncssh is not installed.
    """
    # Costs what asyncssh costs, which who gives tunnels of another kind need not pay.
    from runbus.transports import SSHTunnel

    user, name, port = parse_host(host)
    return SSHTunnel(name, user or None, port or None, job_dir=job_dir, identity=identity)
