"""SSHTunnel against real sshds."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from runbus.errors import (
    ConnectionLost,
    ForwardFailed,
    HostKeyRefused,
    HostKeyUnknown,
    LoginRefused,
    RemoteFailed,
)
from runbus.testing._waiting import until
from runbus.testing.sshd import Sshd

from .conftest import tunnel_to

pytestmark = pytest.mark.services


async def test_calls_share_one_connection_and_come_back_in_order(
    host: Sshd, tmp_path: Path
) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        replies = await asyncio.gather(*(tunnel.call(b"echo %d" % n) for n in range(50)))

        assert replies == [(0, b"%d\n" % n) for n in range(50)]
        assert len(host.sessions()) == 1


async def test_bytes_come_back_as_they_are(host: Sshd, tmp_path: Path) -> None:
    data = os.urandom(3 << 20) + b"\n\xff\xfe\0"
    (tmp_path / "data").write_bytes(data)
    path = os.fsencode(tmp_path / "data")

    async with tunnel_to(host, tmp_path) as tunnel:
        assert await tunnel.call(b"cat " + path) == (0, data)
        assert (await tunnel.run(["cat", path])).stdout == data
        assert await tunnel.read(path, 5, 10) == data[5:15]


async def test_the_status_and_both_outputs_of_a_command_are_told(
    host: Sshd, tmp_path: Path
) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        done = await tunnel.run(["sh", "-c", r"cat; printf 'e\377' >&2; exit 7"], stdin=b"in\xff")
        killed = await tunnel.run(["sh", "-c", "kill -KILL $$"])

        assert done == (7, b"in\xff", b"e\xff")
        assert killed.exit_status == -9


@pytest.mark.parametrize("word", ["a b", "$(id)", "'; id; '", "new\nline", "-n", "ünï", b"\xff"])
async def test_a_word_arrives_as_it_is(host: Sshd, tmp_path: Path, word: str | bytes) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        done = await tunnel.run(["printf", "%s", word])

        assert done.stdout == os.fsencode(word)


async def test_more_commands_than_sessions_wait_their_turn(host: Sshd, tmp_path: Path) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        done = await asyncio.gather(*(tunnel.run(["echo", str(n)]) for n in range(40)))

        assert [one.stdout for one in done] == [b"%d\n" % n for n in range(40)]


async def test_an_upload_appears_whole(host: Sshd, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    (tmp_path / "local").write_bytes(data)
    remote = tmp_path / "neu er" / "ünï"

    async with tunnel_to(host, tmp_path) as tunnel:
        await tunnel.upload(str(tmp_path / "local"), os.fsencode(remote))

        assert remote.read_bytes() == data
        assert [path.name for path in remote.parent.iterdir()] == ["ünï"]


async def test_an_upload_that_cannot_be_says_which_end_is_missing(
    host: Sshd, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    async with tunnel_to(host, tmp_path) as tunnel:
        with pytest.raises(RemoteFailed, match=f"{local}: no such file"):
            await tunnel.upload(str(local), os.fsencode(tmp_path / "there"))
        local.write_bytes(b"data")
        with pytest.raises(RemoteFailed, match="cannot make /proc/nope"):
            await tunnel.upload(str(local), b"/proc/nope/there")


async def test_what_is_not_there_reads_as_nothing_and_what_is_no_file_is_refused(
    host: Sshd, tmp_path: Path
) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        assert await tunnel.read(os.fsencode(tmp_path / "missing"), 0, 10) == b""
        with pytest.raises(RemoteFailed):
            await tunnel.read(os.fsencode(tmp_path), 0, 10)


async def test_a_key_that_is_not_known_is_refused_and_told(host: Sshd, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    async with tunnel_to(host, tmp_path, known_hosts=str(tmp_path / "empty")) as tunnel:
        with pytest.raises(HostKeyUnknown, match="SHA256:") as caught:
            await tunnel.call(b":")

    assert "compare the fingerprint" in caught.value.hint


async def test_a_key_that_has_changed_is_refused_and_told(host: Sshd, tmp_path: Path) -> None:
    host.stop()
    host.new_key()
    host.start()

    async with tunnel_to(host, tmp_path) as tunnel:
        with pytest.raises(HostKeyRefused, match=r"SHA256:.* but SHA256:.* was known") as caught:
            await tunnel.call(b":")

    assert not caught.value.retryable


async def test_a_login_that_is_refused_is_not_tried_again(host: Sshd, tmp_path: Path) -> None:
    other = tmp_path / "other"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)]
    await anyio.run_process(command)

    async with tunnel_to(host, tmp_path, identity=str(other)) as tunnel:
        with pytest.raises(LoginRefused):
            await tunnel.call(b":")


async def test_a_host_that_is_not_there_is_a_lost_connection(host: Sshd, tmp_path: Path) -> None:
    host.stop()

    async with tunnel_to(host, tmp_path) as tunnel:
        with pytest.raises(ConnectionLost) as caught:
            await tunnel.call(b":")

    assert caught.value.retryable


async def test_a_command_whose_connection_dies_has_not_succeeded(
    host: Sshd, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    async with tunnel_to(host, tmp_path) as tunnel:
        running = asyncio.create_task(
            tunnel.run(["sh", "-c", f"touch '{started}'; sleep 30"], timeout_s=20)
        )
        await until(started.exists)
        assert host.kill_sessions()

        with pytest.raises(ConnectionLost):
            await running


async def test_a_lost_connection_is_told_to_who_waits_and_made_again_for_the_next(
    host: Sshd, tmp_path: Path
) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        await tunnel.call(b":")
        waiting = asyncio.create_task(tunnel.call(b"sleep 30"))
        await asyncio.sleep(0)
        assert host.kill_sessions() == 1

        with pytest.raises(ConnectionLost):
            await waiting
        assert await tunnel.call(b"echo again") == (0, b"again\n")


async def test_one_session_is_enough(host: Sshd, tmp_path: Path) -> None:
    host.stop()
    host.start(MaxSessions="1")
    (tmp_path / "file").write_bytes(b"data")

    async with tunnel_to(host, tmp_path) as tunnel:
        assert await tunnel.call(b"echo hi") == (0, b"hi\n")
        assert await tunnel.read(os.fsencode(tmp_path / "file"), 0, 9) == b"data"
        with pytest.raises(RemoteFailed):
            await tunnel.run(["true"])
        assert await tunnel.call(b"echo still") == (0, b"still\n")


async def test_many_tunnels_at_once_get_through_a_narrow_door(host: Sshd, tmp_path: Path) -> None:
    # Each login takes half a second, so the last ones are dropped for as long as all others take.
    keys = f'/bin/sh -c "sleep 0.5; cat {host.folder}/authorized_keys"'
    host.stop()
    host.start(
        MaxStartups="2:50:4", AuthorizedKeysFile="none", AuthorizedKeysCommand=keys,
        AuthorizedKeysCommandUser="root",
    )  # fmt: skip
    tunnels = [tunnel_to(host, tmp_path, connect_timeout_s=120) for _ in range(16)]

    replies = await asyncio.gather(*(tunnel.call(b"echo in") for tunnel in tunnels))
    for tunnel in tunnels:
        await tunnel.close()

    assert replies == [(0, b"in\n")] * 16


async def test_many_callers_share_one_connect(host: Sshd, tmp_path: Path) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        await asyncio.gather(*(tunnel.call(b":") for _ in range(30)))

        assert len(host.sessions()) == 1


async def test_a_shell_that_does_not_answer_is_given_up(host: Sshd, tmp_path: Path) -> None:
    async with tunnel_to(host, tmp_path) as tunnel:
        with pytest.raises(ConnectionLost, match=r"no answer for 0\.2 s"):
            await tunnel.call(b"sleep 600", timeout_s=0.2)

        assert await tunnel.call(b"echo next") == (0, b"next\n")


async def test_a_host_behind_another_is_reached_through_it(
    hosts: list[Sshd], tmp_path: Path
) -> None:
    near, far = hosts[0], hosts[1]
    async with tunnel_to(near, tmp_path) as jump, tunnel_to(far, tmp_path, jump=jump) as tunnel:
        _, told = await tunnel.call(b'echo "$SSH_CONNECTION"')

        assert told.split()[2:] == [far.address.encode(), b"%d" % far.port]
        assert len(near.sessions()) == 1


async def test_the_users_configuration_is_read_with_its_jumps(
    hosts: list[Sshd], tmp_path: Path
) -> None:
    near, far = hosts[0], hosts[1]
    config = tmp_path / "config"
    config.write_text(
        f"Host near\n HostName {near.address}\n Port {near.port}\n"
        f"Host far\n HostName {far.address}\n Port {far.port}\n ProxyJump near\n"
        f"Host *\n User root\n IdentityFile {far.identity}\n"
        f" UserKnownHostsFile {far.known_hosts}\n IdentityAgent none\n"
    )
    from runbus.transports import SSHTunnel

    async with SSHTunnel("far", job_dir=str(tmp_path), config=str(config)) as tunnel:
        assert await tunnel.call(b"echo there") == (0, b"there\n")
        assert len(near.sessions()) == len(far.sessions()) == 1


async def test_a_configuration_that_trusts_anybody_is_not_followed(
    host: Sshd, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n UserKnownHostsFile none\n StrictHostKeyChecking no\n")

    async with tunnel_to(host, tmp_path, config=str(config), known_hosts=None) as tunnel:
        with pytest.raises((HostKeyUnknown, HostKeyRefused)):
            await tunnel.call(b":")


async def test_a_forward_carries_bytes_and_says_whether_it_works(
    host: Sshd, tmp_path: Path
) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with tunnel_to(host, tmp_path) as tunnel, tunnel.forward(port) as forward:
        await forward.check()
        assert await ask(forward.port) == b"HELLO"
        host.kill_sessions()
        assert await ask_until_answered(forward.port) == b"HELLO"

        server.close()
        with pytest.raises(ForwardFailed):
            await forward.check()


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hello")
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


async def ask_until_answered(port: int) -> bytes:
    """The first connection after a loss may still find the old connection."""
    async with asyncio.timeout(120):
        while True:
            # It may be closed before what was sent to it has been read.
            with suppress(ConnectionError):
                if answer := await ask(port):
                    return answer


async def test_a_connection_that_nobody_answers_is_noticed_and_replaced(
    host: Sshd, tmp_path: Path
) -> None:
    # Three signs are missed in 3 s, and the one that takes its place has time to give one.
    async with (
        tunnel_to(host, tmp_path, keepalive_s=1) as tunnel,
        tunnel_to(host, tmp_path) as patient,
    ):
        await asyncio.gather(tunnel.call(b":"), patient.call(b":"))
        frozen = host.sessions()
        for session in frozen:
            os.kill(session, signal.SIGSTOP)
        asking = [asyncio.create_task(one.call(b":")) for one in (tunnel, patient)]
        try:
            # With the signs that are usual it takes 45 s.
            first, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            assert first == {asking[0]}
            assert await tunnel.call(b"echo back") == (0, b"back\n")
        finally:
            for session in frozen:
                os.kill(session, signal.SIGKILL)
        for answer in asking:
            with pytest.raises(ConnectionLost):
                await answer
