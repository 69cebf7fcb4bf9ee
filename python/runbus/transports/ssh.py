"""Other machines over SSH. The only module that knows asyncssh.

Facts this rests on, seen with asyncssh 2.24 and OpenSSH 9.2: a command whose connection dies ends
with exit status None, not with an error; one byte that is no UTF-8 ends the whole connection unless
`encoding` is None; OpenSSH opens ten sessions a connection (MaxSessions) and drops connects that
come at once (MaxStartups) without a word; a half-open connection is noticed only by keepalive.
"""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import stat
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import anyio

from runbus.abc import Completed, Forward, Tunnel
from runbus.errors import (
    ConnectionLost,
    ExtraMissing,
    ForwardFailed,
    HostError,
    HostKeyRefused,
    HostKeyUnknown,
    LoginRefused,
    RemoteFailed,
    RunbusError,
    UsageError,
)
from runbus.transports._channel import CommandChannel
from runbus.transports._forward import Dialled, forwarded

try:
    import asyncssh
except ImportError:  # told when a tunnel is made: `from runbus import *` names the class, too
    _is_installed = False
else:
    _is_installed = True

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["SSHTunnel"]

_CONNECTS = 6
"""How often a connect is tried that the host drops before it says why: too many at once."""

_OUTPUT_LIMIT = 64 << 20
_OPEN_FILES = 64
_CLOSE_S = 3.0


