"""Files on a machine by sftp. Every request has a deadline; a service that fails is begun again."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar, cast

import anyio.to_thread
import asyncssh
from asyncssh.constants import OPEN_REQUEST_SESSION_FAILED

from runbus.errors import ConnectionLost, RemoteFailed
from runbus.transports._ssh_errors import mapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractContextManager

__all__ = ["Files"]

_T = TypeVar("_T")

_QUIET_S = 2.0
"""How long a service may take to greet before it is asked whether it speaks sftp at all."""

_AGAIN_S = 30.0
"""How long a service that could not be started is not tried again."""

_OPEN_FILES = 64
_BLOCK = 32 << 10
"""Bytes that every server takes, and gives, in one request."""
_WRITES = 64
"""Writes on their way at a time."""

_GREETING = b"\0\0\0\x05\x01\0\0\0\x03"
"""The packet that begins a session: version 3."""


class Files:
    """The sftp service of one connection, begun on first use.

    All methods raise `ConnectionLost` if the service cannot be begun or does not answer in time:
    it is then closed, and begun again by the next call, though not within 30 s of a failed start.

    Args:
        host: What the machine is called in errors.
        connection: The connection whose shell is in use.
        connect: Makes another one, for a host that opens one session a connection.
        timeout_s: How long one request may take before the service counts as stuck.
    """

    def __init__(
        self,
        host: str,
        connection: asyncssh.SSHClientConnection,
        connect: Callable[[], Awaitable[asyncssh.SSHClientConnection]],
        timeout_s: float,
    ) -> None:
        self._host = host
        self._connection = connection
        self._connect = connect
        self._timeout_s = timeout_s
        self._second: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._lock = asyncio.Lock()
        self._opened: OrderedDict[bytes, asyncssh.SFTPClientFile] = OrderedDict()
        self._failure: RemoteFailed | None = None
        self._failed_at = 0.0

    async def check(self) -> None:
        """Begin the service, if it has not begun.

        Raises:
            RemoteFailed: The machine has none, or it does not speak sftp.
            ConnectionLost: It does not answer.
        """
        with self._mapped():
            await self._started()

    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of a file, none if it does not exist.

        Raises:
            RemoteFailed: It cannot be read.
        """
        try:
            async with self._operation() as client:
                async with asyncio.timeout(self._timeout_s):
                    file = await self._open(client, path)
                    return await _read_at(file, offset, size)
        except FileNotFoundError:
            return b""

    async def write(self, local: str, remote: bytes, part: bytes) -> None:
        """Copy a file there, by way of `part`; make the folder that it goes to.

        Raises:
            FileNotFoundError: One of the two does not exist.
            OSError: The file here cannot be read.
            RemoteFailed: It cannot be written.
        """
        file = await anyio.to_thread.run_sync(os.open, local, os.O_RDONLY | os.O_CLOEXEC)
        try:
            async with self._operation() as client:
                folder = os.path.dirname(remote)
                private = asyncssh.SFTPAttrs(permissions=0o700)
                await self._timed(client.makedirs(folder, private, exist_ok=True))
                there = await self._timed(client.open(part, "wb", block_size=0))
                await self._copy(file, there)
                await self._timed(there.close())
                # Plain rename refuses to replace; this is OpenSSH's extension that does not.
                await self._timed(client.posix_rename(part, remote))
        finally:
            os.close(file)

    async def remove(self, path: bytes) -> None:
        """Remove a file, if it exists and the service is in use; this never fails."""
        client = self._client
        if client is None:
            return
        with suppress(asyncssh.Error, OSError):
            await self._timed(client.remove(path))

    async def close(self) -> None:
        """Close what belongs to the service alone."""
        self._give_up()
        if self._second is not None:
            self._second.abort()

    async def _copy(self, file: int, there: asyncssh.SFTPClientFile) -> None:
        """Write a file in blocks, many on their way at a time; none outlives this call."""
        offsets = iter(range(0, os.fstat(file).st_size, _BLOCK))

        async def write_blocks() -> None:
            for offset in offsets:
                await self._timed(there.write(os.pread(file, _BLOCK, offset), offset))

        try:
            async with asyncio.TaskGroup() as writing:
                for number in range(_WRITES):
                    writing.create_task(write_blocks(), name=f"upload {number} to {self._host}")
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _timed(self, waiting: Awaitable[_T]) -> _T:
        async with asyncio.timeout(self._timeout_s):
            return await waiting

    @asynccontextmanager
    async def _operation(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """Give the client to one operation; close the service if it is stuck or gone."""
        with self._mapped():
            try:
                client = await self._started()
            except RemoteFailed as error:
                raise ConnectionLost(self._host, error.reason) from error
            try:
                yield client
            except TimeoutError:
                self._give_up()
                reason = f"its sftp has not answered for {self._timeout_s:g} s"
                raise ConnectionLost(self._host, reason) from None
            except (
                asyncssh.SFTPBadMessage, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection
            ):  # fmt: skip
                self._give_up()
                raise

    async def _started(self) -> asyncssh.SFTPClient:
        async with self._lock:
            if self._second is not None and self._second.is_closed():
                self._give_up()
            if self._client is None:
                if self._failure and time.monotonic() - self._failed_at < _AGAIN_S:
                    raise self._failure
                try:
                    self._client = await self._start()
                except RemoteFailed as error:
                    self._failure, self._failed_at = error, time.monotonic()
                    raise
            return self._client

    async def _start(self) -> asyncssh.SFTPClient:
        try:
            return await self._begin(self._connection)
        except asyncssh.ChannelOpenError as error:
            if self._connection.is_closed():
                raise
            if error.code == OPEN_REQUEST_SESSION_FAILED:
                raise RemoteFailed(self._host, "it has no sftp") from error
            # MaxSessions 1: the command channel is all that one connection gets.
            self._second = await self._connect()
            return await self._begin(self._second)

    async def _begin(self, connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
        async def begin() -> asyncssh.SFTPClient:
            return await connection.start_sftp_client()

        starting = asyncio.create_task(begin(), name=f"begin sftp of {self._host}")
        try:
            done, _ = await asyncio.wait({starting}, timeout=_QUIET_S)
            if not done:
                await self._refuse_noise(connection)
            async with asyncio.timeout(self._timeout_s):
                return await starting
        except TimeoutError:
            raise ConnectionLost(self._host, "its sftp does not answer") from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            if connection.is_closed():
                raise
            raise RemoteFailed(self._host, "its sftp ends at once") from error
        except asyncssh.SFTPError as error:
            await self._refuse_noise(connection)
            reason = f"its sftp cannot be used: {error.reason}"
            raise RemoteFailed(self._host, reason) from error
        finally:
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})

    async def _refuse_noise(self, connection: asyncssh.SSHClientConnection) -> None:
        """Look at the first bytes of another session; refuse if they are not sftp's.

        Raises:
            RemoteFailed: They are something else, such as what a login script prints.
        """
        with suppress(asyncssh.ChannelOpenError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_QUIET_S):
                process = await connection.create_process(
                    subsystem="sftp", encoding=None, request_pty=False
                )
                try:
                    process.stdin.write(_GREETING)
                    said = await process.stdout.readexactly(5)
                    if said[:2] != b"\0\0" or said[4] != 2:
                        said += await process.stdout.read(59)
                        shown = said.decode("utf-8", "replace").splitlines()[0]
                        raise RemoteFailed(
                            self._host,
                            f"its sftp says {shown!r} first: a login script there, such as "
                            "~/.bashrc, must print nothing where there is no terminal",
                        )
                finally:
                    process.close()

    async def _open(self, client: asyncssh.SFTPClient, path: bytes) -> asyncssh.SFTPClientFile:
        """Return a file that is kept open, so that to follow it costs one round trip a look."""
        if path in self._opened:
            self._opened.move_to_end(path)
            return self._opened[path]
        # Without asyncssh's own blocks: what they begin outlives a call that is given up.
        file = await client.open(path, "rb", encoding=None, block_size=0)
        # A folder or a pipe in a log's place: nothing to follow, and nothing to hang on.
        attributes = await file.stat()
        if attributes.permissions is not None and not stat.S_ISREG(attributes.permissions):
            await file.close()
            raise RemoteFailed(self._host, "not a regular file")
        if path in self._opened or client is not self._client:
            await file.close()
        else:
            self._opened[path] = file
        while len(self._opened) > _OPEN_FILES:
            _, oldest = self._opened.popitem(last=False)
            await oldest.close()
        return self._opened.get(path, file)

    def _give_up(self) -> None:
        client, self._client = self._client, None
        self._opened.clear()
        if client is not None:
            client.exit()

    def _mapped(self) -> AbstractContextManager[None]:
        return mapped(self._host, lambda: not self._connection.is_closed())


async def _read_at(file: asyncssh.SFTPClientFile, offset: int, size: int) -> bytes:
    """Read a stretch of a file in blocks, all on their way at a time; it ends at a short one."""
    if size <= _BLOCK:
        return cast("bytes", await file.read(size, offset))
    starts = range(offset, offset + size, _BLOCK)
    try:
        async with asyncio.TaskGroup() as reading:
            blocks = [
                reading.create_task(file.read(min(_BLOCK, offset + size - start), start))
                for start in starts
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    data = bytearray()
    for block in blocks:
        part = cast("bytes", block.result())
        data += part
        if len(part) < _BLOCK:
            break
    return bytes(data)
