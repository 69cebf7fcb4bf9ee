"""What executors have in common that reach machines through tunnels: they send and follow jobs."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus._home import RESULT
from runbus.abc import Executor
from runbus.attempt import AttemptBody, observe_folder, outlived, read_log, render_request
from runbus.codec import encode_json
from runbus.config import parse_host
from runbus.errors import JobNotStarted, RemoteFailed, SecretMissing, os_reason
from runbus.events import ResolveExecutor
from runbus.executors._changes import Changes
from runbus.executors._copies import log_base
from runbus.executors._host import seen_there
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
from runbus.executors._shell_files import ShellFiles
from runbus.executors._unpacked import in_unpacked_code

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Literal, Self

    from runbus.abc import JobRef, JobSpec, Observation, Request, Scope, Tunnel
    from runbus.executors._choosing import Hosts
    from runbus.executors._host import Host

__all__ = ["NO_FOLDER", "PIECE", "MarkedBody", "TunnelExecutor", "tunnel_to"]

AGAIN_S = 1.0
"""After how long a machine is asked again that had no room for a job."""

PIECE = 1 << 20
"""How much of a log is read at a time."""

NO_FOLDER = "runbus: this machine has no such folder; give its executor a packager or a workdir"


class MarkedBody(AttemptBody, frozen=True, kw_only=True):
    """A request whose folders lie in homes that only the machine knows."""

    finished = staticmethod(expanded)


class TunnelExecutor(Executor):
    """Sends jobs to machines, follows them there, and copies what they write.

    Logs, metric journals and records are copied into the attempt's and the run's own folders as
    they grow. A subclass says which machines there are, by `_use`, and what is planned.
    """

    def _use(
        self, hosts: Hosts, job_dir: str, *, workdir: str | None = None, python: str | None = None
    ) -> None:
        """Begin with these machines.

        Args:
            hosts: The machines; each calls `_tell` when it has seen something.
            job_dir: Under which folder of them everything lies.
            workdir: The folder where jobs start, instead of their own.
            python: The interpreter there, for jobs that would run under this one.
        """
        self._hosts = hosts
        self._job_dir = job_dir
        self._workdir = workdir
        self._python = python
        self._changes = Changes()
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
            await anyio.sleep(AGAIN_S)
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
            host.busy_until = time.monotonic() + AGAIN_S
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
        return await self._changes.wait(timeout_s)

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
        return await host.tunnel.read(path, there, PIECE)

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Have the wrapper end each job, as soon as its machine can be reached."""
        for ref in refs:
            seen = observe_folder(ref.folder)
            placement = read_placement(ref.folder)
            host = self._hosts.of(placement)
            if placement is not None and host is not None and not self._is_end(seen):
                host.follow(ref, placement)
                host.cancel(placement, grace_s)

    async def files(self, job: JobSpec) -> ShellFiles:
        """Return the files in the folder where a job worked, on its machine.

        Raises:
            RemoteFailed: It was sent nowhere, or to a machine that is none of ours.
            HostError: The machine cannot be reached.
        """
        placement = read_placement(job.folder)
        host = self._hosts.of(placement)
        if host is None:
            where = placement.host if placement else job.executor
            raise RemoteFailed(where, "it is none of the machines of this executor")
        base = await host.machine.prepare()
        folder = expanded(shlex.quote(self._moved(job, base).cwd))
        return ShellFiles(host.tunnel, os.fsencode(folder), apart=base)

    def tunnel_to(self, host: str) -> Tunnel | None:
        """Return how a machine is reached, by its name in records; None if it is none of these."""
        return next((one.tunnel for one in self._hosts if one.name == host), None)

    def _follow(self, ref: JobRef) -> Observation | None:
        for host in self._hosts:
            if (job := host.jobs.get(ref.folder)) is not None:
                if job.observation is not None and job.observation.phase == "ended":
                    self._forget(ref)
                return job.observation
        placement = read_placement(ref.folder)
        seen = seen_there(ref.folder, placement.host) if placement else observe_folder(ref.folder)
        if self._is_end(seen):
            return seen
        owner = self._hosts.of(placement)
        if placement is not None and owner is not None:
            owner.follow(ref, placement)
        return None

    def _is_end(self, seen: Observation | None) -> bool:
        """Whether an attempt's own records, which are here, tell all of its end."""
        return seen is not None and seen.phase == "ended"

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
            known_as=self._known_as(job),
        )

    def _known_as(self, job: JobSpec) -> str:
        """Return what a job is called by what queues jobs there; empty where nothing does."""
        return ""

    def _moved(self, job: JobSpec, base: str, own_folder: str = "") -> JobSpec:
        """Return a job with its paths as they are on a machine.

        Args:
            job: The job.
            base: The folder below which everything of it lies there.
            own_folder: The attempt's folder there, if it is called otherwise than usual.
        """
        folder, run_folder = remote_folders(job, base)
        folder = own_folder or folder
        result = os.path.join(job.folder, RESULT)
        moved = {job.run_folder: run_folder, result: f"{folder}/{RESULT}"}
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
            env={name: moved.get(value, value) for name, value in there.env.items()},
        )

    def _fields(self, job: JobSpec, host: Host, base: str) -> bytes:
        """Return what the wrapper program reads; empty where only a shell can tell a path."""
        there = self._moved(job, base)
        cwd, program = (at_home(path, host.machine.home) for path in (there.cwd, there.argv[0]))
        if cwd is None or program is None or any("\x01" in word for word in there.argv[1:]):
            return b""
        moved = replace(there, cwd=cwd, argv=(program, *there.argv[1:]))
        return self._rendered(moved, host.machine.sampler)

    @property
    def _is_read_again(self) -> bool:
        """Whether several attempts read one request: only its script finds the folder of each."""
        return False

    def _rendered(self, job: JobSpec, sampler: str) -> bytes:
        """Return the request of a job, whose wrapper starts what samples beside it.

        Args:
            job: The job as of its machine.
            sampler: The path there of the program; empty if there is none.
        """
        return render_request(job, advice=NO_FOLDER, sampler=sampler, by_script=self._is_read_again)

    def _tell(self) -> None:
        self._changes.note()
        self._hosts.make_room()

    def _resolve(self, event: ResolveExecutor) -> TunnelExecutor | None:
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
