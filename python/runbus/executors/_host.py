"""One machine that runs jobs: what is asked of it, and what of it is copied here."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from msgspec.structs import replace

from runbus.abc import GRACE_S, Observation
from runbus.attempt import (
    WRAPPER,
    AttemptBody,
    carried_program,
    observe_folder,
    secret_environment,
)
from runbus.errors import ConnectionLost, HostError, JobNotStarted, RemoteFailed, SubmitUnknown
from runbus.executors._followed import FollowedJob
from runbus.executors._mirror import write_record
from runbus.executors._remote import (
    Answer,
    Look,
    cancel_script,
    decoded,
    install_script,
    look_script,
    parse_look,
    parse_prepared,
    prepare_script,
    quote,
    submit_script,
    there_script,
    verify_script,
    with_variables,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runbus.abc import JobRef, JobSpec, Package, Request, Tunnel
    from runbus.attempt import CarriedProgram
    from runbus.executors._placement import Placement

__all__ = ["Host", "package_path"]

logger = logging.getLogger("runbus.executors")

LOOK_S, SLOW_LOOK_S = 0.05, 0.5
"""How often a machine is looked at: at first, and when nothing has changed for long."""

GONE_S = 3.0
"""How long a job must have been missing, look after look, before that is told."""

PATIENCE_S = 5.0
"""How long a submit is repeated whose answer was lost, before nobody knows what became of it."""

_RETRY_S = 10.0

_COPIES = 16
"""Files that are copied at a time."""


class Host:
    """Runs jobs on one machine, `slots` at a time.

    Args:
        tunnel: How to reach it.
        slots: How many jobs it may have at a time.
        gpus: The GPUs it may lend to jobs; those that it has if None.
        changed: Called when something new was seen.
        copy_patience_s: How long the end of a job waits for files that cannot be copied although
            the machine answers.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        slots: int,
        gpus: Sequence[str] | None,
        changed: Callable[[], None],
        copy_patience_s: float = 60.0,
    ) -> None:
        self.tunnel = tunnel
        self.slots = slots
        self.gpus = None if gpus is None else list(gpus)
        self.busy_until = 0.0
        self.reserved: set[str] = set()
        self.down_until = 0.0
        self.jobs: dict[str, FollowedJob] = {}
        self._packages: set[str] = set()
        self._changed = changed
        self._copy_patience_s = copy_patience_s
        self._cancels: dict[str, float] = {}
        self._wake = anyio.Event()
        self._copying = anyio.CapacityLimiter(_COPIES)
        self._preparing = anyio.Lock()
        self._failure: tuple[float, HostError] | None = None
        self._said = ""
        self._was_seen = False
        self.home = ""
        self.runs_program = False
        self._base = ""
        self._detach = ""
        self._umask = ""
        self._wrapper = b""
        with open(WRAPPER, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self._script_name = f"wrapper-{digest[:16]}.sh"

    @property
    def name(self) -> str:
        """What the machine is called in records."""
        return self.tunnel.name

    @property
    def free(self) -> int:
        """How many more jobs it may have."""
        busy = self.reserved | {
            folder
            for folder, job in self.jobs.items()
            if job.observation is None or job.observation.phase in {"queued", "running"}
        }
        return self.slots - len(busy)

    def lacks(self, job: JobSpec) -> bool:
        """Whether it is known to have too few GPUs for a job."""
        return self.gpus is not None and len(self.gpus) < job.resources.gpus

    async def prepare(self) -> str:
        """Connect, send what the machine lacks, and return its folder for everything.

        Done once; what is sent is known by its digest.

        Raises:
            HostError: It cannot be reached or used. No job was sent to it.
        """
        asked_at = time.monotonic()
        async with self._preparing:
            if self._base:
                return self._base
            if self._failure is not None and self._failure[0] > asked_at:
                # Tried by somebody else while this call waited: its answer holds for both.
                raise self._failure[1]
            try:
                self._base = await self._prepare()
            except HostError as error:
                self._failure = time.monotonic(), error
                raise
            return self._base

    async def _prepare(self) -> str:
        await self.tunnel.check()
        program = await anyio.to_thread.run_sync(carried_program)
        name, sha256 = (_name_of(program), program.sha256) if program else ("", "")
        asked = prepare_script(self.tunnel.job_dir, self._script_name, name, sha256)
        _, output = await self.tunnel.call(asked)
        try:
            machine = parse_prepared(output)
        except ValueError as error:
            raise RemoteFailed(self.name, str(error)) from error
        version = machine.version
        if program and machine.machine == program.machine and not machine.has_program:
            version = await self._send_program(program, machine.base)
        self.runs_program = program is not None and version == program.version
        if self.runs_program:
            self._wrapper = quote(f"{machine.base}/{name}")
        else:
            # Another architecture, no execution from there, an odd kernel: any shell will do.
            script = f"{machine.base}/{self._script_name}"
            if not machine.has_script:
                await self.tunnel.upload(WRAPPER, os.fsencode(script))
            self._wrapper = b"sh " + quote(script)
        if self.gpus is None:
            self.gpus = list(machine.gpus)
        self.home, self._detach, self._umask = machine.home, machine.detach, machine.umask
        return machine.base

    async def _send_program(self, program: CarriedProgram, base: str) -> str:
        """Send the wrapper program; return what it says there, nothing if it cannot be started."""
        path = f"{base}/{_name_of(program)}"
        unchecked = f"{path}.part-{random.getrandbits(64):016x}"
        await self.tunnel.upload(program.path, os.fsencode(unchecked))
        _, said = await self.tunnel.call(install_script(unchecked, path, program.sha256))
        return said.decode("ascii", "replace").strip()

    async def provide(self, package: Package) -> None:
        """Send code, unless the machine has it: it is known by its digest.

        Raises:
            HostError: It cannot be reached or used.
        """
        base = await self.prepare()
        async with self._preparing:
            if package.sha256 in self._packages:
                return
            path = package_path(base, package)
            missing, _ = await self.tunnel.call(there_script(path))
            if missing:
                await self._send_package(package, path)
            self._packages.add(package.sha256)

    async def _send_package(self, package: Package, path: str) -> None:
        # Under another name until it is checked, so that nobody uses what was damaged on its way;
        # one that is removed later if this is cut off.
        unchecked = f"{path}.part-{random.getrandbits(64):016x}"
        await self.tunnel.upload(package.path, os.fsencode(unchecked))
        status, _ = await self.tunnel.call(verify_script(unchecked, package.sha256))
        if status != 0:
            raise RemoteFailed(self.name, "the package was damaged on its way")
        done = await self.tunnel.run(["mv", "-f", unchecked, path])
        if done.exit_status != 0:
            raise RemoteFailed(self.name, done.stderr.decode("utf-8", "replace").strip())

    async def submit(
        self,
        ref: JobRef,
        placement: Placement,
        request: Request,
        fields: bytes,
        run_json: bytes,
    ) -> bool:
        """Start a job, once; an answer that is lost is asked for again, for a while.

        Args:
            ref: The job.
            placement: Where everything of it lies here.
            request: What is to run.
            fields: The same for the wrapper program; empty where only a shell can tell a path.
            run_json: The description of its run.

        Returns:
            Whether it was started; not if so many GPUs are not free right now.

        Raises:
            JobNotStarted: The machine refused it; nothing runs.
            SubmitUnknown: The machine stays out of reach.
            SecretMissing: A secret cannot be read; nothing runs.
        """
        time_s = request.job.timeouts.run_s
        limit = f"{time_s:.3f} {GRACE_S}\n" if time_s is not None else ""
        asked = submit_script(
            placement, request.of(AttemptBody).script,
            fields if self.runs_program else b"", limit, run_json,
            self._wrapper, self._detach, self._umask, (request.job.resources.gpus, self.gpus or ()),
        )  # fmt: skip
        asked = with_variables(asked, secret_environment(request.job))
        output = await self._answer(asked)
        if output is None:
            raise SubmitUnknown(ref.name, f"{self.name} does not answer")
        said, _, verdict = output.rstrip(b"\n").rpartition(b"\n")
        if verdict == b"busy":
            return False
        if verdict not in {b"started", b"exists"}:
            reason = said.decode("utf-8", "replace").strip() or "the machine refused it"
            raise JobNotStarted(ref.name, f"{self.name}: {reason}")
        self.follow(ref, placement)
        return True

    async def _answer(self, asked: bytes) -> bytes | None:
        """Ask until there is an answer; None if there is none for a while."""
        with anyio.move_on_after(PATIENCE_S):
            pause = 0.1
            while True:
                try:
                    return (await self.tunnel.call(asked))[1]
                except ConnectionLost:
                    await anyio.sleep(random.uniform(0, pause))
                    pause = min(pause * 2, 5.0)
        return None

    async def has(self, placement: Placement) -> bool:
        """Whether a job was submitted here.

        Raises:
            HostError: The machine cannot be reached.
        """
        missing, _ = await self.tunnel.call(there_script(placement.folder))
        return not missing

    def follow(self, ref: JobRef, placement: Placement) -> FollowedJob:
        """Look at a job from now on."""
        job = self.jobs.get(ref.folder)
        if job is None:
            job = self.jobs[ref.folder] = FollowedJob(ref, placement)
        self._wake.set()
        return job

    def cancel(self, placement: Placement, grace_s: float) -> None:
        """Have a job ended, as soon as the machine can be reached."""
        self._cancels[placement.folder] = grace_s
        self._wake.set()

    async def run(self) -> None:
        """Look at the jobs for as long as there are any, until cancelled."""
        pause = LOOK_S
        while True:
            if not self._unfinished() and not self._cancels:
                await self._wake.wait()
            self._wake = anyio.Event()
            try:
                changed = await self._round()
                pause = LOOK_S if changed else min(pause * 1.5, SLOW_LOOK_S)
                self.say(None)
            except HostError as error:
                self.say(error)
                if not self._was_seen:
                    # Not seen says nothing about a job: nothing is told until it is seen again.
                    for job in self._unfinished():
                        job.observation = job.gone_since = None
                pause = random.uniform(0, min(pause * 2, _RETRY_S)) if error.retryable else _RETRY_S
                pause = max(pause, LOOK_S)
            with anyio.move_on_after(pause):
                await self._wake.wait()
                pause = LOOK_S

    def say(self, error: HostError | None, then: str = "") -> None:
        """Report to the logger what is wrong with the machine, once until that changes.

        Args:
            error: What is wrong; None if nothing is.
            then: What follows from it.
        """
        told = "" if error is None else str(error)
        if told != self._said:
            if told:
                logger.warning("%s%s", told, then and f"; {then}")
            else:
                logger.info("%s answers again", self.name)
            self._said = told

    def _unfinished(self) -> list[FollowedJob]:
        return [
            job
            for job in self.jobs.values()
            if job.observation is None or job.observation.phase != "ended"
        ]

    async def _round(self) -> bool:
        """Ask about all jobs in one request, and copy what is new."""
        self._was_seen = False
        await self.prepare()
        if cancels := dict(self._cancels):
            await self.tunnel.call(cancel_script(cancels, self._wrapper, self._detach))
            for folder, grace_s in cancels.items():
                if self._cancels.get(folder) == grace_s:
                    del self._cancels[folder]
        jobs = self._unfinished()
        if not jobs:
            return False
        _, output = await self.tunnel.call(look_script([job.placement for job in jobs]))
        try:
            answer = parse_look(output, len(jobs))
        except ValueError as error:
            raise RemoteFailed(self.name, str(error)) from error
        self._was_seen = True
        round_ = _Round(answer, time.time_ns())
        async with anyio.create_task_group() as copying:
            for job, look in zip(jobs, answer.looks, strict=True):
                copying.start_soon(self._take_in, job, look, round_, name=f"copy {job.ref.name}")
        if round_.changed:
            self._changed()
        if round_.error is not None:
            raise round_.error
        return round_.changed

    async def _take_in(self, job: FollowedJob, look: Look, round_: _Round) -> None:
        """Copy a job's files, then say what was seen: its end comes after all of its output."""
        ended = decoded(look.exit) is not None
        over = ended or look.is_gone(round_.answer)
        job.behind.intersection_update(look.files)
        try:
            async with self._copying:
                for name, size in look.files.items():
                    round_.changed |= await job.copy(self.tunnel, name, size, final=ended)
            job.uncopied_since = None
        except HostError as error:
            # What the shell said is true all the same, but an end waits for what comes before it.
            round_.error = error
            if over and not self._gives_up_copying(job, error):
                return
        except OSError as error:
            # This machine's disk. What is true of the job is told all the same.
            logger.warning("cannot copy what job %s writes: %s", job.ref.name, error)
            job.behind.clear()
        if job.behind and over and job.uncopied_since is None:
            job.observation = job.gone_since = None
            return
        seen = self._judge(job, look, round_)
        if seen is not None and seen != job.observation:
            job.observation = seen
            round_.changed = True

    def _gives_up_copying(self, job: FollowedJob, error: HostError) -> bool:
        """Whether files have been out of reach for too long while the shell answered."""
        now = time.monotonic()
        job.uncopied_since = job.uncopied_since or now
        if now - job.uncopied_since < self._copy_patience_s:
            return False
        logger.warning(
            "what job %s wrote stays on %s, in %s, as far as it is not here: %s",
            job.ref.name, self.name, job.placement.folder, error.reason,
        )  # fmt: skip
        return True

    def _judge(self, job: FollowedJob, look: Look, round_: _Round) -> Observation | None:
        """Write the job's records here, so that they read as those of a local one."""
        folder = job.ref.folder
        for name, line in (("pid.json", look.pid), ("exit.json", look.exit)):
            record = decoded(line)
            if record is None or name in job.records:
                continue
            if not os.path.exists(os.path.join(folder, name)):
                write_record(folder, name, line, round_.time_of(record.uptime))
            job.records.add(name)
            job.recorded = seen_there(folder, self.name)
        seen = job.recorded
        if (seen is not None and seen.phase == "ended") or not look.is_gone(round_.answer):
            job.gone_since = None
            return seen or Observation(phase="queued", host=self.name)
        if job.gone_since is None:
            job.gone_since = time.monotonic()
        if time.monotonic() - job.gone_since < GONE_S:
            # Between a process's end and its record there is a moment.
            return job.observation
        if seen is None:
            return Observation(phase="gone", host=self.name)
        return replace(seen, phase="gone")


def seen_there(folder: str, host: str) -> Observation | None:
    """Return what a job's records say, with the name by which its machine is reached."""
    seen = observe_folder(folder)
    return seen and replace(seen, host=host)


def _name_of(program: CarriedProgram) -> str:
    return f"wrapper-{program.sha256[:16]}"


def package_path(base: str, package: Package) -> str:
    """Return where a machine keeps code that was sent to it."""
    return f"{base}/packages/{package.sha256}.tar.gz"


class _Round:
    """What one look at a machine brought."""

    __slots__ = ("answer", "changed", "error", "now_ns")

    def __init__(self, answer: Answer, now_ns: int) -> None:
        self.answer = answer
        self.now_ns = now_ns
        self.changed = False
        self.error: HostError | None = None

    def time_of(self, uptime: float) -> int:
        """Return the time of something by our clock: the machine's own may be wrong."""
        if not 0 <= uptime <= self.answer.uptime:
            # Before a reboot, or a record that the job has spoilt.
            return self.now_ns
        return self.now_ns - int((self.answer.uptime - uptime) * 1e9)
