"""Jobs as processes of this machine, detached: they outlive the process that started them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Sequence  # noqa: TC003 - the configuration reads the signature
from contextlib import closing, suppress
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RUSAGE_SELF, getrlimit, getrusage
from typing import TYPE_CHECKING, Annotated

import anyio
from msgspec import Meta
from msgspec.structs import replace

from runbus._files import write_file
from runbus._listed import listed
from runbus.abc import (
    GRACE_S,
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
    FolderFiles,
    Pulse,
    at_a_free_port,
    is_elsewhere,
    is_running,
    observe_folder,
    observe_start,
    on_one_node,
    own_pid_namespace,
    read_log,
    sampler_program,
    secret_environment,
    spawn,
    wrapper_program,
    wrapper_words,
)
from runbus.errors import JobNotStarted, os_reason
from runbus.events import ResolveExecutor
from runbus.executors._changes import Changes
from runbus.executors._environment import check_gpu_variable, inherited_environment
from runbus.executors._gpus import VARIABLE, GpuPool, visible_gpus
from runbus.executors._launcher import Launcher, LauncherLost
from runbus.executors._unpacked import in_unpacked_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from runbus.abc import JobSpec, Scope

__all__ = ["LocalExecutor"]

logger = logging.getLogger("runbus.executors")

_GPU_LOOK_S = 0.1

_ROOM_BYTES = 16 << 10
"""More than the wrapper's records and the beginning of the job's logs take."""

_NO_ROOM = 126
"""What the wrapper exits with where the disk has no room for its records."""

_CLAIMED = 75
"""What it exits with where another one has claimed its job's folder."""

