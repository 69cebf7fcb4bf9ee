"""Jobs as processes of this machine, detached: they outlive whoever started them."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from typing import TYPE_CHECKING

import anyio

from runbus.abc import Executor, JobRef, Observation, Request
from runbus.errors import JobNotStarted, UsageError
from runbus.events import ResolveExecutor
from runbus.executors._gpus import GpuLease, GpuPool, visible_gpus
from runbus.jobs import WRAPPER, is_running, observe_folder, render_script, secret_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec, Scope

__all__ = ["LocalExecutor"]

_SHELL = "/bin/sh"
_LIMIT_GRACE_S = 10
_GPU_LOOK_S = 0.1
# What Python ignores or the terminal sends must not be inherited by a job.
_DEFAULT_SIGNALS = (signal.SIGINT, signal.SIGPIPE, signal.SIGQUIT, signal.SIGTERM, signal.SIGXFSZ)


class LocalExecutor(Executor):
    """Runs each job through the wrapper script, in a session of its own.

    The end of a wrapper wakes `wait_for_change` at once, through its pidfd; a job that another
    process started is seen by its records.

    Args:
        name: What jobs call this executor.
        gpus: The GPUs it may lend to jobs; those of the machine if None.
    """

    def __init__(self, name: str = "local", *, gpus: Sequence[str] | None = None) -> None:
        self.name = name
        self._gpus = GpuPool(visible_gpus() if gpus is None else list(gpus))
        self._changed = anyio.Event()
        self._pidfds: dict[int, int] = {}
        self._wrappers: dict[str, int] = {}

    @property
    def gpus(self) -> Sequence[str]:
        """The GPUs it may lend to jobs."""
        return self._gpus.names

    async def setup(self, scope: Scope) -> None:
        """Answer for this executor's name; what a plugin does."""
        await scope.enter(closing(self))
        scope.on(ResolveExecutor, self._resolve)

    def close(self) -> None:
        """Stop watching. Jobs that run go on: their records tell how they end."""
        for pid in list(self._pidfds):
            self._unwatch(pid)

    def plan(self, job: JobSpec) -> Request:
        """Return the script that would run. Images are refused: the machine is as it is."""
        asked = [
            field
            for field in ("base", "python", "packages", "system_packages")
            if getattr(job.image, field)
        ]
        if asked:
            raise UsageError(
                f"job {job.name!r} asks for {' and '.join(asked)} in its image, "
                f"but executor {self.name!r} runs on this machine as it is"
            )
        if job.gpus > (there := len(self._gpus.names)):
            raise UsageError(
                f"job {job.name!r} needs {job.gpus} GPUs, but {self.name!r} has {there}"
            )
        return Request(job=job, script=render_script(job))

    async def submit(self, request: Request) -> JobRef:
        """Start the wrapper; it claims the folder, so a second call for it runs nothing."""
        job = request.job
        lease = await self._lease_gpus(job)
        try:
            _write_request(request)
            environment = {**os.environ, **secret_environment(job)}
            if job.gpus:
                environment["CUDA_VISIBLE_DEVICES"] = ",".join(lease.names)
            pid = _spawn(job.folder, environment=environment, inherit=lease.files)
        except OSError as error:
            raise JobNotStarted(job.name, (error.strerror or str(error)).lower()) from error
        finally:
            # The wrapper has its own part of it now.
            lease.close()
        self._wrappers[job.folder] = pid
        self._watch(pid)
        return JobRef(name=job.name, folder=job.folder, handle=str(pid))

    async def observe(self, refs: Sequence[JobRef]) -> dict[str, Observation]:
        """Read the records of each job."""
        return {ref.name: self._observe(ref) for ref in refs}

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when a wrapper has ended since the last call, or after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s):
            await self._changed.wait()
        self._changed = anyio.Event()

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Let the wrapper script end each job: it goes on with that if this process dies."""
        for ref in refs:
            self._watch(_spawn(ref.folder, "cancel", str(round(grace_s))))

    async def _lease_gpus(self, job: JobSpec) -> GpuLease:
        """Wait until the GPUs that a job needs are free: other kernels may have them."""
        # Another process may hold them, and a lock tells nobody when it falls free.
        while (lease := self._gpus.try_lease(job.gpus)) is None:  # noqa: ASYNC110
            await anyio.sleep(_GPU_LOOK_S)
        return lease

    def _observe(self, ref: JobRef) -> Observation:
        wrapper = self._wrappers.get(ref.folder)
        gone = wrapper not in self._pidfds if wrapper else not is_running(ref.folder)
        # After the look at the process: a record that is written in between is then seen.
        seen = observe_folder(ref.folder)
        if seen is None:
            return Observation(phase="gone" if gone else "queued")
        if seen.phase == "ended":
            self._wrappers.pop(ref.folder, None)
        elif gone and not is_running(ref.folder):
            return Observation(
                phase="gone", host=seen.host, pid=seen.pid, started_ns=seen.started_ns
            )
        return seen

    def _resolve(self, event: ResolveExecutor) -> LocalExecutor | None:
        return self if event.name == self.name else None

    def _watch(self, pid: int) -> None:
        """Have the end of a child wake `wait_for_change`, without a thread."""
        pidfd = self._pidfds[pid] = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(pidfd, self._reap, pid)

    def _reap(self, pid: int) -> None:
        self._unwatch(pid)
        os.waitpid(pid, 0)
        self._changed.set()

    def _unwatch(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


def _write_request(request: Request) -> None:
    """Write what the wrapper reads; whole, since an earlier wrapper may be about to read it."""
    files = {"request.sh": request.script}
    if request.job.timeout_s is not None:
        files["limit"] = f"{request.job.timeout_s} {_LIMIT_GRACE_S}\n"
    for name, text in files.items():
        path = os.path.join(request.job.folder, name)
        with open(
            f"{path}.new", "w", encoding="utf-8", errors="surrogateescape", opener=_private
        ) as file:
            file.write(text)
        os.replace(f"{path}.new", path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _spawn(
    folder: str,
    verb: str = "run",
    *arguments: str,
    environment: Mapping[str, str] = os.environ,
    inherit: Sequence[int] = (),
) -> int:
    """Start the wrapper script in a session of its own and return its pid."""
    complaints = os.path.join(folder, "wrapper.log")
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        _SHELL,
        ("sh", WRAPPER, verb, folder, *arguments),
        environment,
        file_actions=(
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, complaints, append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            # Onto itself: what is close-on-exec is inherited after all.
            *((os.POSIX_SPAWN_DUP2, file, file) for file in inherit),
        ),
        setsid=True,
        setsigdef=_DEFAULT_SIGNALS,
        setsigmask=(),
    )
