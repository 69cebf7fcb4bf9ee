"""HttpClient against a real server on a socket, which answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runbus.errors import AnswerLost, HttpRefused, Unreachable
from runbus.transports.http import HttpClient, Phases


class Server:
    """Answers requests with the bytes that are put in; an empty answer closes the connection."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.answers: list[bytes] = []
        self.asked: list[bytes] = []
        self.was_asked = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n")
                     if line.startswith(b"content-length:")), 0,
                )  # fmt: skip
                self.asked.append(head + await reader.readexactly(length))
                self.was_asked.set()
                answer = self.answers.pop(0) if self.answers else b""
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def said(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "s")
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[HttpClient]:
    async with HttpClient("http://x", socket=server.path) as client:
        yield client


async def test_an_answer_is_read_as_what_it_should_be(server: Server, client: HttpClient) -> None:
    server.answers = [said(200, b'{"a": 1}'), said(200, b'["not that"]')]

    assert (await client.ask("GET", "/x")).read(dict[str, int]) == {"a": 1}
    with pytest.raises(HttpRefused, match="not what it should be"):
        (await client.ask("GET", "/x")).read(dict[str, int])


async def test_a_get_whose_answer_was_lost_is_asked_again(
    server: Server, client: HttpClient
) -> None:
    server.answers = [b"", said(200)]

    assert (await client.ask("GET", "/x")).status == 200
    assert len(server.asked) == 2


async def test_a_post_whose_answer_was_lost_is_left_to_who_asked(
    server: Server, client: HttpClient
) -> None:
    server.answers = [b"", said(201), said(201)]

    with pytest.raises(AnswerLost) as caught:
        await client.ask("POST", "/x", document={})
    assert server.path in caught.value.host
    assert (await client.ask("POST", "/y", document={}, is_named=True)).status == 201
    assert len(server.asked) == 2


async def test_a_post_without_an_answer_in_time_may_have_been_carried_out(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n"]
    phases = Phases(read_s=0.2)

    async with HttpClient("http://x", socket=server.path, phases=phases) as client:
        with pytest.raises(AnswerLost, match="in time"):
            await client.ask("POST", "/x")


async def test_where_nobody_listens_nothing_was_sent(tmp_path: Path) -> None:
    async with HttpClient("http://x", socket=str(tmp_path / "no"), patience_s=0) as client:
        with pytest.raises(Unreachable, match="no such file"):
            await client.ask("POST", "/x")


async def test_a_server_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    late = Server(tmp_path / "late")
    late.answers = [said(200)]
    async with HttpClient("http://x", socket=late.path) as client:
        asking = asyncio.create_task(client.ask("POST", "/x"))
        await asyncio.sleep(0)
        await late.start()

        assert (await asking).status == 200
    await late.close()


async def test_a_refusal_is_told_in_the_words_of_the_server(
    server: Server, client: HttpClient
) -> None:
    server.answers = [said(404, b'{"message":"No such image: x"}'), said(404)]

    with pytest.raises(HttpRefused, match="No such image: x") as caught:
        await client.ask("GET", "/x")
    assert caught.value.status == 404
    assert (await client.ask("GET", "/x", accept={404})).status == 404


async def test_a_wait_that_is_asked_for_is_kept(server: Server, client: HttpClient) -> None:
    server.answers = [said(429, b"", "Retry-After: 0"), said(200)]

    assert (await client.ask("POST", "/x")).status == 200
    assert len(server.asked) == 2


async def test_lines_come_as_they_are_sent_and_a_last_one_without_its_end(
    server: Server, client: HttpClient
) -> None:
    server.answers = [said(200, b"one\ntwo\n\nlast")]

    async with client.stream("GET", "/x") as answer:
        assert [line async for line in answer.lines()] == [b"one", b"two", b"", b"last"]


async def test_a_line_without_end_does_not_fill_the_memory(
    server: Server, client: HttpClient
) -> None:
    server.answers = [said(200, b"x" * 100_000)]

    with pytest.raises(HttpRefused, match="too long"):
        async with client.stream("GET", "/x") as answer:
            _ = [line async for line in answer.lines(longest=1000)]


async def test_a_cancelled_request_frees_its_connection(server: Server) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n", said(200)]
    async with HttpClient("http://x", socket=server.path, most=1) as client:
        asking = asyncio.create_task(client.ask("GET", "/slow"))
        async with asyncio.timeout(120):
            await server.was_asked.wait()
        asking.cancel()
        await asyncio.wait([asking])

        assert asking.cancelled()
        assert (await client.ask("GET", "/x")).status == 200