_SCARCE = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What there may be enough of later: files, processes, memory."""

_FILES_KEPT, _FILES_A_JOB = 64, 4
"""How many open files a kernel needs for itself, and for each job that it follows."""


class LocalExecutor(Executor):
    """Runs each job through the wrapper, in a session of its own.

    The end of a wrapper, or of a job that another process started, wakes `wait_for_change` at once,
    through its pidfd.

    Args:
        name: What jobs call this executor.
        gpus: The GPUs it may lend to jobs; those of the machine if None.
        packager: Chooses the code that jobs get a copy of; without one they run where it is.
        env_inherit: Whether jobs inherit the environment of this process, or which variables of it.
            Variables that hold the secret of any job of an experiment are never inherited.
        heartbeat_s: How often a job shows that it lives, in seconds, so that a kernel on another
            machine that shares the home folder can tell; None for not at all.
    """

    def __init__(
        self,
        name: str = "local",
        *,
        gpus: Sequence[str] | None = None,
        packager: Packager | None = None,
        env_inherit: bool | Sequence[str] = True,
        heartbeat_s: Annotated[int | None, Meta(ge=1)] = None,
    ) -> None:
        self.name = name
        self.packager = packager
        self._env_inherit = (
            env_inherit if isinstance(env_inherit, bool) else listed(env_inherit, "env_inherit")
        )
        self._heartbeat_s = heartbeat_s
        self._gpus = GpuPool(visible_gpus() if gpus is None else list(listed(gpus, "gpus")))
        self._capabilities = Capabilities(
            gpus=len(self._gpus.names),
            affinity=True,
            niceness=True,
            time_limit=True,
            packages=True,
            pushes=True,
            files=True,
        )
        self._changes = Changes()
        self._launcher: Launcher | None = None
        self._pidfds: dict[int, int] = {}
        self._wrappers: dict[str, int] = {}
        self._max_rss: dict[int, int] = {}
        self._roomless: set[int] = set()
        self._refused: set[int] = set()
        self._running: dict[str, Observation] = {}
        self._pulses: dict[str, Pulse] = {}

    @property
    def gpus(self) -> Sequence[str]:
        """The GPUs it may lend to jobs."""
        return self._gpus.names

    async def setup(self, scope: Scope) -> None:
        """Answer for this executor's name; what a plugin does."""
        await scope.enter(closing(self))
        scope.on(ResolveExecutor, self._resolve)

    def close(self) -> None:
        """Stop watching. Jobs that run continue: their records tell how they end."""
        if self._launcher is not None:
            self._launcher.close()
        for pid in list(self._pidfds):
            self._unwatch(pid)

    @property
    def capabilities(self) -> Capabilities:
        """What this machine can do; it is as it is, so there are no images."""
        return self._capabilities

    def limits(self) -> Limits:
        """Return how many jobs this process has open files for."""
        most, _ = getrlimit(RLIMIT_NOFILE)
        if most == RLIM_INFINITY:
            return Limits()
        return Limits(jobs=max(1, (most - _FILES_KEPT) // _FILES_A_JOB))

    def plan(self, job: JobSpec) -> Request:
        """Return what the wrapper would be given."""
        self.capabilities.check(job, self.name)
        check_gpu_variable(job)
        return _request(on_one_node(job), job)

    async def make_ready(self) -> None:
        """Start the process that starts wrappers."""
        with suppress(OSError):
            self._get_launcher()

    async def submit(self, request: Request) -> JobRef:
        """Start the wrapper; it claims the folder, so a second call for it runs nothing."""
        job = request.job
        if (port := at_a_free_port(request.of(AttemptBody).job)) is not None:
            request = _request(on_one_node(job, port=port), job)
        gpus = await self._lease_gpus(job)
        environment = self._environment(job, gpus)
        started = False
        try:
            pid = await self._start(request, environment)
            started = True
        finally:
            if not started:
                self._gpus.give_back(job.folder)
        self._wrappers[job.folder] = pid
        return JobRef(name=job.name, folder=job.folder, handle=str(pid))

    def _environment(self, job: JobSpec, gpus: Sequence[str]) -> dict[bytes, bytes]:
        """Return what the wrapper inherits; the job's script adds the rest.

        Raises:
            SecretMissing: A secret is missing.
        """
        environment = inherited_environment(self._env_inherit, job)
        for name, value in secret_environment(job).items():
            environment[os.fsencode(name)] = os.fsencode(value)
        if job.resources.gpus:
            environment[os.fsencode(VARIABLE)] = os.fsencode(",".join(gpus))
        return environment

    async def _start(self, request: Request, environment: Mapping[bytes, bytes]) -> int:
        """Start the wrapper and watch it; wait while this process or system has no more to give.

        Raises:
            JobNotStarted: It cannot be started.
        """
        job = request.job
        pause = 0.1
        while True:
            try:
                _look_for_room(job.folder)
                files = _request_files(request, self._heartbeat_s)
                return await self._launch(job.folder, files, environment)
            except OSError as error:
                if error.errno not in _SCARCE:
                    reason = os_reason(error)
                    raise JobNotStarted(job.name, reason) from error
                if pause == 0.1:
                    logger.warning("job %s waits: %s", job.name, (error.strerror or "").lower())
            await anyio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def _launch(
        self, folder: str, files: Mapping[str, bytes], environment: Mapping[bytes, bytes]
    ) -> int:
        """Write a request and start the wrapper, which is watched.

        Raises:
            OSError: A file cannot be written, or there are not enough files or processes.
        """
        if (launcher := self._get_launcher()) is not None:
            try:
                # A wrapper that is about to run must not be taken for one that was not started.
                with anyio.CancelScope(shield=True):
                    return await launcher.start(folder, files, environment)
            except LauncherLost:
                pass  # if the wrapper runs, another one finds that its folder is claimed
        for name, data in files.items():
            # Whole, since an earlier wrapper may be about to read it.
            write_file(os.path.join(folder, name), data, is_durable=False)
        # Kept free for the pidfd, which must not fail once the job runs.
        with closing(_Spare()):
            words = (*wrapper_words(), "run", folder, own_pid_namespace())
            pid = spawn(words, environment).wait()
        self._watch(pid, self._reap)
        return pid

    def _get_launcher(self) -> Launcher | None:
        """Start the process that starts wrappers if need be; None if there is none, or no more.

        Raises:
            OSError: There are not enough files for it.
        """
        if self._launcher is not None and self._launcher.is_lost and not self._launcher.has_begun:
            self._launcher = None  # there may be more processes by now
        if self._launcher is None and (program := wrapper_program()) is not None:
            self._launcher = Launcher(program, self._launched_ended, self._launcher_lost)
        # There is none of a script, and one that is gone does not come back.
        return None if self._launcher is None or self._launcher.is_lost else self._launcher

    async def find(self, job: JobSpec) -> JobRef | None:
        """Return the job if a wrapper has claimed its folder."""
        if not _is_claimed(job.folder):
            return None
        seen = observe_folder(job.folder)
        return JobRef(name=job.name, folder=job.folder, handle=str(seen.pid if seen else 0))

    async def observe(self, refs: Sequence[JobRef]) -> dict[JobRef, Observation]:
        """Read the records of each job.

        One of another machine that shares the folder is seen to have begun and ended; between the
        two it is seen by its heartbeat, or not at all.
        """
        seen = {ref: self._observe(ref) for ref in refs}
        return {ref: observation for ref, observation in seen.items() if observation}

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return when a wrapper has ended since the last call, or after `timeout_s` seconds."""
        return await self._changes.wait(timeout_s)

    async def logs(self, ref: JobRef, source: Literal["stdout", "stderr"], offset: int) -> bytes:
        """Read the file that the job writes to."""
        return read_log(ref.folder, source, offset)

    async def cancel(self, refs: Sequence[JobRef], grace_s: float) -> None:
        """Let the wrapper end each job: it continues with that if this process dies."""
        for ref in refs:
            grace = f"{grace_s:.3f}"
            words = (*wrapper_words(), "cancel", ref.folder, grace, own_pid_namespace())
            pid = spawn(words, inherited_environment(True)).wait()
            self._watch(pid, self._reap)

    async def files(self, job: JobSpec) -> FolderFiles:
        """Return the files in the folder where a job worked."""
        return FolderFiles(in_unpacked_code(job).cwd, job.run_folder)

    async def _lease_gpus(self, job: JobSpec) -> list[str]:
        """Wait until the GPUs that a job needs are free: other kernels may have them."""
        try:
            # Another process may have them, and tells nobody when they fall free.
            while (names := self._gpus.try_lease(job.resources.gpus, job.folder)) is None:  # noqa: ASYNC110
                await anyio.sleep(_GPU_LOOK_S)
        except OSError as error:
            raise JobNotStarted(job.name, os_reason(error)) from error
        return names

    def _observe(self, ref: JobRef) -> Observation | None:
        if (wrapper := self._wrappers.get(ref.folder)) in self._refused:
            # Another runs the job, as one of a launcher that was gone before it could say so: it is
            # followed by its records.
            self._refused.discard(self._wrappers.pop(ref.folder))
            wrapper = None
        if wrapper in self._pidfds or (self._launcher and wrapper in self._launcher.alive):
            return self._observe_watched(ref.folder)
        gone = wrapper is not None or not is_running(ref.folder)
        # After the look at the process: a record that is written in between is then seen.
        seen = observe_folder(ref.folder)
        if seen is None and wrapper in self._roomless:
            # It has said so by its exit code: its record found no room, either.
            reason = "no space for its records"
            seen = Observation(
                phase="ended", ended_ns=time.time_ns(), exit_code=_NO_ROOM, reason=reason
            )
        if seen is None:
            return Observation(phase="gone" if gone else "queued")
        if seen.phase == "ended":
            had = self._max_rss.pop(wrapper, None) if wrapper is not None else None
            if seen.max_rss_bytes is None and had is not None and had > _inherited_kib(had):
                seen = replace(seen, max_rss_bytes=had << 10)
            self._wrappers.pop(ref.folder, None)
            self._running.pop(ref.folder, None)
            self._pulses.pop(ref.folder, None)
        elif gone and not is_running(ref.folder):
            if is_elsewhere(ref.folder):
                return self._observe_elsewhere(ref.folder, seen)
            return replace(seen, phase="gone", evidence="/proc")
        elif not gone and seen.pid not in self._pidfds:
            self._watch(seen.pid, self._note_end)
        return seen

    def _observe_watched(self, folder: str) -> Observation:
        """Look at a job whose wrapper lives: of one that was seen to run nothing can be new."""
        if (seen := self._running.get(folder) or observe_start(folder)) is None:
            return Observation(phase="queued")
        self._running[folder] = seen
        return seen

    def _observe_elsewhere(self, folder: str, began: Observation) -> Observation | None:
        now = time.monotonic()
        pulse = self._pulses.setdefault(folder, Pulse(folder, now))
        is_still = pulse.look(now)
        return None if is_still is None else replace(began, phase="gone") if is_still else began

    def _resolve(self, event: ResolveExecutor) -> LocalExecutor | None:
        return self if event.name == self.name else None

    def _launched_ended(self, pid: int, status: int) -> None:
        self._note_status(pid, status)
        self._changes.note()

    def _launcher_lost(self, pids: list[int]) -> None:
        """Watch the wrappers that a launcher leaves behind, which have lost their parent."""
        for pid in pids:
            self._watch(pid, self._note_end)

    def _note_status(self, pid: int, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code in {_NO_ROOM, _CLAIMED}:
            (self._roomless if code == _NO_ROOM else self._refused).add(pid)

    def _watch(self, pid: int, when_ended: Callable[[int], None]) -> None:
        """Have the end of a process call something, without a thread."""
        try:
            pidfd = self._pidfds[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            # Another's child, which has just ended: its record follows.
            self._changes.note()
            return
        asyncio.get_running_loop().add_reader(pidfd, when_ended, pid)

    def _note_end(self, pid: int) -> None:
        self._unwatch(pid)
        self._changes.note()

    def _reap(self, pid: int) -> None:
        self._unwatch(pid)
        try:
            _, status, used = os.wait4(pid, 0)
        except ChildProcessError:
            # The process that started this one ignores SIGCHLD: children are reaped unseen.
            self._changes.note()
            return
        self._note_status(pid, status)
        # Of the wrapper and all that it waited for.
        self._max_rss[pid] = used.ru_maxrss
        self._changes.note()

    def _unwatch(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)


def _request(alone: JobSpec, job: JobSpec) -> Request:
    return Request(job=job, body=AttemptBody.of(in_unpacked_code(alone)))


def _inherited_kib(told: int) -> int:
    """What a child may be told to have had only because this program has.

    A child's count begins, until it loads its own program, at the most that its parent ever had.
    This process's count began in that way, too: it may be that of its own parent.
    """
    if (own := getrusage(RUSAGE_SELF).ru_maxrss) < told:
        return own
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1])
    return own


def _request_files(request: Request, heartbeat_s: int | None) -> dict[str, bytes]:
    """Return what the wrapper reads, by the names of files."""
    body = request.of(AttemptBody)
    files = {"request": body.program_request(sampler=sampler_program() or "")}
    if body.is_script or wrapper_program() is None:
        files["request.sh"] = body.script.encode("utf-8", "surrogateescape")
    if (time_s := request.job.timeouts.run_s) is not None:
        files["limit"] = b"%.3f %g\n" % (time_s, GRACE_S)
    if heartbeat_s is not None:
        files["beat"] = b"%d\n" % heartbeat_s
    return files


def _look_for_room(folder: str) -> None:
    """Make sure that a wrapper will find room for what it writes: it would wait for it in vain.

    Nothing is written for that: some file systems pass over each file that was removed within the
    last minute whenever they make one. The wrapper tells what only a quota refuses.

    Raises:
        OSError: The disk is full.
    """
    found = os.statvfs(folder)
    blocks = found.f_bavail if os.geteuid() else found.f_bfree
    # Where there is no limit to tell of, all counts are 0.
    if found.f_blocks and blocks * found.f_frsize < _ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)


def _is_claimed(folder: str) -> bool:
    """Whether a wrapper has begun there."""
    return os.path.exists(os.path.join(folder, "exit.json"))


class _Spare:
    """A file that is held open, so that its number is free once it is closed."""

    def __init__(self) -> None:
        self._file = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._file)
