"""A container engine, spoken to over its HTTP API: Docker's, or Podman's service of the same form.

Facts this rests on, seen with dockerd 20.10: `start` of a container that has run to its end runs it
again; for a moment after the event of an end the list says "running", and `inspect` does not;
a container that asks for GPUs where there is no driver is created, and its start fails; errors of a
pull or a build come within an answer of status 200; `OOMKilled` is sometimes lost. With Podman 4.3:
a name that is taken is an error of status 500; no event has a label, if one is asked for by it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as quote_url

import anyio

from runbus import codec
from runbus._secrets import redacted_text
from runbus.errors import HttpRefused, Unreachable
from runbus.executors._docker_words import (
    ATTEMPT,
    REMOVED,
    Changed,
    Container,
    Happened,
    ImageFacts,
    Listed,
    Told,
    Version,
    engine_socket,
    is_socket,
    parted,
)
from runbus.transports.http import HttpClient, Phases

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from runbus.transports.http import Streamed

__all__ = ["Engine", "ask_engine"]

_NEWEST = (1, 51)
"""The newest version of the API that this speaks; each engine understands those before its own."""

_STREAMING = Phases(read_s=None)


class Engine:
    """What is asked of one engine. An async context manager; leaving it closes the connections.

    Args:
        socket: The unix socket where it listens.

    Raises:
        ExtraMissing: httpx is not installed.
    """

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self._http = HttpClient("http://engine", socket=socket, patience_s=10.0)
        self._base = ""
        self._asking = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    async def base(self) -> str:
        """Return what paths begin with: the newest version that both sides speak, asked once.

        Raises:
            HostError: The engine does not answer.
        """
        async with self._asking:
            if not self._base:
                self._base = await self._negotiate()
        return self._base

    async def _negotiate(self) -> str:
        if not is_socket(self.socket):
            # At once: the engine is not installed, or it is down and took its socket along.
            raise Unreachable(f"unix://{self.socket}", "there is no such socket")
        told = (await self._http.ask("GET", "/version")).read(Version)
        number, _, minor = told.api_version.partition(".")
        if not (number.isdigit() and minor.isdigit()):
            reason = f"its API is of version {told.api_version!r}"
            raise HttpRefused(self._http.name, reason, 200)
        spoken = min((int(number), int(minor)), _NEWEST)
        return f"/v{spoken[0]}.{spoken[1]}"

    async def create(self, name: str, document: Mapping[str, Any]) -> bool:
        """Make a container of a name; whether it was not there before.

        Raises:
            HostError: The engine refuses it, such as where it lacks the image (404), or is away.
        """
        try:
            answer = await self._http.ask(
                "POST",
                f"{await self.base()}/containers/create",
                query={"name": name},
                document=document,
                is_named=True,
                accept={409},
            )
        except HttpRefused as error:
            if "name is already in use" in error.reason:
                return False
            raise
        return answer.status != 409

    async def start(self, name: str) -> None:
        """Start a container that was never started; who repeats this has looked at it again.

        Raises:
            HostError: The engine cannot, or is away.
        """
        await self._http.ask(
            "POST", f"{await self.base()}/containers/{name}/start", accept={304}, read_s=120.0
        )

    async def inspect(self, name: str) -> Container | None:
        """Look at a container; None if the engine has none of that name.

        Raises:
            HostError: The engine does not answer.
        """
        answer = await self._http.ask(
            "GET", f"{await self.base()}/containers/{name}/json", accept={404}
        )
        return None if answer.status == 404 else answer.read(Container)

    async def list_attempts(self) -> dict[str, Listed]:
        """Return all containers that are attempts of jobs, by their names.

        Raises:
            HostError: The engine does not answer.
        """
        answer = await self._http.ask(
            "GET",
            f"{await self.base()}/containers/json",
            query={"all": "1", "filters": _filters(label=[ATTEMPT])},
        )
        found = answer.read(list[Listed])
        return {name.lstrip("/"): one for one in found for name in one.names[:1]}

    async def kill(self, name: str, signal: str) -> None:
        """Send a signal to the first process of a container, if it runs.

        Raises:
            HostError: The engine does not answer.
        """
        await self._http.ask(
            "POST",
            f"{await self.base()}/containers/{name}/kill",
            query={"signal": signal},
            accept={404, 409, 500},
            is_named=True,
        )

    async def remove(self, name: str, *, by_force: bool = False) -> bool:
        """Remove a container that does not run; whether it is gone.

        Raises:
            HostError: The engine does not answer.
        """
        answer = await self._http.ask(
            "DELETE",
            f"{await self.base()}/containers/{name}",
            query={"v": "1"} | ({"force": "1"} if by_force else {}),
            accept={404, 409},
        )
        return answer.status != 409

    async def events(self) -> AsyncGenerator[Happened]:
        """Yield what happens to containers that are attempts, from now on, until the engine ends.

        Raises:
            HostError: The engine does not answer.
        """
        wanted = _filters(type=["container"])
        async with self._http.stream(
            "GET", f"{await self.base()}/events", query={"filters": wanted}, phases=_STREAMING
        ) as answer:
            await answer.check()
            # What happened before is not told: this first one has the reader look.
            yield Happened()
            async for line in answer.lines():
                happened = codec.decode_json(line, Happened)
                if happened.is_of_attempt:
                    yield happened

    async def logs(self, name: str) -> bytes:
        """Return the end of what a container has written, as the engine frames it.

        Raises:
            HostError: The engine does not answer.
        """
        answer = await self._http.ask(
            "GET",
            f"{await self.base()}/containers/{name}/logs",
            query={"stdout": "1", "stderr": "1", "tail": "200"},
            accept={404, 409, 500, 501},
        )
        return answer.body if answer.status == 200 else b""

    async def changes(self, name: str) -> list[str]:
        """Return the paths of what a container has added to its image or changed of it.

        Raises:
            HostError: There is no such container, or the engine does not answer.
        """
        answer = await self._http.ask(
            "GET", f"{await self.base()}/containers/{name}/changes", read_s=120.0
        )
        if answer.body.strip() == b"null":
            return []
        return [one.path for one in answer.read(list[Changed]) if one.kind != REMOVED]

    async def stat(self, name: str, path: str) -> bytes | None:
        """Return what the engine tells of a file of a container, in base64; None if it is gone.

        Raises:
            HostError: The engine does not answer.
        """
        answer = await self._http.ask(
            "HEAD",
            f"{await self.base()}/containers/{name}/archive",
            query={"path": path},
            accept={404},
        )
        told = answer.headers.get("x-docker-container-path-stat", "")
        return None if answer.status == 404 else told.encode()

    @asynccontextmanager
    async def archive(self, name: str, path: str) -> AsyncGenerator[Streamed]:
        """Ask for a file of a container, as an archive that holds only that.

        Raises:
            HostError: There is no such file, or the engine does not answer.
        """
        async with self._http.stream(
            "GET",
            f"{await self.base()}/containers/{name}/archive",
            query={"path": path},
            phases=Phases(read_s=120.0),
        ) as answer:
            await answer.check()
            yield answer

    async def ensure_network(self, name: str) -> None:
        """Make a network of a name, unless there is one.

        Raises:
            HostError: The engine refuses it, or does not answer.
        """
        base = await self.base()
        path = f"{base}/networks/{quote_url(name, safe='')}"
        if (await self._http.ask("GET", path, accept={404})).status != 404:
            return
        asked = {"Name": name, "CheckDuplicate": True, "Labels": {"runbus": ""}}
        await self._http.ask(
            "POST", f"{base}/networks/create", document=asked, is_named=True, accept={409}
        )

    async def image(self, name: str) -> ImageFacts | None:
        """Look at an image; None if the engine has none of that name.

        Raises:
            HostError: The engine does not answer.
        """
        path = f"{await self.base()}/images/{quote_url(name, safe='/:@')}/json"
        answer = await self._http.ask("GET", path, accept={404, 400})
        return answer.read(ImageFacts) if answer.status == 200 else None

    async def pull(self, image: str, login: bytes) -> AsyncGenerator[Told]:
        """Fetch an image from its registry, and yield what is told of it.

        Args:
            image: Its name.
            login: What the registry is told about who asks, as the engine wants it.

        Raises:
            HostError: The engine or the registry refuses it, or does not answer.
        """
        name, tag = parted(image)
        headers = {"x-registry-auth": login.decode()} if login else {}
        async with self._http.stream(
            "POST",
            f"{await self.base()}/images/create",
            query={"fromImage": name} | ({"tag": tag} if tag else {}),
            headers=headers,
            phases=Phases(read_s=600.0),
        ) as answer:
            await answer.check()
            async for told in _told(answer.lines(), self._http.name):
                yield told

    async def build(
        self,
        context: bytes | AsyncIterator[bytes],
        tag: str,
        labels: Mapping[str, str],
        network: str,
        *,
        dockerfile: str = "Dockerfile",
        arguments: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Told]:
        """Build an image, and yield what is told of it.

        Args:
            context: An archive with a Dockerfile.
            tag: The name that the image gets.
            labels: What it is marked with.
            network: The network of what runs while it is built; empty for the engine's own.
            dockerfile: What the Dockerfile is called in the archive.
            arguments: The arguments of the build.

        Raises:
            HostError: The engine refuses it, something of the build failed, or it does not answer.
        """
        query = {"t": tag, "rm": "1", "forcerm": "1", "labels": codec.encode_json(labels).decode()}
        query |= {"dockerfile": dockerfile}
        query |= {"buildargs": codec.encode_json(arguments).decode()} if arguments else {}
        async with self._http.stream(
            "POST",
            f"{await self.base()}/build",
            query=query | ({"networkmode": network} if network else {}),
            content=context,
            headers={"content-type": "application/x-tar"},
            phases=Phases(write_s=600.0, read_s=None),
        ) as answer:
            await answer.check()
            async for told in _told(answer.lines(), self._http.name):
                yield told

    async def push(self, repository: str, tag: str, login: bytes) -> AsyncGenerator[Told]:
        """Send an image to its registry, and yield what is told of it.

        Args:
            repository: The name of the image, without its tag.
            tag: Its tag.
            login: What the registry is told about who asks, as the engine wants it.

        Raises:
            HostError: The engine or the registry refuses it, or does not answer.
        """
        async with self._http.stream(
            "POST",
            f"{await self.base()}/images/{quote_url(repository, safe='/:')}/push",
            query={"tag": tag},
            # The engine wants one, also where there is no login: an empty document.
            headers={"x-registry-auth": (login or b"e30=").decode()},
            phases=Phases(read_s=600.0),
        ) as answer:
            await answer.check()
            async for told in _told(answer.lines(), self._http.name):
                yield told

    async def facts(self) -> dict[str, Any]:
        """Return what the engine says about itself.

        Raises:
            HostError: It does not answer.
        """
        return (await self._http.ask("GET", f"{await self.base()}/info")).read(dict[str, Any])


async def _told(lines: AsyncIterator[bytes], engine: str) -> AsyncIterator[Told]:
    """Yield what the lines tell.

    Raises:
        HttpRefused: One of them tells of an error.
    """
    async for line in lines:
        if not line.strip():
            continue
        told = codec.decode_json(line, Told)
        if told.error:
            raise HttpRefused(engine, redacted_text(told.error[:500]), 200)
        yield told


async def ask_engine(socket: str, images: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what an engine says about itself, and which of some images it lacks.

    Args:
        socket: Its socket; that of `DOCKER_HOST`, Docker or Podman if empty.
        images: The names of the images.

    Raises:
        HostError: It does not answer.
        UsageError: It is not on this machine.
        ExtraMissing: httpx is not installed.
    """
    async with Engine(engine_socket(socket)) as engine:
        facts = await engine.facts()
        return facts, [name for name in images if await engine.image(name) is None]


def _filters(**wanted: Sequence[str]) -> str:
    return codec.encode_json(wanted).decode()
