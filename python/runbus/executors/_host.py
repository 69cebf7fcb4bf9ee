"""One machine that runs jobs: what is asked of it, and what of it is copied here."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from typing import TYPE_CHECKING

import anyio

from runbus.abc import Observation
from runbus.errors import ConnectionLost, HostError, JobNotStarted, RemoteFailed
from runbus.executors._mirror import JournalCopy, LogCopy, write_record
from runbus.executors._remote import (
    Answer,
    Look,
    Placement,
    cancel_script,
    decoded,
    look_script,
    parse_look,
    prepare_script,
    submit_script,
    verify_script,
)
from runbus.jobs import WRAPPER, observe_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.abc import JobRef, Package, Request, Tunnel

__all__ = ["Host"]

logger = logging.getLogger("runbus.executors")

LOOK_S, SLOW_LOOK_S = 0.05, 0.5
"""How often a machine is looked at: at first, and when nothing has changed for long."""

GONE_S = 3.0
"""How long a job must have been missing, look after look, before that is told."""

PATIENCE_S = 900.0
"""How long a submit is repeated whose answer was lost: longer than links are usually down."""

_RETRY_S = 10.0
_LIMIT_GRACE_S = 10
_PIECE = 1 << 20
_BUDGET = 8 << 20
"""Bytes of a log that are copied at one look, so that one loud job does not silence others."""

_COPIES = 16
"""Files that are copied at a time."""


class FollowedJob:
    """A job on a machine, and how far it has been copied."""

    __slots__ = (
        "gone_since", "journals", "logs", "observation", "placement", "recorded", "records", "ref"
    )  # fmt: skip

    def __init__(self, ref: JobRef, placement: Placement) -> None:
        self.ref = ref
        self.placement = placement
        self.logs = {
            name: LogCopy(os.path.join(ref.folder, name)) for name in ("stdout.log", "stderr.log")
        }
        self.journals: dict[str, JournalCopy] = {}
        self.observation: Observation | None = None
        self.records: set[str] = set()
        self.recorded: Observation | None = None
        self.gone_since: float | None = None

    def journal(self, name: str) -> JournalCopy:
        """Return the copy of a journal of the job's run."""
        if name not in self.journals:
            folder = os.path.join(self.ref.folder, self.placement.local_run_folder, "metrics")
            os.makedirs(folder, exist_ok=True)
            self.journals[name] = JournalCopy(os.path.join(folder, name))
        return self.journals[name]


