"""Other machines over SSH. The only module that knows asyncssh.

Facts this rests on, seen with asyncssh 2.24 and OpenSSH 9.2: a command whose connection dies ends
with exit status None, not with an error; one byte that is not valid UTF-8 ends the whole connection
unless `encoding` is None; OpenSSH opens ten sessions a connection (MaxSessions) and drops connects
that come at once (MaxStartups) without a word; a half-open connection is noticed only by keepalive.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from runbus.abc import Completed, Forward, Tunnel
from runbus.config import LocalFile  # noqa: TC001 - the configuration reads the fields
from runbus.errors import (
    ConnectionLost,
    ExtraMissing,
    ForwardFailed,
    HostKeyRefused,
    HostKeyUnknown,
    LoginRefused,
    RemoteFailed,
    RunbusError,
    UsageError,
)
from runbus.transports._channel import CommandChannel
from runbus.transports._forward import Dialled, forwarded
from runbus.transports._openssh import resolve

try:
    import asyncssh

    from runbus.transports._ssh_errors import mapped
    from runbus.transports._ssh_files import Files
    from runbus.transports._ssh_login import connect_options
except ImportError:  # told when a tunnel is made: `from runbus import *` names the class, too
    _is_installed = False
else:
    _is_installed = True

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from runbus.transports._openssh import Jump

__all__ = ["SSHTunnel"]

_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
"""How long a connect waits at most that the host has dropped: at first, and in the end."""

_JUMPS = 8
"""A longer way leads in a circle."""

_OUTPUT_LIMIT = 64 << 20
_CLOSE_S = 1.0


class SSHTunnel(Tunnel):
    """Reaches a machine over one SSH connection, made on first use and again when lost.

    The user's SSH configuration holds as OpenSSH's own client reads it (`ssh -G`): HostName, User,
    Port, IdentityFile, ProxyJump, UserKnownHostsFile and so on, `Match` and `Include` too. What is
    for a person at a terminal is ignored: RequestTTY, RemoteCommand, forwards, ControlMaster. The
    agent and the default keys are used. The host's key must be in known_hosts.

    Args:
        host: The name of the machine, or its alias in the configuration.
        user: The login; as configured, or this user's name, if None.
        port: As configured, or 22, if None.
        job_dir: Under which folder of it everything of ours lies.
        identity: A private key file, to use instead of the configured ones.
        pre_command: Shell code that runs first, once a connection; jobs inherit its environment.
        jump: The tunnel to go through, instead of a configured ProxyJump. Closed by its owner.
        known_hosts: The file of known host keys, instead of the configured ones.
        config: The configuration file to read instead of `~/.ssh/config`; empty for none.
        agent: Whether to ask the agent for keys.
        keepalive_s: Seconds between signs of life; the third that is missed ends the connection.
        connect_timeout_s: How long a connect may take, and again the login; and how long one is
            tried again that the host drops, because too many log in at once.
        file_timeout_s: How long a request about a file may take before sftp counts as stuck.
        max_sessions: How many sessions to open at a time; OpenSSH allows ten.
    """

    def __init__(
        self,
        host: str,
        user: str | None = None,
        port: int | None = None,
        job_dir: str = "~/.runbus/remote",
        identity: LocalFile | None = None,
        pre_command: str = "",
        *,
        jump: SSHTunnel | None = None,
        known_hosts: LocalFile | None = None,
        config: LocalFile | None = None,
        agent: bool = True,
        keepalive_s: float = 15.0,
        connect_timeout_s: float = 15.0,
        file_timeout_s: float = 30.0,
        max_sessions: int = 8,
    ) -> None:
        if not _is_installed:
            raise ExtraMissing("SSH", "asyncssh", "ssh")
        self.host = host
        self.name = (f"{user}@" if user else "") + host + (f":{port}" if port else "")
        self.job_dir = job_dir
        self._pre_command = pre_command
        self._jump = jump
        self.depth = 0
        self._connect_timeout_s = connect_timeout_s
        self._file_timeout_s = file_timeout_s
        self._asked = (host, user, port, config)
        self._config = config
        self._settings: dict[str, Any] = {
            "keepalive_interval": keepalive_s,
            "keepalive_count_max": 3,
            "connect_timeout": connect_timeout_s,
            "login_timeout": connect_timeout_s,
        }
        if identity:
            self._settings["client_keys"] = [os.path.expanduser(identity)]
            self._settings["ignore_encrypted"] = False
        if not agent:
            self._settings["agent_path"] = None
        self._known_hosts = (os.path.expanduser(known_hosts),) if known_hosts else ()
        self._options: dict[str, Any] = {}
        self._configured_jumps: list[SSHTunnel] = []
        self._leftovers: set[bytes] = set()
        self._lock = asyncio.Lock()
        # The command channel and sftp hold two of them.
        self._sessions = asyncio.Semaphore(max(1, max_sessions - 2))
        self._link: _Link | None = None

    @property
    def way(self) -> Hashable:
        """The login, what is before it, and what is run first there; see `Tunnel.way`."""
        jump = self._jump and self._jump.way
        return "ssh", *self._asked, jump, self._pre_command

    async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Run shell code in the machine's one shell; see `Tunnel.call`."""
        return await (await self._connected()).channel.call(script, timeout_s)

    async def run(
        self, argv: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run one command in a session of its own; see `Tunnel.run`."""
        command = " ".join(shlex.quote(os.fsdecode(word)) for word in argv)
        link = await self._connected()
        async with self._sessions:
            with self._mapped():
                async with asyncio.timeout(timeout_s):
                    return await self._run_in_session(link, command, stdin)

    async def _run_in_session(self, link: _Link, command: str, stdin: bytes) -> Completed:
        process = await link.connection.create_process(
            _sendable(command), encoding=None, request_pty=False
        )
        async with process:
            process.stdin.write(stdin)
            process.stdin.write_eof()
            stdout, stderr = await asyncio.gather(
                self._read_all(process.stdout), self._read_all(process.stderr)
            )
            await process.wait_closed()
            status = process.returncode
        if status is None:
            # Not an error to asyncssh, and never a success: it is unknown how it ended.
            raise ConnectionLost(self.name, "the connection broke while a command ran")
        return Completed(status, stdout, stderr)

    async def _read_all(self, reader: asyncssh.SSHReader[bytes]) -> bytes:
        data = bytearray()
        while part := await reader.read(1 << 18):
            data += part
            if len(data) > _OUTPUT_LIMIT:
                raise RemoteFailed(self.name, "a command wrote more than 64 MiB")
        return bytes(data)

    async def check(self) -> None:
        """See that commands and files work; see `Tunnel.check`."""
        await (await self._connected()).files.check()

    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `Tunnel.read`."""
        return await (await self._connected()).files.read(path, offset, size)

    async def upload(self, local: str, remote: bytes) -> None:
        """Copy a file there by sftp; see `Tunnel.upload`."""
        part = remote + b".part-" + os.urandom(4).hex().encode()
        link = await self._connected()
        for left in list(self._leftovers):
            await link.files.remove(left)
            self._leftovers.discard(left)
        try:
            await link.files.write(local, remote, part)
        except BaseException as error:
            self._leftovers.add(part)
            if isinstance(error, FileNotFoundError):
                # Of a folder that cannot be made there, such as one in /proc, it is said as well.
                folder = os.fsdecode(os.path.dirname(remote))
                is_here = await anyio.Path(local).exists()
                missing = f"cannot make {folder}" if is_here else f"{local}: no such file"
                raise RemoteFailed(self.name, missing) from error
            raise

    def forward(
        self, port: int, *, host: str = "127.0.0.1", local_port: int = 0
    ) -> AbstractAsyncContextManager[Forward]:
        """Lead a local port to one that the machine reaches; see `Tunnel.forward`."""

        async def dial() -> Dialled:
            link = await self._connected()
            try:
                with self._mapped():
                    reader, writer = await link.connection.open_connection(
                        host, port, encoding=None
                    )
            except RemoteFailed as error:
                raise ForwardFailed(self.name, f"{host}:{port}: {error.reason}") from error
            return reader, writer

        return forwarded(self.name, dial, local_port)

    async def close(self) -> None:
        """Close the connection; see `Tunnel.close`."""
        async with self._lock:
            link, self._link = self._link, None
            if link is not None:
                await link.close()
        for jump in reversed(self._configured_jumps):
            await jump.close()

    async def _connected(self) -> _Link:
        if self._link is not None and self._link.is_alive:
            return self._link
        # One connects; the others wait for it and use what it made.
        async with self._lock:
            if self._link is None or not self._link.is_alive:
                lost, self._link = self._link, None
                if lost is not None:
                    await lost.close()
                self._link = await self._open()
            return self._link

    async def _open(self) -> _Link:
        connection = await self.connect()
        files = Files(self.name, connection, self.connect, self._file_timeout_s)
        link = _Link(connection, files)
        try:
            with self._mapped():
                # exec: whatever the login shell is, nothing of it stays but its environment. A
                # terminal would echo what is said, so none is asked for.
                process = await connection.create_process(
                    "exec sh -s", encoding=None, stderr=asyncssh.DEVNULL, request_pty=False
                )
                link.channel = CommandChannel(
                    self.name, process.stdout, process.stdin, connection.abort
                )
                await link.channel.start(self._pre_command.encode(), self._connect_timeout_s)
        except BaseException:
            await link.close()
            raise
        return link

    async def connect(self) -> asyncssh.SSHClientConnection:
        """Return a new connection, for which the caller answers. Used by tunnels through this one.

        A host that takes only so many unfinished logins at a time (MaxStartups) drops the others:
        such a connect is tried again, at a random moment. For how long they do is not known: where
        a login is slow, it is as long as the logins of all the others take.
        """
        loop = asyncio.get_running_loop()
        give_up_at, pause_s = loop.time() + self._connect_timeout_s, _PAUSE_S
        while True:
            try:
                return await self._connect_once()
            except ConnectionLost as error:
                cause = error.__cause__
                dropped = isinstance(cause, (asyncssh.ConnectionLost, ConnectionResetError))
                if not dropped or loop.time() > give_up_at:
                    raise
            await asyncio.sleep(random.uniform(0, pause_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Return the connection that this tunnel uses, connecting first if there is none."""
        return (await self._connected()).connection

    async def _resolved(self) -> dict[str, Any]:
        """Return how to log in, found out once."""
        if self._options:
            return self._options
        login = await resolve(*self._asked)
        if self._known_hosts:
            login = login._replace(known_hosts=self._known_hosts)
        with self._mapped():
            options = connect_options(login) | self._settings
        if self._jump is None:
            for jump in login.jumps:
                through = self._configured_jumps[-1] if self._configured_jumps else None
                self._configured_jumps.append(self._to_jump(jump, through))
        self._options = options
        return options

    def _to_jump(self, jump: Jump, through: SSHTunnel | None) -> SSHTunnel:
        user, host, port = jump
        tunnel = SSHTunnel(
            host, user or None, port or None, jump=through, config=self._config,
            keepalive_s=self._settings["keepalive_interval"],
            connect_timeout_s=self._connect_timeout_s,
        )  # fmt: skip
        tunnel.depth = self.depth + 1
        if tunnel.depth > _JUMPS:
            raise UsageError(f"the SSH settings of {self.host} lead in a circle by way of {host}")
        return tunnel

    async def _connect_once(self) -> asyncssh.SSHClientConnection:
        options = await self._resolved()
        jump = self._configured_jumps[-1] if self._configured_jumps else self._jump
        via = await jump.connection() if jump else ()
        try:
            with self._mapped():
                return await asyncssh.connect(tunnel=via, **options)
        except FileNotFoundError as error:
            # What else a login reads may be missing; `identity` may not.
            name = getattr(error.__cause__, "filename", None) or "a key"
            raise LoginRefused(self.name, f"there is no file {os.fsdecode(name)!r}") from error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            raise await self._about_key(options, via, error) from error

    async def _about_key(self, options: dict[str, Any], via: Any, error: Exception) -> RunbusError:
        """Tell a changed key from an unknown one, with the fingerprint of what was shown."""
        host, port = options["host"], options["port"]
        with suppress(Exception):
            name = options.get("host_key_alias") or host
            keys = asyncssh.match_known_hosts(options["known_hosts"], name, "", port)
            shown = await asyncssh.get_server_host_key(
                host, port, tunnel=via, config=None,
                proxy_command=options.get("proxy_command", ()),
            )  # fmt: skip
            if shown is None:
                return ConnectionLost(self.name, str(error))
            told = f"it shows {shown.get_algorithm()} {shown.get_fingerprint()}"
            if keys[0]:
                expected = ", ".join(key.get_fingerprint() for key in keys[0])
                return HostKeyRefused(self.name, f"{told}, but {expected} was known")
            return HostKeyUnknown(self.name, told)
        # Too careful rather than too trusting where nothing can be found out.
        return HostKeyRefused(self.name, str(error))

    def _mapped(self) -> AbstractContextManager[None]:
        return mapped(self.name, lambda: self._link is not None and self._link.is_alive)


class _Link:
    """One connection, with its command channel and its files."""

    def __init__(self, connection: asyncssh.SSHClientConnection, files: Files) -> None:
        self.connection = connection
        self.channel: CommandChannel
        self.files = files

    @property
    def is_alive(self) -> bool:
        return not self.connection.is_closed() and self.channel.is_open

    async def close(self) -> None:
        """Close everything, within a second."""
        if hasattr(self, "channel"):
            await self.channel.close()
        await self.files.close()
        self.connection.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.connection.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            self.connection.abort()


def _sendable(command: str) -> str:
    """Return a command so that asyncssh, which sends UTF-8 only, can send any bytes in it."""
    data = os.fsencode(command)
    try:
        return data.decode()
    except UnicodeDecodeError:
        octal = "".join(f"\\0{byte:03o}" for byte in data)
        return f"eval \"$(printf %b '{octal}')\""
