"""Starting an attempt as a container, once, and saying why it was not."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import msgspec

from runbus._files import write_file
from runbus._secrets import redacted
from runbus.abc import GRACE_S
from runbus.attempt import AttemptBody, carried_program, carried_sampler
from runbus.codec import encode_json
from runbus.errors import (
    AnswerLost,
    ConnectionLost,
    HostError,
    HttpRefused,
    JobNotStarted,
    PackageChanged,
    SubmitUnknown,
    os_reason,
)
from runbus.executors._docker_container import (
    SAMPLER_THERE,
    container_name,
    with_gpus,
    with_image,
    with_sampler,
)
from runbus.executors._docker_images import advice_for
from runbus.executors._docker_watch import PLACED, Placed, write_placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.executors._docker_code import CodeImages
    from runbus.executors._docker_engine import Engine
    from runbus.executors._docker_images import Images

__all__ = ["ContainerBody", "Starter"]

_SECRETS = "secrets"


class ContainerBody(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is sent for an attempt, and what the wrapper finds in its folder.

    Attributes:
        attempt: The request of the wrapper.
        document: The container, as the engine's API takes it.
    """

    attempt: AttemptBody
    document: dict[str, Any]

    def render(self) -> str:
        """Return both as a person may see them."""
        shown = encode_json(redacted(self.document), indent=2).decode()
        return f"{shown}\n\n{self.attempt.render()}"


class Starter:
    """Makes containers of attempts and starts them.

    Args:
        engine: The engine.
        images: The engine's images.
        code: Those of packaged code.
        network: The network that must be there first; empty for none.
        user: As whom the jobs run.
    """

    def __init__(
        self, engine: Engine, images: Images, code: CodeImages, network: str, user: str
    ) -> None:
        self._engine = engine
        self._images = images
        self._code = code
        self._network = network
        self._user = user

    async def make_ready(self) -> None:
        """Find out which version of its API the engine speaks, and make the network, once.

        Raises:
            HostError: The engine refuses it, or does not answer.
        """
        if self._network:
            await self._engine.ensure_network(self._network)
            self._network = ""

    async def start(
        self, job: JobSpec, body: ContainerBody, secrets: Mapping[str, str], gpus: Sequence[str]
    ) -> None:
        """Start a job, unless it was started before.

        Raises:
            JobNotStarted: The engine refused it, or is not there; nothing runs.
            SubmitUnknown: The engine went away after it had been asked.
            SecretMissing: The login of a registry cannot be read; nothing runs.
        """
        name = container_name(job)
        try:
            sampler = await self.prepare(job, body.attempt, secrets)
            document = with_sampler(with_gpus(body.document, gpus), sampler)
            await self._start(job, name, document)
        except (HttpRefused, ConnectionLost) as error:
            if not await self._withdrawn(name, error):
                raise SubmitUnknown(job.name, str(error)) from error
            _forget(job.folder)
            raise _not_started(job, error) from error
        except PackageChanged as error:
            _forget(job.folder)
            raise JobNotStarted(job.name, str(error), error.hint) from error
        except OSError as error:
            _forget(job.folder)
            raise JobNotStarted(job.name, os_reason(error)) from error

    async def prepare(self, job: JobSpec, attempt: AttemptBody, secrets: Mapping[str, str]) -> str:
        """Write what the wrapper reads.

        Returns:
            The file here of the program that samples beside the job; empty if there is none.

        Raises:
            OSError: A file cannot be written.
            JobNotStarted: This installation carries no wrapper for containers.
        """
        program = await anyio.to_thread.run_sync(carried_program)
        if program is None:
            reason = "the wrapper program that containers need is not part of this installation"
            raise JobNotStarted(job.name, reason)
        sampler = await anyio.to_thread.run_sync(carried_sampler)
        placed = Placed(
            engine=self._engine.socket, name=container_name(job), is_kept=bool(job.artifacts)
        )
        write_placed(job.folder, placed)
        files = {
            "request.sh": attempt.script.encode("utf-8", "surrogateescape"),
            "request": attempt.program_request(sampler=SAMPLER_THERE if sampler else ""),
        }
        if (time_s := job.timeouts.run_s) is not None:
            files["limit"] = b"%.3f %g\n" % (time_s, GRACE_S)
        if secrets:
            files[_SECRETS] = _fields(secrets)
        for file, data in files.items():
            write_file(os.path.join(job.folder, file), data, is_durable=False)
        _hand_over((job.folder, job.run_folder), self._user)
        return sampler.path if sampler else ""

    async def _start(self, job: JobSpec, name: str, document: dict[str, Any]) -> None:
        await self.make_ready()
        if not await self._create(job, name, document):
            found = await self._engine.inspect(name)
            if found is not None and found.attempt != job.folder:
                _forget(job.folder)
                reason = f"a container {name} that is not its own is in the way"
                raise JobNotStarted(job.name, reason, f"docker rm {name} removes it")
            if found is not None and found.state.has_begun:
                return
        try:
            await self._engine.start(name)
        except (AnswerLost, HttpRefused):
            # A second start of one that has run to its end would run it again: look first.
            found = await self._engine.inspect(name)
            if found is None or not found.state.has_begun:
                raise

    async def _create(self, job: JobSpec, name: str, document: dict[str, Any]) -> bool:
        """Make the container, and what it needs first; whether it was not there before."""
        base = document["Image"]
        for is_last in (False, True):
            image = await self._images.name_of(base, job.image)
            if job.package is not None and (recipe := job.package.image) is not None:
                image = await self._code.name_of(image, job.package, recipe)
            try:
                known_as = await self._images.known_as(image)
                return await self._engine.create(name, with_image(document, image, known_as))
            except HttpRefused as error:
                if error.status != 404 or is_last:
                    raise
                await self._images.fetch(image)
        raise AssertionError("the last try returns or raises")

    async def _withdrawn(self, name: str, error: HostError) -> bool:
        """Remove what a failed submit made; return whether nothing of it runs."""
        try:
            found = await self._engine.inspect(name)
            if found is None:
                return True
            # One whose start failed, such as without a driver, has never begun.
            return not found.state.has_begun and await self._engine.remove(name)
        except HostError:
            # It was never reached, unless it was asked for something before.
            return not isinstance(error, AnswerLost)


