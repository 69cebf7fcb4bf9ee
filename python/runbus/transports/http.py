"""Servers over HTTP, also on a socket of this machine. The only module that knows httpx.

One policy for all, which `runbus.transports._http_policy` decides: time-outs for each phase;
a request is repeated only where a second does no more than the first; the server's `Retry-After`
counts; and nothing that is told of a request holds a secret.

Facts this rests on, seen with httpx 0.28: an error of connecting, or of waiting for a connection,
is one of its own, and all others may come after the server has had the request.
"""

from __future__ import annotations

import importlib.util
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from runbus import codec
from runbus.errors import AnswerLost, ExtraMissing, HttpRefused, Unreachable
from runbus.transports._http_policy import Phases, Try, next_pause_s, reason_of, shown_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    import httpx

__all__ = ["MOST_BYTES", "Answer", "HttpClient", "Phases"]

T = TypeVar("T")

_is_installed = importlib.util.find_spec("httpx") is not None

MOST_BYTES = 64 << 20
"""The longest answer that is read into memory, if nothing else is said."""


class Answer(msgspec.Struct, frozen=True):
    """What a server answered.

    Attributes:
        status: The status.
        headers: The headers, with names in lower case.
        body: The body.
        url: What was asked for, as a person may see it.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    url: str

    @property
    def reason(self) -> str:
        """What it says of itself in one line, without secrets."""
        text = self.body[: 1 << 16].decode("utf-8", "replace")
        return reason_of(self.status, self.headers.get("content-type", ""), text)

    def read(self, shape: type[T]) -> T:
        """Return the body, which is JSON.

        Raises:
            HttpRefused: It is something else.
        """
        try:
            return codec.decode_json(self.body, shape)
        except codec.DecodeError as error:
            reason = f"its answer is not what it should be: {error}"
            raise HttpRefused(self.url, reason, self.status) from error


class HttpClient:
    """Asks one server. An async context manager; leaving it closes the connections.

    Args:
        url: Where the server's paths begin.
        socket: The unix socket where it listens; empty to go by the address.
        headers: What every request says, such as who asks.
        phases: How long each phase of a request may take.
        patience_s: How long a request is repeated, pauses included.
        most: How many requests there may be at a time; further ones wait.
        most_bytes: The longest answer that is read into memory.

    Raises:
        ExtraMissing: httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        socket: str = "",
        headers: Mapping[str, str] | None = None,
        phases: Phases = Phases(),  # noqa: B008 - it cannot be changed
        patience_s: float = 30.0,
        most: int = 64,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if not _is_installed:
            raise ExtraMissing("HTTP", "httpx", "http")
        self.name = f"unix://{socket}" if socket else shown_url(url)
        self._url = url
        self._socket = socket
        self._headers = dict(headers or {})
        self._phases = phases
        self._patience_s = patience_s
        self._most = most
        self._most_bytes = most_bytes
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        import httpx  # costs what only those who ask need pay

        if self._client is None:
            limits = httpx.Limits(max_connections=self._most)
            # A proxy, or a login in ~/.netrc, is nothing for a socket of this machine.
            local = httpx.AsyncHTTPTransport(uds=self._socket) if self._socket else None
            self._client = httpx.AsyncClient(
                base_url=self._url,
                headers=self._headers,
                limits=limits,
                transport=local,
                trust_env=not self._socket,
                timeout=_timeout(self._phases),
            )
        return self._client

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        is_named: bool = False,
        accept: Collection[int] = (),
        read_s: float | None = None,
    ) -> Answer:
        """Ask for something, again where that is harmless. Cancelling it closes the connection.

        Args:
            method: The method, in capitals.
            path: What follows the address of the server.
            query: The parameters; one that has several values is given several times.
            document: What is sent as JSON; nothing if None.
            headers: What this request says besides.
            is_named: Whether it carries a name of ours, so that the server refuses a second one.
            accept: Statuses that are an answer here, beside those of success.
            read_s: How long the answer may take, instead of what `phases` say.

        Raises:
            Unreachable: There is no connection; the server has seen nothing of it.
            AnswerLost: It was sent, and what became of it is unknown.
            HttpRefused: The server refused it.
        """
        phases = self._phases if read_s is None else self._phases._replace(read_s=read_s)
        until = time.monotonic() + self._patience_s
        number = 0
        while True:
            number += 1
            tried = Try(method, number, is_named)
            try:
                answer = await self._once(method, path, query, document, headers, phases)
            except (Unreachable, AnswerLost) as error:
                failure: Unreachable | AnswerLost | HttpRefused = error
                tried = tried._replace(was_sent=not isinstance(error, Unreachable))
            else:
                if 200 <= answer.status < 300 or answer.status in accept:
                    return answer
                failure = _refusal(answer)
                asked = answer.headers.get("retry-after", "")
                tried = tried._replace(status=answer.status, retry_after=asked)
            pause = next_pause_s(
                tried,
                left_s=until - time.monotonic(),
                now=time.time(),
                chance=random.random(),
            )
            if pause is None:
                raise failure
            await anyio.sleep(pause)

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | Sequence[str]] | None,
        document: object,
        headers: Mapping[str, str] | None,
        phases: Phases,
    ) -> Answer:
        sent = {} if document is None else {"content-type": "application/json"}
        content = b"" if document is None else codec.encode_json(document)
        async with self.stream(
            method, path, query=query, content=content, headers={**sent, **(headers or {})},
            phases=phases,
        ) as streamed:  # fmt: skip
            return await streamed.whole()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | Sequence[str]] | None = None,
        content: bytes | AsyncIterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        phases: Phases | None = None,
    ) -> AsyncIterator[Streamed]:
        """Ask once, and read the answer as it comes.

        Args:
            method: The method, in capitals.
            path: What follows the address of the server.
            query: The parameters.
            content: The body, or its parts as they are sent.
            headers: What this request says besides.
            phases: How long each phase may take, instead of what the client has.

        Yields:
            The answer, whatever its status.

        Raises:
            Unreachable: There is no connection; the server has seen nothing of it.
            AnswerLost: The connection broke, or what was waited for did not come.
        """
        import httpx

        client = self._opened()
        asked = client.build_request(
            method, path, params=query, content=content, headers=headers,
            timeout=_timeout(phases or self._phases),
        )  # fmt: skip
        shown = self.name if self._socket else shown_url(str(asked.url))
        try:
            answer = await client.send(asked, stream=True)
            try:
                yield Streamed(answer, shown, self._most_bytes)
            finally:
                with anyio.CancelScope(shield=True):
                    await answer.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreachable(shown, _told(error)) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise AnswerLost(shown, _told(error)) from error


