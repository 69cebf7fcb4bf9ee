"""The long-lived shell: cutting replies, and a real local shell behind it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.errors import ConnectionLost, ForwardFailed, RemoteFailed
from runbus.transports import LocalTunnel
from runbus.transports._channel import CommandChannel, Frames

MARK = b"m4rk"


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 255)), max_size=5),
    st.integers(1, 17),
)
def test_replies_come_out_whole_however_they_arrive(
    replies: list[tuple[bytes, int]], size: int
) -> None:
    stream = b"".join(data + b"\n%s %d\n" % (MARK, status) for data, status in replies)
    frames = Frames(MARK)

    found = [
        reply
        for start in range(0, len(stream), size)
        for reply in frames.feed(stream[start : start + size])
    ]

    assert found == [(status, data) for data, status in replies]


@pytest.fixture
async def tunnel(tmp_path: Path) -> AsyncIterator[LocalTunnel]:
    async with LocalTunnel(str(tmp_path)) as tunnel:
        yield tunnel


async def test_a_call_returns_status_and_bytes(tunnel: LocalTunnel) -> None:
    assert await tunnel.call(rb"printf 'a\000\377\n'; false") == (1, b"a\0\xff\n")


async def test_code_that_reads_does_not_eat_the_next_question(tunnel: LocalTunnel) -> None:
    replies = await asyncio.gather(tunnel.call(b"cat"), tunnel.call(b"echo next"))

    assert list(replies) == [(0, b""), (0, b"next\n")]


async def test_a_cancelled_call_does_not_shift_the_answers(tunnel: LocalTunnel) -> None:
    await tunnel.call(b":")
    given_up = asyncio.create_task(tunnel.call(b"sleep 0.05; echo late"))
    await asyncio.sleep(0)
    given_up.cancel()

    assert await tunnel.call(b"echo mine") == (0, b"mine\n")
    assert given_up.cancelled()


async def test_a_shell_that_ends_is_told_and_replaced(tunnel: LocalTunnel) -> None:
    with pytest.raises(ConnectionLost, match="the shell ended"):
        await tunnel.call(b"exit 3")

    assert await tunnel.call(b"echo new") == (0, b"new\n")


async def test_a_shell_that_does_not_answer_is_given_up_and_replaced(tunnel: LocalTunnel) -> None:
    with pytest.raises(ConnectionLost, match=r"no answer for 0\.2 s"):
        await tunnel.call(b"sleep 600; echo late", timeout_s=0.2)

    assert await tunnel.call(b"echo next", timeout_s=120) == (0, b"next\n")


async def test_the_time_of_a_question_begins_when_those_before_it_are_answered(
    tunnel: LocalTunnel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_s = 0.0
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + later_s)
    pipes = [tmp_path / name for name in "abc"]
    for pipe in pipes:
        os.mkfifo(pipe)
    await tunnel.check()
    asked = [
        asyncio.create_task(tunnel.call(b"cat %s" % os.fsencode(pipe), timeout_s=1000))
        for pipe in pipes
    ]

    for pipe, answer in zip(pipes, asked, strict=True):
        await asyncio.sleep(0)
        later_s += 900
        await asyncio.to_thread(pipe.write_text, pipe.name)
        assert await answer == (0, pipe.name.encode())


class Silent:
    """A shell that takes everything and says nothing."""

    async def read(self, n: int, /) -> bytes:
        await asyncio.Event().wait()
        return b""

    def write(self, data: bytes, /) -> None:
        pass


async def test_a_channel_that_did_not_answer_in_time_is_used_no_more() -> None:
    """The answer may still come, and would be taken for that to the next question."""
    losses: list[str] = []
    channel = CommandChannel("h", Silent(), Silent(), lambda: losses.append("lost"))

    for _ in range(2):
        with pytest.raises(ConnectionLost, match=r"no answer for 0\.01 s"):
            await channel.call(b":", 0.01)
        assert not channel.is_open

    assert losses == ["lost"]


async def test_a_shell_that_echoes_is_not_believed(tmp_path: Path) -> None:
    """As one on a terminal does; nothing of what was to be run has run."""
    shell = await asyncio.create_subprocess_exec(
        "script", "-qefc", "sh -s", "/dev/null", stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert shell.stdout is not None
    assert shell.stdin is not None
    channel = CommandChannel("h", shell.stdout, shell.stdin, lambda: None)
    try:
        with pytest.raises(RemoteFailed, match="a terminal, or a command that is forced"):
            await channel.start(b"", 120)
        with pytest.raises(ConnectionLost):
            await channel.call(b"touch %s/ran" % os.fsencode(tmp_path), 120)
    finally:
        await channel.close()
        shell.kill()
        await shell.wait()
    assert not (tmp_path / "ran").exists()


async def test_a_command_that_is_not_there_is_refused(tunnel: LocalTunnel) -> None:
    with pytest.raises(RemoteFailed, match="no such file"):
        await tunnel.run(["/no/such/program"])


async def test_a_forward_to_nothing_says_so(tunnel: LocalTunnel) -> None:
    async with tunnel.forward(1) as forward:
        with pytest.raises(ForwardFailed, match=r"127\.0\.0\.1:1"):
            await forward.check()


async def test_a_closed_tunnel_opens_again(tunnel: LocalTunnel) -> None:
    await tunnel.call(b":")
    await tunnel.close()
    await tunnel.close()

    assert await tunnel.call(b"echo open") == (0, b"open\n")