def _not_started(job: JobSpec, error: HostError) -> JobNotStarted:
    """Return why a job was not started, told apart by what a person can do about it."""
    reason = error.reason
    if isinstance(error, ConnectionLost):
        advice = "start the engine, or name its socket: DOCKER_HOST; runbus doctor tells more"
        return JobNotStarted(job.name, f"{error.host} does not answer: {reason}", advice)
    if "could not select device driver" in reason:
        advice = "install the NVIDIA container toolkit, or ask for no GPU"
        return JobNotStarted(job.name, f"the engine has no GPU driver: {reason}", advice)
    return JobNotStarted(job.name, reason, advice_for(error))


def _fields(secrets: Mapping[str, str]) -> bytes:
    """Return the file `secrets`, as the wrapper takes it and removes it."""
    found = [("version", b"1")]
    found += [
        ("env", f"{name}={value}".encode("utf-8", "surrogateescape"))
        for name, value in secrets.items()
    ]
    return b"".join(b"%s %d\n%s\n" % (name.encode(), len(one), one) for name, one in found)


def _forget(folder: str) -> None:
    """Remove what an attempt that was not started has no use for."""
    for name in (_SECRETS, PLACED):
        with suppress(OSError):
            os.unlink(os.path.join(folder, name))


def _hand_over(folders: Sequence[str], user: str) -> None:
    """Give folders to a user of a number, who could not write there otherwise; if we are root.

    Raises:
        OSError: That is not possible.
    """
    uid, _, gid = user.partition(":")
    if os.geteuid() != 0 or not uid.isdecimal():
        return
    group = int(gid) if gid.isdecimal() else -1
    for folder in folders:
        for path, _, files in os.walk(folder):
            for one in (path, *(os.path.join(path, file) for file in files)):
                os.chown(one, int(uid), group, follow_symlinks=False)