class Streamed:
    """An answer whose body is still coming.

    Attributes:
        status: The status.
        headers: The headers, with names in lower case.
    """

    def __init__(self, answer: httpx.Response, url: str, most_bytes: int) -> None:
        self._answer = answer
        self._url = url
        self._most_bytes = most_bytes
        self.status = answer.status_code
        self.headers = {name.lower(): value for name, value in answer.headers.items()}

    async def whole(self) -> Answer:
        """Return the answer with all of its body.

        Raises:
            HttpRefused: It is too long for the memory of this process.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > self._most_bytes:
                raise HttpRefused(self._url, "its answer is too long", self.status)
        return Answer(self.status, self.headers, bytes(body), self._url)

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the parts of the body, as they come."""
        return self._answer.aiter_bytes()

    async def lines(self, longest: int = 1 << 20) -> AsyncIterator[bytes]:
        """Yield the lines of the body, without their ends.

        Args:
            longest: The most bytes that a line may have.

        Raises:
            HttpRefused: A line is longer.
        """
        rest = b""
        async for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line
            if len(rest) > longest:
                raise HttpRefused(self._url, "a line of its answer is too long", self.status)
        if rest:
            yield rest

    async def check(self) -> None:
        """Make sure that it is one of success.

        Raises:
            HttpRefused: It is not.
        """
        if not 200 <= self.status < 300:
            raise _refusal(await self.whole())


def _refusal(answer: Answer) -> HttpRefused:
    return HttpRefused(answer.url, answer.reason, answer.status)


def _timeout(phases: Phases) -> httpx.Timeout:
    import httpx

    return httpx.Timeout(
        connect=phases.connect_s, write=phases.write_s, read=phases.read_s, pool=phases.pool_s
    )


_WORDS = {
    "ConnectTimeout": "it does not answer",
    "PoolTimeout": "too many requests wait for it",
    "ReadTimeout": "its answer did not come in time",
    "WriteTimeout": "it did not take the request in time",
}


def _told(error: Exception) -> str:
    """Return what went wrong, in words: httpx's own are often empty."""
    if (known := _WORDS.get(type(error).__name__)) is not None:
        return known
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).lower() or type(error).__name__