class SSHTunnel(Tunnel):
    """Reaches a machine over one SSH connection, made on first use and again when lost.

    `~/.ssh/config` is read (HostName, User, Port, IdentityFile, ProxyJump, UserKnownHostsFile …),
    the agent and the default keys are used. The host's key must be in known_hosts.

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
        connect_timeout_s: How long a connect may take, and again the login.
        max_sessions: How many sessions to open at a time; OpenSSH allows ten.
    """

    def __init__(
        self,
        host: str,
        user: str | None = None,
        port: int | None = None,
        job_dir: str = "~/.runbus/remote",
        identity: str | None = None,
        pre_command: str = "",
        *,
        jump: SSHTunnel | None = None,
        known_hosts: str | None = None,
        config: str | None = None,
        agent: bool = True,
        keepalive_s: float = 15.0,
        connect_timeout_s: float = 15.0,
        max_sessions: int = 8,
    ) -> None:
        if not _is_installed:
            raise ExtraMissing("SSH", "asyncssh", "ssh")
        self.host = host
        self.name = (f"{user}@" if user else "") + host + (f":{port}" if port else "")
        self.job_dir = job_dir
        self._pre_command = pre_command
        self._jump = jump
        self._connect_timeout_s = connect_timeout_s
        self._settings: dict[str, Any] = {
            "username": user if user else (),
            "port": port if port else (),
            "known_hosts": os.path.expanduser(known_hosts) if known_hosts else (),
            "config": (os.path.expanduser(config) if config else None)
            if config is not None
            else (),
            "keepalive_interval": keepalive_s,
            "keepalive_count_max": 3,
            "connect_timeout": connect_timeout_s,
            "login_timeout": connect_timeout_s,
        }
        if identity:
            self._settings["client_keys"] = [os.path.expanduser(identity)]
        if not agent:
            self._settings["agent_path"] = None
        self._lock = asyncio.Lock()
        # The command channel and sftp hold two of them.
        self._sessions = asyncio.Semaphore(max(1, max_sessions - 2))
        self._link: _Link | None = None

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
        process = await link.connection.create_process(_sendable(command), encoding=None)
        async with process:
            process.stdin.write(stdin)
            process.stdin.write_eof()
            stdout, stderr = await asyncio.gather(
                self._read_all(process.stdout), self._read_all(process.stderr)
            )
            await process.wait_closed()
            status = process.returncode
        if status is None:
            # Not an error to asyncssh, and never a success: nobody knows how it ended.
            raise ConnectionLost(self.name, "the connection broke while a command ran")
        return Completed(status, stdout, stderr)

    async def _read_all(self, reader: asyncssh.SSHReader[bytes]) -> bytes:
        data = bytearray()
        while part := await reader.read(1 << 18):
            data += part
            if len(data) > _OUTPUT_LIMIT:
                raise RemoteFailed(self.name, "a command wrote more than 64 MiB")
        return bytes(data)

    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `Tunnel.read`."""
        link = await self._connected()
        try:
            with self._mapped():
                file = await link.opened(path)
                return cast("bytes", await file.read(size, offset))
        except FileNotFoundError:
            return b""

    async def upload(self, local: str, remote: bytes) -> None:
        """Copy a file there by sftp; see `Tunnel.upload`."""
        part = remote + b".part-" + os.urandom(4).hex().encode()
        link = await self._connected()
        try:
            with self._mapped():
                files = await link.files()
                await files.makedirs(
                    os.path.dirname(remote), asyncssh.SFTPAttrs(permissions=0o700), exist_ok=True
                )
                await files.put(os.fsencode(local), part)
                # Plain rename refuses to replace; this is OpenSSH's extension that does not.
                await files.posix_rename(part, remote)
        except FileNotFoundError as error:
            # Of a folder that cannot be made there, such as one in /proc, it is said as well.
            folder = os.fsdecode(os.path.dirname(remote))
            is_here = await anyio.Path(local).exists()
            missing = f"cannot make {folder}" if is_here else f"{local}: no such file"
            raise RemoteFailed(self.name, missing) from error

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
        link = _Link(self, connection)
        try:
            with self._mapped():
                # exec: whatever the login shell is, nothing of it stays but its environment.
                process = await connection.create_process(
                    "exec sh -s", encoding=None, stderr=asyncssh.DEVNULL
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
        such a connect is tried again, at a random moment.
        """
        via = await self._jump.connection() if self._jump else ()
        for attempt in range(_CONNECTS):
            try:
                return await self._connect_once(via)
            except ConnectionLost as error:
                cause = error.__cause__
                dropped = isinstance(cause, (asyncssh.ConnectionLost, ConnectionResetError))
                if not dropped or attempt == _CONNECTS - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.1 * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Return the connection that this tunnel uses, connecting first if there is none."""
        return (await self._connected()).connection

    async def _connect_once(self, via: Any) -> asyncssh.SSHClientConnection:
        options = None
        try:
            with self._mapped():
                options = await asyncssh.SSHClientConnectionOptions.construct(
                    host=self.host, tunnel=via, **self._settings
                )
                settings = dict(self._settings)
                if options.known_hosts is None:
                    # `UserKnownHostsFile none` in a configuration would trust anybody.
                    settings["known_hosts"] = b""
                return await asyncssh.connect(self.host, tunnel=via, **settings)
        except FileNotFoundError as error:
            # What else a login reads may be missing; `identity` may not.
            name = getattr(error.__cause__, "filename", None) or "a key"
            raise LoginRefused(self.name, f"there is no file {os.fsdecode(name)!r}") from error
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            assert options is not None
            raise await self._about_key(options, via, error) from error

    async def _about_key(
        self, options: asyncssh.SSHClientConnectionOptions, via: Any, error: Exception
    ) -> RunbusError:
        """Tell a changed key from an unknown one, with the fingerprint of what was shown."""
        host, port = options.host or self.host, options.port or 22
        known = options.known_hosts or _default_known_hosts()
        with suppress(Exception):
            keys = asyncssh.match_known_hosts(known, host, "", port)
            shown = await asyncssh.get_server_host_key(host, port, tunnel=via, config=None)
            if shown is None:
                return ConnectionLost(self.name, str(error))
            told = f"it shows {shown.get_algorithm()} {shown.get_fingerprint()}"
            if keys[0]:
                expected = ", ".join(key.get_fingerprint() for key in keys[0])
                return HostKeyRefused(self.name, f"{told}, but {expected} was known")
            return HostKeyUnknown(self.name, told)
        # Too careful rather than too trusting where nothing can be found out.
        return HostKeyRefused(self.name, str(error))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Turn what asyncssh and the operating system raise into errors of ours, once."""
        try:
            yield
        except (RunbusError, asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
            raise
        except (asyncssh.Error, OSError, ValueError) as error:
            alive = self._link is not None and self._link.is_alive
            raise _translated(error, self.name, alive=alive) from error


class _Link:
    """One connection, with its command channel and its files."""

    def __init__(self, tunnel: SSHTunnel, connection: asyncssh.SSHClientConnection) -> None:
        self._tunnel = tunnel
        self.connection = connection
        self.channel: CommandChannel
        self._second: asyncssh.SSHClientConnection | None = None
        self._files: asyncssh.SFTPClient | None = None
        self._lock = asyncio.Lock()
        self._opened: OrderedDict[bytes, asyncssh.SFTPClientFile] = OrderedDict()

    @property
    def is_alive(self) -> bool:
        return not self.connection.is_closed() and self.channel.is_open

    async def files(self) -> asyncssh.SFTPClient:
        """Return the sftp client, made on first use."""
        async with self._lock:
            if self._files is None or (self._second and self._second.is_closed()):
                self._opened.clear()
                try:
                    self._files = await self.connection.start_sftp_client()
                except asyncssh.ChannelOpenError:
                    if not self.is_alive:
                        raise
                    # MaxSessions 1: the command channel is all that one connection gets.
                    self._second = await self._tunnel.connect()
                    self._files = await self._second.start_sftp_client()
            return self._files

    async def opened(self, path: bytes) -> asyncssh.SFTPClientFile:
        """Return a file that is kept open, so that to follow it costs one round trip a look."""
        files = await self.files()
        if path in self._opened:
            self._opened.move_to_end(path)
            return self._opened[path]
        file = await files.open(path, "rb", encoding=None)
        # A folder or a pipe in a log's place: nothing to follow, and nothing to hang on.
        attributes = await file.stat()
        if attributes.permissions is not None and not stat.S_ISREG(attributes.permissions):
            await file.close()
            raise RemoteFailed(self._tunnel.name, "not a regular file")
        if path in self._opened:
            await file.close()
        else:
            self._opened[path] = file
        while len(self._opened) > _OPEN_FILES:
            _, oldest = self._opened.popitem(last=False)
            await oldest.close()
        return self._opened.get(path, file)

    async def close(self) -> None:
        """Close everything, within a few seconds."""
        if hasattr(self, "channel"):
            await self.channel.close()
        for connection in (self.connection, self._second):
            if connection is None:
                continue
            connection.close()
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await connection.wait_closed()
            except (TimeoutError, OSError, asyncssh.Error):
                connection.abort()


def _sendable(command: str) -> str:
    """Return a command so that asyncssh, which sends UTF-8 only, can send any bytes in it."""
    data = os.fsencode(command)
    try:
        return data.decode()
    except UnicodeDecodeError:
        octal = "".join(f"\\0{byte:03o}" for byte in data)
        return f"eval \"$(printf %b '{octal}')\""


def _default_known_hosts() -> Any:
    path = os.path.expanduser("~/.ssh/known_hosts")
    return path if os.path.isfile(path) else b""


def _translated(error: Exception, host: str, *, alive: bool) -> Exception:
    """Return what an error means in our words.

    Args:
        error: What asyncssh or the operating system raised.
        host: What the machine is called.
        alive: Whether there is still a connection to it.
    """
    reason = str(getattr(error, "reason", "") or error).lower() or type(error).__name__
    for kinds, ours in _meanings():
        if isinstance(error, kinds):
            return ours(host, reason)
    if isinstance(error, (asyncssh.SFTPNoSuchFile, FileNotFoundError)):
        return FileNotFoundError(reason)
    if isinstance(error, (asyncssh.ConfigParseError, ValueError)):
        return UsageError(f"the SSH settings of {host} cannot be used: {error}")
    if isinstance(error, asyncssh.ChannelOpenError) and alive:
        # The machine is there and says no: too many sessions, or nothing listens at that port.
        return RemoteFailed(host, reason)
    return ConnectionLost(host, "no answer in time" if isinstance(error, TimeoutError) else reason)


def _meanings() -> tuple[tuple[tuple[type[Exception], ...], Callable[[str, str], HostError]], ...]:
    """Return what an error is, whatever else is known. The first that fits holds."""
    return (
        ((asyncssh.PermissionDenied, asyncssh.KeyImportError), LoginRefused),
        ((asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection), ConnectionLost),
        (
            (asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure, asyncssh.ProcessError),
            RemoteFailed,
        ),
    )