class Host:
    """Runs jobs on one machine, `slots` at a time.

    Args:
        tunnel: How to reach it.
        slots: How many jobs it may have at a time.
        package: The code that jobs get; None for none.
        changed: Called when something new was seen.
    """

    def __init__(
        self, tunnel: Tunnel, slots: int, package: Package | None, changed: Callable[[], None]
    ) -> None:
        self.tunnel = tunnel
        self.slots = slots
        self.reserved: set[str] = set()
        self.down_until = 0.0
        self.jobs: dict[str, FollowedJob] = {}
        self._package = package
        self._changed = changed
        self._cancels: dict[str, int] = {}
        self._wake = anyio.Event()
        self._copying = anyio.CapacityLimiter(_COPIES)
        self._preparing = anyio.Lock()
        self._base = ""
        self._detach = ""
        self._umask = ""
        with open(WRAPPER, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self._wrapper_name = f"wrapper-{digest[:16]}.sh"
        self._package_name = f"packages/{package.sha256}.tar.gz" if package else ""

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

    @property
    def _wrapper(self) -> str:
        return f"{self._base}/{self._wrapper_name}"

    async def prepare(self) -> str:
        """Connect, send what the machine lacks, and return its folder for everything.

        Done once; what is sent is known by its digest.

        Raises:
            HostError: It cannot be reached or used. No job was sent to it.
        """
        async with self._preparing:
            if self._base:
                return self._base
            asked = prepare_script(self.tunnel.job_dir, self._wrapper_name, self._package_name)
            _, output = await self.tunnel.call(asked)
            # The folder may hold line breaks, the four answers after it cannot.
            told = output[:-1].rsplit(b"\n", 4)
            if len(told) != 5:
                raise RemoteFailed(self.name, "its shell does not understand ours")
            base, detach, umask, has_wrapper, has_package = told
            path = os.fsdecode(base)
            if not has_wrapper:
                await self.tunnel.upload(WRAPPER, os.fsencode(f"{path}/{self._wrapper_name}"))
            if self._package is not None and not has_package:
                await self._send_package(self._package, f"{path}/{self._package_name}")
            self._detach, self._umask, self._base = detach.decode(), umask.decode(), path
            return path

    async def _send_package(self, package: Package, path: str) -> None:
        # Under another name until it is checked, so that nobody uses what was damaged on its way.
        unchecked = f"{path}.new-{os.getpid()}-{random.getrandbits(32):08x}"
        await self.tunnel.upload(package.path, os.fsencode(unchecked))
        status, _ = await self.tunnel.call(verify_script(unchecked, package.sha256))
        if status != 0:
            raise RemoteFailed(self.name, "the package was damaged on its way")
        done = await self.tunnel.run(["mv", "-f", unchecked, path])
        if done.exit_status != 0:
            raise RemoteFailed(self.name, done.stderr.decode("utf-8", "replace").strip())

    async def submit(
        self, ref: JobRef, placement: Placement, request: Request, run_json: bytes
    ) -> None:
        """Start a job, once; an answer that is lost is asked for again.

        If the machine stays out of reach for long this returns as well: nobody can tell
        whether the job runs, and `observe` will.

        Raises:
            JobNotStarted: The machine refused it; nothing runs.
        """
        package = f"{self._base}/{self._package_name}" if self._package else ""
        time_s = request.job.timeout_s
        limit = f"{time_s} {_LIMIT_GRACE_S}\n" if time_s is not None else ""
        asked = submit_script(
            placement, request.script, limit, run_json,
            self._wrapper, package, self._detach, self._umask,
        )  # fmt: skip
        with anyio.move_on_after(PATIENCE_S):
            pause = 0.1
            while True:
                try:
                    _, output = await self.tunnel.call(asked)
                    break
                except ConnectionLost:
                    await anyio.sleep(random.uniform(0, pause))
                    pause = min(pause * 2, 5.0)
            said, _, verdict = output.rstrip(b"\n").rpartition(b"\n")
            if verdict not in {b"started", b"exists"}:
                reason = said.decode("utf-8", "replace").strip() or "the machine refused it"
                raise JobNotStarted(ref.name, f"{self.name}: {reason}")
        self.follow(ref, placement)

    def follow(self, ref: JobRef, placement: Placement) -> FollowedJob:
        """Look at a job from now on."""
        job = self.jobs.get(ref.folder)
        if job is None:
            job = self.jobs[ref.folder] = FollowedJob(ref, placement)
        self._wake.set()
        return job

    def cancel(self, placement: Placement, grace_s: float) -> None:
        """Have a job ended, as soon as the machine can be reached."""
        self._cancels[placement.folder] = round(grace_s)
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
            except HostError as error:
                # Not seen says nothing about a job: nothing is told until it is seen again.
                logger.warning("%s", error)
                for job in self._unfinished():
                    job.observation = job.gone_since = None
                pause = random.uniform(0, min(pause * 2, _RETRY_S)) if error.retryable else _RETRY_S
                pause = max(pause, LOOK_S)
            with anyio.move_on_after(pause):
                await self._wake.wait()
                pause = LOOK_S

    def _unfinished(self) -> list[FollowedJob]:
        return [
            job
            for job in self.jobs.values()
            if job.observation is None or job.observation.phase != "ended"
        ]

    async def _round(self) -> bool:
        """Ask about all jobs in one request, and copy what is new."""
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
        try:
            async with self._copying:
                for name, size in look.files.items():
                    round_.changed |= await self._copy(job, name, size, final=ended)
        except HostError as error:
            round_.error = error
            return
        except OSError as error:
            # This machine's disk. What is true of the job is told all the same.
            logger.warning("cannot copy what job %s writes: %s", job.ref.name, error)
        seen = self._judge(job, look, round_)
        if seen is not None and seen != job.observation:
            job.observation = seen
            round_.changed = True

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
            job.recorded = observe_folder(folder)
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
        return Observation(phase="gone", host=seen.host, pid=seen.pid, started_ns=seen.started_ns)

    async def _copy(self, job: FollowedJob, name: str, size: int, *, final: bool) -> bool:
        """Copy what is new in a file; return whether anything was."""
        try:
            if name in job.logs:
                return await self._copy_log(job, name, size, final=final)
            return await self._copy_journal(job, name, final=final)
        except RemoteFailed as error:
            # One file that cannot be read must not hide how the job stands.
            logger.warning("cannot copy %s of job %s: %s", name, job.ref.name, error)
            return False

    async def _copy_log(self, job: FollowedJob, name: str, size: int, *, final: bool) -> bool:
        copy = job.logs[name]
        if size < copy.offset:
            copy.restart()
        start = copy.offset
        path = os.fsencode(f"{job.placement.folder}/{name}")
        while copy.offset < size and (final or copy.offset - start < _BUDGET):
            data = await self.tunnel.read(path, copy.offset, min(_PIECE, size - copy.offset))
            if not data:
                break
            copy.take(data)
        return copy.offset > start

    async def _copy_journal(self, job: FollowedJob, name: str, *, final: bool) -> bool:
        copy = job.journal(name)
        start = copy.offset
        path = os.fsencode(f"{job.placement.run_folder}/metrics/{name}")
        more = True
        while more and (final or copy.offset - start < _BUDGET):
            before = copy.offset, copy.window
            more = copy.take(await self.tunnel.read(path, copy.offset, copy.window))
            more = more and (copy.offset, copy.window) != before
        if final:
            await self._copy_damaged(path, copy)
        return copy.offset > start

    async def _copy_damaged(self, path: bytes, copy: JournalCopy) -> None:
        """Copy what no record explains, up to the reserved zeros."""
        while data := (await self.tunnel.read(path, copy.offset, _PIECE)).rstrip(b"\0"):
            copy.take_rest(data)


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
