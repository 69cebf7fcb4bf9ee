"""Jobs as containers of this machine's engine: they outlive the process that started them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence  # noqa: TC003 - the configuration reads the signature
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import anyio.to_thread
from msgspec import Meta
from msgspec.structs import replace

from runbus._files import write_file
from runbus._home import Home
from runbus._listed import listed
from runbus.abc import (
    Capabilities,
    Executor,
    JobRef,
    Limits,
    Observation,
    Packager,
    Request,
)
from runbus.attempt import (
    AttemptBody,
    on_one_node,
    program_digest,
    read_log,
    secret_environment,
)
from runbus.config import Size  # noqa: TC001 - the configuration reads the signature
from runbus.errors import (
    ConnectionLost,
    HostError,
    JobNotStarted,
    SecretMissing,
    os_reason,
)
from runbus.events import ResolveExecutor
from runbus.executors._changes import Changes
from runbus.executors._docker_code import CodeImages
from runbus.executors._docker_container import (
    ContainerOptions,
    bindings,
    check_paths,
    container_document,
    container_name,
    healthcheck_document,
    is_own_network,
    mounts_of,
    ulimits_of,
)
from runbus.executors._docker_engine import Engine
from runbus.executors._docker_files import ContainerFiles, mounts_in
from runbus.executors._docker_images import Images
from runbus.executors._docker_start import ContainerBody, Starter
from runbus.executors._docker_watch import (
    Watch,
    observe_records,
    read_placed,
    write_placed,
)
from runbus.executors._docker_words import engine_socket
from runbus.executors._environment import check_gpu_variable
from runbus.executors._gpus import GpuPool, visible_gpus
from runbus.executors._unpacked import in_unpacked_code

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from runbus.abc import JobSpec, Scope

__all__ = ["DockerExecutor"]

logger = logging.getLogger("runbus.executors")

_GPU_LOOK_S = 0.5
_KILL_S = 2.0
"""How long a cancel waits for the engine: without it the wrapper finds the request within 5 s."""
_CLOSE_S = 3.0

_NO_FOLDER = (
    "runbus: this container has no such folder; give its executor a packager, a volume or a workdir"
)


class DockerExecutor(Executor):
    """Runs each job through the wrapper, as the first process of a container of its own.

    The attempt's and the run's folders are in the container where they are here, so logs, records
    and metrics are written where followers of local jobs read them. A container is removed once the
    end of its job is on record.

    Used as a plugin, or as an async context manager; leaving it leaves jobs running.

    Args:
        container_image: The image of jobs that ask for none by themselves.
        num_gpus: How many GPUs each container gets, -1 for all; a job that asks for GPUs by its
            resources is lent so many of `gpus` instead.
        volumes: Folders and volumes, as `SOURCE:TARGET[:ro]`.
        ports: Ports to publish, as `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, or a number.
        network: The network of the containers, made if it is not there; on it jobs find each other
            by their names. `bridge`, `host` and `none` are the engine's own.
        runtime: The OCI runtime, such as `nvidia`; the engine's default if empty.
        shm_size: The size of /dev/shm in bytes, or such as `8GiB`; the engine's default if None.
        ulimits: Limits of processes, as `NAME=SOFT[:HARD]`.
        ipc_mode: Whose shared memory there is, such as `host`.
        healthcheck: How the engine checks a container: `test`, `interval`, `timeout`, `retries`.
        privileged: Whether containers may do what the engine may.
        user: As whom jobs run, as `UID[:GID]` or a name; as the image says if empty.
        workdir: The folder where jobs start, instead of their own.
        python: The interpreter in the image, for jobs that would run under this one.
        entrypoint: What starts the job instead of the image's own entrypoint; empty for nothing.
        memory: The most memory of a container in bytes, or such as `16GiB`.
        cpus: The most processors' worth of time that a container gets.
        pids: The most processes that a container may have.
        read_only: Whether the image's files cannot be changed.
        tmpfs: Folders in memory, and the options of their mounts.
        labels: What else containers are labeled with.
        engine_options: What else the engine is sent, in its own words, such as
            `{"HostConfig": {"CapAdd": ["SYS_PTRACE"]}}`.
        pull: When an image is fetched: if the engine lacks it, once by this executor, or never.
        registry_logins: References to `USER:PASSWORD` by registries, such as
            `{"ghcr.io": "env:GHCR_LOGIN"}`; otherwise what `docker login` has kept.
        socket: The engine's socket; that of `DOCKER_HOST`, Docker or Podman if empty.
        gpus: The GPUs that jobs may be lent; those of the machine if None.
        slots: How many jobs there may be at a time; any number if None.
        packager: Chooses the code that jobs get, each attempt a copy, or all of them an image with
            it (a `DockerImagePackager`); paths in it are rewritten.
        name: What jobs call this executor.

    Raises:
        ExtraMissing: httpx is not installed.
        FieldInvalid: An option is not of its form.
        UsageError: The engine is not on this machine.
    """

    def __init__(
        self,
        container_image: str = "",
        *,
        num_gpus: Annotated[int, Meta(ge=-1)] | None = None,
        volumes: Sequence[str] = (),
        ports: Sequence[str | int] = (),
        network: str = "runbus",
        runtime: str = "",
        shm_size: Size | None = None,
        ulimits: Sequence[str] = (),
        ipc_mode: str = "",
        healthcheck: Mapping[str, Any] | None = None,
        privileged: bool = False,
        user: str = "",
        workdir: str | None = None,
        python: str = "python3",
        entrypoint: Sequence[str] | None = None,
        memory: Size | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        read_only: bool = False,
        tmpfs: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        engine_options: Mapping[str, Any] | None = None,
        pull: Literal["missing", "always", "never"] = "missing",
        registry_logins: Mapping[str, str] | None = None,
        socket: str = "",
        gpus: Sequence[str] | None = None,
        slots: Annotated[int, Meta(ge=1)] | None = None,
        packager: Packager | None = None,
        name: str = "docker",
    ) -> None:
        self.name = name
        self.packager = packager
        self._base = container_image
        self._workdir = workdir
        self._python = python
        self._slots = slots
        mounts, binds = mounts_of(listed(volumes, "volumes"))
        self._options = ContainerOptions(
            volumes=mounts,
            binds=binds,
            ports=bindings(listed(ports, "ports", (str, int), "ports")),
            network=network,
            num_gpus=num_gpus,
            runtime=runtime,
            shm_bytes=shm_size,
            memory_bytes=memory,
            cpus=cpus,
            pids=pids,
            ulimits=ulimits_of(listed(ulimits, "ulimits")),
            ipc_mode=ipc_mode,
            healthcheck=healthcheck_document(healthcheck),
            privileged=privileged,
            read_only=read_only,
            tmpfs=dict(tmpfs or {}),
            user=user,
            entrypoint=None if entrypoint is None else listed(entrypoint, "entrypoint"),
            labels=dict(labels or {}),
            engine_options=dict(engine_options or {}),
        )
        self._gpus = GpuPool(visible_gpus() if gpus is None else list(listed(gpus, "gpus")))
        self._engine = Engine(engine_socket(socket))
        self._changes = Changes()
        self._watch = Watch(self._engine, self._changes.note, self._gpus.give_back)
        own_network = network if is_own_network(network) else ""
        building = network if network in {"host", "none"} else ""
        images = Images(self._engine, pull, registry_logins or {}, building)
        code = CodeImages(self._engine, images, registry_logins or {})
        self._starter = Starter(self._engine, images, code, own_network, user)
        self._tasks: anyio.abc.TaskGroup | None = None

    async def setup(self, scope: Scope) -> None:
        """Answer for this executor's name; what a plugin does."""
        await scope.enter(self)
        scope.on(ResolveExecutor, self._resolve)

    async def __aenter__(self) -> Self:
        """Begin to follow jobs."""
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._watch.run, name=f"follow the containers of {self.name}")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop following. Jobs continue."""
        assert self._tasks is not None
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        self._tasks = None
        await self._watch.close(_CLOSE_S)
        await self._engine.__aexit__(None, None, None)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""
        return Capabilities(
            gpus=len(self._gpus.names),
            images=True,
            affinity=True,
            niceness=True,
            time_limit=True,
            packages=True,
            code_images=True,
            pushes=True,
            files=True,
        )

    def limits(self) -> Limits:
        """Return how many slots there are."""
        return Limits(jobs=self._slots)

    def plan(self, job: JobSpec) -> Request:
        """Return the container that would be made, and the script that would run in it."""
        self.capabilities.check(job, self.name)
        check_gpu_variable(job)
        check_paths(job)
        recipe = job.package.image if job.package is not None else None
        image = job.image.base or (recipe.base if recipe else "") or self._base
        if not image:
            reason = f"executor {self.name!r} has no container_image, and the job asks for none"
            raise JobNotStarted(job.name, reason, "give either of them an image")
        alone = on_one_node(job, job.resources.gpus or self._usual_gpus)
        attempt = AttemptBody.of(self._moved(alone), advice=_NO_FOLDER)
        wrapper = os.path.join(Home().path, "bin", program_digest())
        document = container_document(job, self._options, image, wrapper)
        return Request(job=job, body=ContainerBody(attempt=attempt, document=document))

    @property
    def _usual_gpus(self) -> int:
        """How many GPUs a job gets that asks for none."""
        usual = self._options.num_gpus or 0
        return len(self._gpus.names) if usual < 0 else usual

    async def make_ready(self) -> None:
        """Find out which version of its API the engine speaks, and make the network."""
        with suppress(HostError):
            await self._starter.make_ready()

    async def submit(self, request: Request) -> JobRef:
        """Make a container of the attempt's name and start it, unless it was started before.

        Raises:
            JobNotStarted: The engine refused it, or is not there; nothing runs.
            SubmitUnknown: The engine went away after it had been asked.
            SecretMissing: A secret cannot be read; nothing runs.
        """
        job = request.job
        body = request.of(ContainerBody)
        ref = JobRef(name=job.name, folder=job.folder, handle=container_name(job))
        if (seen := observe_records(job.folder)) is not None and seen.phase == "ended":
            return ref
        secrets = secret_environment(job)
        gpus = await self._lease_gpus(job)
        try:
            await self._starter.start(job, body, secrets, gpus)
        except (JobNotStarted, SecretMissing):
            self._gpus.give_back(job.folder)
            raise
        self._watch.follow(job.folder, ref.handle)
        return ref

    async def find(self, job: JobSpec) -> JobRef | None:
        """Ask the engine for the container of the attempt's name, if it was started."""
        name = container_name(job)
        ref = JobRef(name=job.name, folder=job.folder, handle=name)
        seen = observe_records(job.folder)
        if seen is not None and seen.phase == "ended":
            return ref
        placed = read_placed(job.folder)
        if placed is None:
            return None
        if placed.engine != self._engine.socket:
            raise ConnectionLost(f"unix://{placed.engine}", "it is not the engine in use now")
        found = await self._engine.inspect(placed.name)
        if found is None:
            return None if seen is None else ref
        if found.attempt != job.folder or not found.state.has_begun:
            return None
        self._watch.follow(job.folder, placed.name)
        return ref

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        """Return what the records say, and of which container nothing is left."""
        found = {}
        for ref in refs:
            seen = self._observe(ref)
            if seen is not None:
                found[ref] = seen
        return found

    def _observe(self, ref: JobRef) -> Observation | None:
        seen = observe_records(ref.folder)
        placed = read_placed(ref.folder)
        is_ours = placed is not None and placed.engine == self._engine.socket
        if seen is not None and seen.phase == "ended":
            if placed is not None and is_ours and placed.is_kept:
                self._watch.leave(ref.folder)
            elif placed is not None and is_ours:
                self._watch.forget(ref.folder, placed.name)
            return seen
        if placed is None or not is_ours:
            return None
        self._watch.follow(ref.folder, placed.name)
        return self._watch.judge(ref.folder, seen)

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return when something may have changed since the last call, or after `timeout_s`."""
        return await self._changes.wait(timeout_s)

    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        """Read the file that the job writes to."""
        return read_log(ref.folder, source, offset)

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Ask each wrapper to end its job; it finds that also if the engine does not answer."""
        for ref in refs:
            placed = read_placed(ref.folder)
            seen = observe_records(ref.folder)
            if placed is None or (seen is not None and seen.phase == "ended"):
                continue
            with suppress(OSError):
                request = b"%.3f\n" % grace_s
                write_file(os.path.join(ref.folder, "cancel"), request, is_durable=False)
            with anyio.move_on_after(_KILL_S), suppress(HostError):
                await self._engine.kill(placed.name, "TERM")

    async def files(self, job: JobSpec) -> ContainerFiles:
        """Return the files in the folder where a job worked; its container is removed after that.

        Raises:
            ConnectionLost: It ran in another engine.
        """
        placed = read_placed(job.folder)
        if placed is not None and placed.engine != self._engine.socket:
            raise ConnectionLost(f"unix://{placed.engine}", "it is not the engine in use now")
        name = container_name(job) if placed is None else placed.name

        def done() -> None:
            if placed is not None:
                with suppress(OSError):  # then it is removed by this process alone
                    write_placed(job.folder, replace(placed, is_kept=False))
                self._watch.forget(job.folder, placed.name)

        mounts = mounts_in(container_document(job, self._options, "", ""))
        folder = self._moved(job).cwd
        return ContainerFiles(self._engine, name, folder, mounts, job.run_folder, done)

    async def _lease_gpus(self, job: JobSpec) -> list[str]:
        """Wait until the GPUs that a job needs are free: other kernels may have them."""
        try:
            # Another process may have them, and tells nobody when they fall free.
            while (names := self._gpus.try_lease(job.resources.gpus, job.folder)) is None:  # noqa: ASYNC110
                await anyio.sleep(_GPU_LOOK_S)
        except OSError as error:
            raise JobNotStarted(job.name, os_reason(error)) from error
        return names

    def _moved(self, job: JobSpec) -> JobSpec:
        """Return a job with its paths as they are in a container."""
        there = in_unpacked_code(job)
        argv = there.argv
        if argv[0] == sys.executable:
            argv = (self._python, *argv[1:])
        return replace(there, argv=argv, cwd=self._workdir or there.cwd)

    def _resolve(self, event: ResolveExecutor) -> DockerExecutor | None:
        return self if event.name == self.name else None
