"""Jobs on other machines over SSH, detached: they outlive the connection and whoever made it."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus.abc import Executor, JobRef, Observation, Request, Tunnel
from runbus.codec import DecodeError, decode_json, encode_json
from runbus.errors import HostError, JobNotStarted, UsageError
from runbus.events import ResolveExecutor
from runbus.executors._host import Host
from runbus.executors._remote import Placement
from runbus.jobs import observe_folder, render_script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from runbus.abc import JobSpec, Package, Scope

__all__ = ["SSHExecutor"]

logger = logging.getLogger("runbus.executors")

_PLACEMENT = "placement.json"
_AVOID_S = 15.0
"""How long a machine that could not be reached gets no new jobs, as long as there are others."""

_AWAY_S = 2.0
"""How often the machine is tried that may have a job already."""

# Between quotes, where a shell would not expand it; not to be found in any path.
_HOME_MARK = "\x01home\x01"


class SSHExecutor(Executor):
    """Runs each job through the wrapper script on one of several machines.

    Logs, metric journals and records are copied into the attempt's and the run's own folders as
    they grow, so that whoever follows a local job can follow this one. A machine out of reach
    changes nothing about its jobs; when it is back, copying goes on where it stopped.

    Used as a plugin, or as an async context manager; leaving it leaves jobs running.

    Args:
        hosts: The machines, as `name`, `user@name:port`, or tunnels. Those given as text are
            reached as the user's SSH configuration says.
        tunnel: One more machine; for a single one.
        slots: How many jobs a machine has at a time; further ones wait.
        job_dir: Under which folder of a machine given as text everything lies.
        identity: The private key file for machines given as text, instead of the configured ones.
        package: The code that jobs get, unpacked for each attempt; paths in it are rewritten.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter there, for jobs that would run under this one.
        name: What jobs call this executor.

    Raises:
        UsageError: There is no machine, or two have one name.
        ExtraMissing: A machine is given as text and asyncssh is not installed.
    """

    def __init__(
        self,
        hosts: Sequence[str | Tunnel] = (),
        *,
        tunnel: Tunnel | None = None,
        slots: int = 1,
        job_dir: str = "~/.runbus/remote",
        identity: str | None = None,
        package: Package | None = None,
        workdir: str | None = None,
        python: str | None = None,
        name: str = "ssh",
    ) -> None:
        self.name = name
        tunnels = [
            host if isinstance(host, Tunnel) else _tunnel(host, job_dir, identity)
            for host in (*hosts, *((tunnel,) if tunnel else ()))
        ]
        if not tunnels or slots < 1:
            raise UsageError(f"executor {name!r} needs at least one host and one slot")
        if len({one.job_dir for one in tunnels}) > 1:
            raise UsageError(f"all hosts of executor {name!r} must have one job_dir")
        self._job_dir = tunnels[0].job_dir
        self._package = package
        self._workdir = workdir
        self._python = python
        self._changed = anyio.Event()
        self._room = anyio.Event()
        self._hosts = {one.name: Host(one, slots, package, self._tell) for one in tunnels}
        if len(self._hosts) < len(tunnels):
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
        for host in self._hosts.values():
            self._tasks.start_soon(host.run, name=f"follow {host.name}")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop following and close the connections. Jobs go on."""
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._tasks = None
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                for host in self._hosts.values():
                    closing.start_soon(host.tunnel.close, name=f"close {host.name}")

    def plan(self, job: JobSpec) -> Request:
        """Return the script that would run. Images are refused: a machine is as it is.

        Raises:
            UsageError: The job asks for an image, or for GPUs of its own.
        """
        asked = [
            field
            for field in ("base", "python", "packages", "system_packages")
            if getattr(job.image, field)
        ]
        if asked:
            raise UsageError(
                f"job {job.name!r} asks for {' and '.join(asked)} in its image, "
                f"but the machines of executor {self.name!r} are as they are"
            )
        if job.gpus:
            raise UsageError(
                f"job {job.name!r} needs {job.gpus} GPUs, but executor {self.name!r} lends none: "
                "give it one slot a machine and set CUDA_VISIBLE_DEVICES"
            )
        base = self._job_dir
        if base == "~" or base.startswith("~/"):
            base = _HOME_MARK + base[1:]
        script = render_script(self._moved(job, base))
        return Request(job=job, script=script.replace(_HOME_MARK, "'\"$HOME\"'"))

    async def submit(self, request: Request) -> JobRef:
        """Start the wrapper on a machine with a free slot, or wait for one.

        The choice is recorded in the attempt's folder before the machine is told, so a job that
        is submitted again, by whomever, goes to the same machine, which then has it already. If
        that one cannot be reached, this waits for it.

        Raises:
            JobNotStarted: No machine could be reached, or the chosen one refused; nothing runs.
        """
        job = request.job
        placement = _read_placement(job.folder)
        if placement is not None and placement.host not in self._hosts:
            raise JobNotStarted(job.name, f"it was sent to {placement.host}, which is not ours")
        host = await self._reserve(job, placement)
        try:
            if placement is None:
                placement = self._placed(job, host, await host.prepare())
                await self._record(job, placement)
            handle = f"{host.name}:{placement.folder}"
            ref = JobRef(name=job.name, folder=job.folder, handle=handle)
            try:
                await host.submit(ref, placement, request, _run_json(job.run_folder))
            except JobNotStarted:
                # Nothing runs there: another attempt may go elsewhere.
                os.unlink(os.path.join(job.folder, _PLACEMENT))
                raise
            return ref
        except OSError as error:
            raise JobNotStarted(job.name, (error.strerror or str(error)).lower()) from error
        finally:
            host.reserved.discard(job.folder)
            self._tell()

    async def _record(self, job: JobSpec, placement: Placement) -> None:
        record = encode_json(placement)
        if len(self._hosts) > 1:
            # Waits for the disk: after a power failure here, no other machine may be chosen.
            await anyio.to_thread.run_sync(_write_record, job.folder, record, True)
        else:
            _write_record(job.folder, record, False)

    async def observe(self, refs: Sequence[JobRef]) -> dict[str, Observation]:
        """Return what was seen last of each job whose machine answers.

        Each machine is asked in the background, in one request for all of its jobs.
        """
        found = {}
        for ref in refs:
            followed = self._follow(ref)
            if followed is not None:
                found[ref.name] = followed
        return found

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when something new was seen since the last call, or after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s):
            await self._changed.wait()
        self._changed = anyio.Event()

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Have the wrapper script end each job, as soon as its machine can be reached."""
        for ref in refs:
            seen = observe_folder(ref.folder)
            placement = _read_placement(ref.folder)
            host = self._hosts.get(placement.host) if placement else None
            ended = seen is not None and seen.phase == "ended"
            if placement is not None and host is not None and not ended:
                host.follow(ref, placement)
                host.cancel(placement, grace_s)

    def _follow(self, ref: JobRef) -> Observation | None:
        for host in self._hosts.values():
            if (job := host.jobs.get(ref.folder)) is not None:
                if job.observation is not None and job.observation.phase == "ended":
                    self._forget(ref)
                return job.observation
        seen = observe_folder(ref.folder)
        if seen is not None and seen.phase == "ended":
            return seen
        placement = _read_placement(ref.folder)
        owner = self._hosts.get(placement.host) if placement else None
        if placement is not None and owner is not None:
            owner.follow(ref, placement)
        return None

    def _forget(self, ref: JobRef) -> None:
        for host in self._hosts.values():
            if host.jobs.pop(ref.folder, None) is not None:
                self._make_room()

    async def _reserve(self, job: JobSpec, placement: Placement | None) -> Host:
        """Take a slot of the machine where a job was sent, or of one that can be reached.

        Raises:
            JobNotStarted: There is none that can be reached.
        """
        refused: dict[str, HostError] = {}
        while True:
            host = self._choose(placement, refused)
            if host is None and len(refused) == len(self._hosts):
                error = next(iter(refused.values()))
                raise JobNotStarted(job.name, str(error)) from error
            if host is None:
                await self._room.wait()
                continue
            host.reserved.add(job.folder)
            try:
                await host.prepare()
                return host
            except HostError as error:
                host.reserved.discard(job.folder)
                host.down_until = time.monotonic() + _AVOID_S
                refused[host.name] = error
                if placement is not None:
                    # It was sent there before, and may run: nobody else can tell.
                    logger.warning("job %s was sent to a host that is away: %s", job.name, error)
                    await anyio.sleep(_AWAY_S)
            except BaseException:
                host.reserved.discard(job.folder)
                raise

    def _choose(self, placement: Placement | None, refused: dict[str, HostError]) -> Host | None:
        """Return the machine for a job; None while there is no room."""
        if placement is not None:
            return self._hosts[placement.host]
        now = time.monotonic()
        free = [host for host in self._hosts.values() if host.free > 0 and host.name not in refused]
        return max(free, key=lambda host: (host.down_until < now, host.free), default=None)

    def _placed(self, job: JobSpec, host: Host, base: str) -> Placement:
        folder, run_folder = _folders(job, base)
        return Placement(
            host=host.name,
            folder=folder,
            run_folder=run_folder,
            local_run_folder=os.path.relpath(job.run_folder, job.folder),
        )

    def _moved(self, job: JobSpec, base: str) -> JobSpec:
        """Return a job with its paths as they are on a machine."""
        folder, run_folder = _folders(job, base)
        code = f"{folder}/code"

        def moved(path: str) -> str:
            if self._package is None or not _is_below(path, self._package.root):
                return path
            inside = os.path.relpath(path, self._package.root)
            return code if inside == "." else f"{code}/{inside}"

        cwd = moved(job.cwd)
        if self._package is not None and cwd == job.cwd:
            cwd = code
        argv = [moved(word) for word in job.argv]
        if self._python and argv[0] == sys.executable:
            argv[0] = self._python
        return replace(
            job,
            argv=tuple(argv),
            cwd=self._workdir or cwd,
            env={
                name: run_folder if value == job.run_folder else moved(value)
                for name, value in job.env.items()
            },
        )

    def _tell(self) -> None:
        self._changed.set()
        self._make_room()

    def _make_room(self) -> None:
        # Everybody who waits looks again; who comes later waits for the next time.
        self._room.set()
        self._room = anyio.Event()

    def _resolve(self, event: ResolveExecutor) -> SSHExecutor | None:
        return self if event.name == self.name else None


def _tunnel(host: str, job_dir: str, identity: str | None) -> Tunnel:
    """Return a tunnel to a machine that is given as text."""
    # Costs what asyncssh costs, which who gives tunnels of another kind need not pay.
    from runbus.transports import SSHTunnel

    user, _, rest = host.rpartition("@")
    name, _, port = rest.partition(":")
    if not name or (port and not port.isdigit()):
        raise UsageError(f"{host!r} is no host: write name, user@name or user@name:port")
    return SSHTunnel(
        name, user or None, int(port) if port else None, job_dir=job_dir, identity=identity
    )


def _folders(job: JobSpec, base: str) -> tuple[str, str]:
    """Return the attempt's and the run's folder on a machine: the same for every submit."""
    parent, attempt = os.path.split(job.folder)
    top = f"{base}/{job.experiment_id}"
    return f"{top}/jobs/{os.path.basename(parent)}/{attempt}", f"{top}/runs/{job.run_id}"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _run_json(run_folder: str) -> bytes:
    try:
        with open(os.path.join(run_folder, "run.json"), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b"{}"


def _read_placement(folder: str) -> Placement | None:
    try:
        with open(os.path.join(folder, _PLACEMENT), "rb") as file:
            return decode_json(file.read(), Placement)
    except (FileNotFoundError, DecodeError):
        return None


def _write_record(folder: str, data: bytes, durable: bool) -> None:
    """Write where a job goes; it appears whole."""
    path = os.path.join(folder, _PLACEMENT)
    with open(f"{path}.new", "wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(f"{path}.new", path)
