"""One machine with a POSIX shell: it is prepared, gets code, starts, shows and ends attempts.

What attempts write there stays there; see `runbus.executors._mirror`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runbus._secrets import redacted_text
from runbus.abc import GRACE_S
from runbus.attempt import (
    WRAPPER,
    AttemptBody,
    carried_program,
    carried_sampler,
    secret_environment,
)
from runbus.errors import ConnectionLost, HostError, JobNotStarted, RemoteFailed, SubmitUnknown
from runbus.executors._look import look_script, parse_look
from runbus.executors._shell import (
    Wrapper,
    cancel_script,
    install_script,
    parse_prepared,
    place_script,
    prepare_script,
    quote,
    there_script,
    verify_package_script,
)
from runbus.executors._submission import submit_script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobRef, JobSpec, Package, Request, Tunnel
    from runbus.attempt import CarriedProgram
    from runbus.executors._look import Answer
    from runbus.executors._placement import Placement

__all__ = ["ShellMachine", "package_path"]

logger = logging.getLogger("runbus.executors")

PATIENCE_S = 5.0
"""How long a submit is repeated whose answer was lost, before it is unknown what became of it."""


class ShellMachine:
    """A machine that can be told things by its shell.

    Args:
        tunnel: How to reach it.
        gpus: The GPUs it may lend to jobs; those that it has if None.

    Attributes:
        tunnel: How to reach it.
        gpus: The GPUs it lends; None as long as nobody has asked for those it has.
        home: The login's home there; empty if it has none, or nobody has asked.
        sampler: The path there of the program that samples beside jobs; empty if it has none, or
            nobody has asked.
    """

    def __init__(self, tunnel: Tunnel, gpus: Sequence[str] | None) -> None:
        self.tunnel = tunnel
        self.gpus = None if gpus is None else list(gpus)
        self.home = self.sampler = ""
        self._packages: set[str] = set()
        self._preparing = anyio.Lock()
        self._failure: tuple[float, HostError] | None = None
        self._is_short = False
        self._base = ""
        self._umask = ""
        self._wrapper: Wrapper
        with open(WRAPPER, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self._script_name = f"wrapper-{digest[:16]}.sh"

    @property
    def name(self) -> str:
        """What the machine is called in records."""
        return self.tunnel.name

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
        sampler = await anyio.to_thread.run_sync(carried_sampler)
        beside = _sampler_name(sampler) if sampler else ""
        asked = prepare_script(self.tunnel.job_dir, self._script_name, name, sha256, beside)
        _, output = await self.tunnel.call(asked)
        try:
            machine = parse_prepared(output)
        except ValueError as error:
            raise RemoteFailed(self.name, str(error)) from error
        version = machine.version
        if program and machine.machine == program.machine and not machine.has_program:
            version = await self._send_program(program, machine.base)
        is_program = program is not None and version == program.version
        words = quote(f"{machine.base}/{name}")
        if not is_program:
            # Another architecture, no execution from there, an odd kernel: any shell will do.
            script = f"{machine.base}/{self._script_name}"
            if not machine.has_script:
                await self.tunnel.upload(WRAPPER, os.fsencode(script))
            words = b"sh " + quote(script)
        if is_program and sampler:
            there = f"{machine.base}/{beside}"
            if machine.has_sampler or await self._send_sampler(sampler, there):
                self.sampler = there
        self._wrapper = Wrapper(
            words=words, is_program=is_program, detach=machine.detach,
            pipe=f"{machine.base}/submit.part-{random.getrandbits(64):016x}",
        )  # fmt: skip
        if self.gpus is None:
            self.gpus = list(machine.gpus)
        self.home, self._umask = machine.home, machine.umask
        return machine.base

    async def _send_program(self, program: CarriedProgram, base: str) -> str:
        """Send the wrapper program; return what it says there, nothing if it cannot be started."""
        path = f"{base}/{_name_of(program)}"
        unchecked = await self._upload(program, path)
        _, said = await self.tunnel.call(install_script(unchecked, path, program.sha256))
        return said.decode("ascii", "replace").strip()

    async def _send_sampler(self, program: CarriedProgram, path: str) -> bool:
        """Send what samples beside jobs; return whether it is there: jobs run without it, too."""
        try:
            unchecked = await self._upload(program, path)
            status, _ = await self.tunnel.call(place_script(unchecked, path, program.sha256))
        except RemoteFailed as error:
            logger.warning("jobs on %s are not sampled: %s", self.name, error.reason)
            return False
        return status == 0

    async def _upload(self, program: CarriedProgram, path: str) -> str:
        """Send a program under a name of its own until it is checked; return that."""
        unchecked = f"{path}.part-{random.getrandbits(64):016x}"
        await self.tunnel.upload(program.path, os.fsencode(unchecked))
        return unchecked

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
        status, _ = await self.tunnel.call(verify_package_script(unchecked, package.sha256))
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
            Whether it was started; not if the machine has not enough GPUs, processes, files or
            memory for it right now.

        Raises:
            JobNotStarted: The machine refused it; nothing runs.
            SubmitUnknown: The machine stays out of reach.
            SecretMissing: A secret cannot be read; nothing runs.
        """
        asked = submit_script(
            placement, self._files(request, fields), run_json, self._wrapper, self._umask,
            (request.job.resources.gpus, self.gpus or ()), secret_environment(request.job),
        )  # fmt: skip
        output = await self._answer(asked)
        if output is None:
            raise SubmitUnknown(ref.name, f"{self.name} does not answer")
        said, _, verdict = output.rstrip(b"\n").rpartition(b"\n")
        if verdict.startswith(b"busy"):
            self._tell_shortage(ref, verdict.removeprefix(b"busy").decode("utf-8", "replace"))
            return False
        self._is_short = False
        if verdict not in {b"started", b"exists"}:
            said += verdict.removeprefix(b"failed")
            reason = said.decode("utf-8", "replace").strip() or "the machine refused it"
            raise JobNotStarted(ref.name, f"{self.name}: {redacted_text(reason)}")
        return True

    def _tell_shortage(self, ref: JobRef, reason: str) -> None:
        """Tell once that jobs wait, unless it is for GPUs that others have."""
        if reason and not self._is_short:
            self._is_short = True
            logger.warning("job %s waits for %s:%s", ref.name, self.name, redacted_text(reason))

    def _files(self, request: Request, fields: bytes) -> dict[str, bytes]:
        """Return what the wrapper and the job read, by the names of files."""
        body, files = request.of(AttemptBody), {}
        if (time_s := request.job.timeouts.run_s) is not None:
            files["limit"] = b"%.3f %g\n" % (time_s, GRACE_S)
        by_fields = fields and self._wrapper.is_program
        if by_fields:
            files["request"] = fields
        if body.is_script or not by_fields:
            files["request.sh"] = body.script.encode("utf-8", "surrogateescape")
        return files

    async def _answer(self, asked: bytes) -> bytes | None:
        """Ask until there is an answer; None if one was lost and there is none for a while.

        The wait for others who ask the machine is not counted: nothing is lost by that.
        """
        pause, lost_at = 0.1, 0.0
        while True:
            try:
                return (await self.tunnel.call(asked))[1]
            except ConnectionLost:
                lost_at = lost_at or time.monotonic()
                if time.monotonic() > lost_at + PATIENCE_S:
                    return None
            await anyio.sleep(random.uniform(0, pause))
            pause = min(pause * 2, PATIENCE_S)

    async def has(self, placement: Placement) -> bool:
        """Whether a job was submitted here.

        Raises:
            HostError: The machine cannot be reached.
        """
        missing, _ = await self.tunnel.call(there_script(placement.folder))
        return not missing

    async def cancel(self, graces: Mapping[str, float]) -> None:
        """Have attempts ended, and do not wait for that.

        Args:
            graces: The seconds between TERM and KILL, by the attempts' folders there.

        Raises:
            HostError: The machine cannot be reached.
        """
        await self.tunnel.call(cancel_script(dict(graces), self._wrapper))

    async def look(self, placements: Sequence[Placement]) -> Answer:
        """Ask about attempts, all in one request.

        Raises:
            HostError: The machine cannot be reached, or does not answer as a shell does.
        """
        _, output = await self.tunnel.call(look_script(placements))
        try:
            return parse_look(output, len(placements))
        except ValueError as error:
            raise RemoteFailed(self.name, str(error)) from error


def _name_of(program: CarriedProgram) -> str:
    return f"wrapper-{program.sha256[:16]}"


def _sampler_name(program: CarriedProgram) -> str:
    return f"sampler-{program.sha256[:16]}"


def package_path(base: str, package: Package) -> str:
    """Return where a machine keeps code that was sent to it."""
    return f"{base}/packages/{package.sha256}.tar.gz"
