"""SSHTunnel with the settings that people write for themselves, against a real sshd."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from runbus.errors import ConnectionLost, LoginRefused, RemoteFailed, UsageError
from runbus.testing.sshd import Sshd
from runbus.transports import SSHTunnel

from .conftest import tunnel_to

pytestmark = pytest.mark.services

Configured = Callable[..., SSHTunnel]


@pytest.fixture
def configured(host: Sshd, tmp_path: Path) -> Configured:
    """Return a function that makes a tunnel to `h`, with more settings before and after its own."""

    def make(after: str = "", *, before: str = "", known: str = "", **options: object) -> SSHTunnel:
        config = tmp_path / "config"
        known = known or str(host.known_hosts)
        config.write_text(
            f"{before}\nHost h\n HostName {host.address}\n Port {host.port}\n User root\n"
            f" IdentityFile {host.identity}\n UserKnownHostsFile {known}\n"
            f" IdentityAgent none\n{after}\n"
        )
        settings = {"config": str(config), "job_dir": str(tmp_path)} | options
        return SSHTunnel("h", **settings)  # type: ignore[arg-type]

    return make


@pytest.mark.parametrize(
    "setting",
    [
        "RequestTTY force",
        "RemoteCommand echo in place of it",
        "SessionType none",
        "SessionType subsystem",
        "ControlMaster auto\n ControlPath /nonexistent/%C",
        "LocalForward 1 localhost:1\n ExitOnForwardFailure yes",
        "PermitLocalCommand yes\n LocalCommand touch /nonexistent/x",
        "StdinNull yes",
        "ForkAfterAuthentication yes",
        "IdentityFile /nonexistent/id",
        "IdentityFile none",
        "CertificateFile /nonexistent/c.pub",
        "ServerAliveInterval 1m",
        "ConnectTimeout none",
        "Compression yes",
        "AddressFamily inet",
        "SetEnv A=b C=d",
        "UseKeychain yes",
        "Ciphers aes128-ctr,chacha20-poly1305@openssh.com",
        "KexAlgorithms +diffie-hellman-group14-sha1",
        "CheckHostIP yes\n VisualHostKey yes\n LogLevel DEBUG3",
        "ProxyJump none\n ProxyCommand none",
    ],
)
async def test_a_setting_that_openssh_lets_pass_changes_no_answer(
    configured: Configured, tmp_path: Path, setting: str
) -> None:
    (tmp_path / "file").write_bytes(b"data")

    async with configured(f" {setting}") as tunnel:
        assert await tunnel.call(b"echo there; [ -t 0 ]") == (1, b"there\n")
        assert (await tunnel.run(["cat"], stdin=b"in")).stdout == b"in"
        assert await tunnel.read(os.fsencode(tmp_path / "file"), 0, 10) == b"data"


async def test_a_condition_that_this_openssh_does_not_know_holds_for_no_host(
    configured: Configured,
) -> None:
    async with configured(before="Match nonsense x\n ProxyJump nowhere.invalid") as tunnel:
        assert await tunnel.call(b"echo there") == (0, b"there\n")


async def test_a_setting_that_openssh_refuses_is_told_with_its_line(configured: Configured) -> None:
    async with configured(" Port many") as tunnel:
        with pytest.raises(UsageError, match=r"settings of h cannot be used: .*line 9: .*many"):
            await tunnel.call(b":")


async def test_tokens_variables_and_homes_in_settings_are_expanded(
    configured: Configured, host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS", str(host.identity.parent))
    key = host.identity.rename(host.identity.with_name(f"key_{host.port}"))
    known = host.known_hosts.rename(host.known_hosts.with_name("known_h"))
    try:
        async with configured(
            " IdentityFile ${KEYS}/key_%p", known=f"{known.parent}/known_%n /nonexistent/known"
        ) as tunnel:
            assert (await tunnel.call(b":"))[0] == 0
    finally:
        key.rename(host.identity)
        known.rename(host.known_hosts)


async def test_a_broken_line_among_known_hosts_is_skipped_and_named(
    configured: Configured, host: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = tmp_path / "known"
    known.write_bytes(b"# a\n=\n" + host.known_hosts.read_bytes() + b"\xff\xfe nonsense\n")

    async with configured(known=str(known)) as tunnel:
        assert (await tunnel.call(b":"))[0] == 0

    assert f"{known}, line 2 is not valid and is skipped" in caplog.text


async def test_the_configuration_of_the_home_in_use_is_read(
    host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(host.settings() + "  IdentityAgent none\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    async with SSHTunnel(host.name, job_dir=str(tmp_path)) as tunnel:
        assert (await tunnel.call(b":"))[0] == 0


async def test_only_the_configured_keys_are_offered_where_that_is_asked(
    configured: Configured, host: Sshd, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)]
    await anyio.run_process(command)

    async with configured(identity=str(other), after=" IdentitiesOnly yes") as tunnel:
        with pytest.raises(LoginRefused):
            await tunnel.call(b":")


async def test_a_command_leads_to_the_machine_whatever_it_says_on_stderr(
    configured: Configured,
) -> None:
    command = "sh -c 'echo noise >&2; exec busybox nc %h %p'"

    async with configured(f" ProxyCommand {command}") as tunnel:
        assert await tunnel.call(b"echo there") == (0, b"there\n")


async def test_a_jump_that_leads_in_a_circle_is_refused(configured: Configured) -> None:
    circle = "Host a\n HostName 127.0.0.9\n ProxyJump b\nHost b\n HostName 127.0.0.8\n ProxyJump a"

    async with configured(" ProxyJump a", before=circle) as tunnel:
        with pytest.raises(UsageError, match="lead in a circle"):
            await tunnel.call(b":")


async def test_a_terminal_that_is_forced_there_is_refused_and_no_script_runs(
    host: Sshd, tmp_path: Path
) -> None:
    host.stop()
    host.start(ForceCommand="script -qefc 'sh -s' /dev/null")

    async with tunnel_to(host, tmp_path) as tunnel:
        with pytest.raises(RemoteFailed, match="a terminal, or a command that is forced"):
            await tunnel.call(b"touch %s/ran" % os.fsencode(tmp_path))

    assert not (tmp_path / "ran").exists()


async def test_an_sftp_that_hangs_is_given_up_and_begun_again(host: Sshd, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    server = tmp_path / "server"
    server.write_text(f"#!/bin/sh\necho $$ >>{pids}\nexec /usr/lib/openssh/sftp-server\n")
    server.chmod(0o755)
    host.stop()
    host.start(Subsystem=f"sftp {server}")
    (tmp_path / "file").write_bytes(b"data")
    path = os.fsencode(tmp_path / "file")

    async with tunnel_to(host, tmp_path, file_timeout_s=1) as tunnel:

        async def read() -> bytes:
            """Read; again where a service that works was given up, on a busy machine."""
            with anyio.fail_after(120):
                while True:
                    with suppress(ConnectionLost):
                        return await tunnel.read(path, 0, 10)
                    await anyio.sleep(0.01)

        assert await read() == b"data"
        # One that is slow to greet is asked in another session what it speaks.
        stopped = [int(pid) for pid in pids.read_text().split()]
        signal_each(stopped, signal.SIGSTOP)
        try:
            with pytest.raises(ConnectionLost, match="its sftp has not answered for 1 s"):
                await tunnel.read(path, 0, 10)
            assert await tunnel.call(b"echo shell") == (0, b"shell\n")
            assert await read() == b"data"
        finally:
            signal_each(stopped, signal.SIGKILL)


def signal_each(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def test_an_upload_that_is_cut_off_leaves_nothing_once_the_next_one_is_done(
    host: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(64 << 20))
    (tmp_path / "small").write_bytes(b"small")
    there = tmp_path / "there"

    async with tunnel_to(host, tmp_path) as tunnel:
        cut = asyncio.create_task(
            tunnel.upload(str(tmp_path / "large"), os.fsencode(there / "large"))
        )
        async with asyncio.timeout(120):
            while not list(there.glob("large.part-*")):
                await tunnel.call(b":")
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
        await tunnel.upload(str(tmp_path / "small"), os.fsencode(there / "small"))

    assert [path.name for path in there.iterdir()] == ["small"]
    assert "never retrieved" not in caplog.text
