"""This machine as if it were another: the same port as SSH, over a shell of our own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from runbus._home import ENV_ATTEMPT
from runbus.abc import Completed, Forward, Tunnel
from runbus.errors import ConnectionLost, ForwardFailed, RemoteFailed
from runbus.transports._channel import CommandChannel
from runbus.transports._forward import Dialled, forwarded

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["LocalTunnel"]

_OUTPUT_LIMIT = 64 << 20


class LocalTunnel(Tunnel):
    """Reaches this machine, as a login node reaches itself.

    Args:
        job_dir: Under which folder everything of ours lies.
        pre_command: Shell code that runs first, once, and whose environment jobs inherit.
        name: What the machine is called in records and messages.
    """

    def __init__(
        self, job_dir: str = "~/.runbus/remote", *, pre_command: str = "", name: str = "localhost"
    ) -> None:
        self.name = name
        self.job_dir = job_dir
        self._pre_command = pre_command
        self._lock = asyncio.Lock()
        self._channel: CommandChannel | None = None
        self._shell: asyncio.subprocess.Process | None = None

    @property
    def way(self) -> Hashable:
        """This machine, and what is run first there; see `Tunnel.way`."""
        return "", self._pre_command

    async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Run shell code; see `Tunnel.call`."""
        channel = await self._connected()
        return await channel.call(script, timeout_s)

    async def run(
        self, argv: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run one command; see `Tunnel.run`. Cancelled, or when it takes too long, it is killed."""
        pipe = asyncio.subprocess.PIPE
        try:
            with anyio.CancelScope(shield=True):  # cut off in between it would have no owner
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
                )
        except OSError as error:
            raise RemoteFailed(self.name, f"{argv[0]!r}: {error.strerror}".lower()) from error
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await process.communicate(stdin)
        except BaseException as error:
            await _kill(process)
            if isinstance(error, TimeoutError):
                raise ConnectionLost(self.name, f"no answer for {timeout_s:g} s") from None
            raise
        if len(stdout) + len(stderr) > _OUTPUT_LIMIT:
            raise RemoteFailed(self.name, "a command wrote more than 64 MiB")
        assert process.returncode is not None
        return Completed(process.returncode, stdout, stderr)

    async def check(self) -> None:
        """See that the shell answers; see `Tunnel.check`."""
        await self._connected()

    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return bytes of a file; see `Tunnel.read`."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._failed(path, error) from error
        try:
            return os.pread(file, size, offset)
        except OSError as error:
            raise self._failed(path, error) from error
        finally:
            os.close(file)

    async def upload(self, local: str, remote: bytes) -> None:
        """Copy a file; see `Tunnel.upload`."""
        part = remote + b".part-" + os.urandom(4).hex().encode()

        def copy() -> None:
            os.makedirs(os.path.dirname(remote), mode=0o700, exist_ok=True)
            shutil.copyfile(os.fsencode(local), part)
            os.replace(part, remote)

        try:
            await anyio.to_thread.run_sync(copy)
        except OSError as error:
            raise self._failed(remote, error) from error

    def forward(
        self, port: int, *, host: str = "127.0.0.1", local_port: int = 0
    ) -> AbstractAsyncContextManager[Forward]:
        """Lead a local port to another; see `Tunnel.forward`."""

        async def dial() -> Dialled:
            try:
                return await asyncio.open_connection(host, port)
            except OSError as error:
                raise ForwardFailed(self.name, f"{host}:{port}: {error.strerror}") from error

        return forwarded(self.name, dial, local_port)

    async def close(self) -> None:
        """End the shell; see `Tunnel.close`."""
        async with self._lock:
            await self._drop()

    async def _connected(self) -> CommandChannel:
        async with self._lock:
            if self._channel is None:
                await self._drop()
                self._channel = await self._open()
            return self._channel

    async def _open(self) -> CommandChannel:
        pipe = asyncio.subprocess.PIPE
        # Of an attempt that this process may be part of nothing is part that it starts there.
        environment = {k: v for k, v in os.environ.items() if k != ENV_ATTEMPT}
        # In the shell's home, as a login would be.
        with anyio.CancelScope(shield=True):
            self._shell = shell = await asyncio.create_subprocess_exec(
                "sh", "-s", stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True, cwd=os.environ.get("HOME", "/"), env=environment,
            )  # fmt: skip
        assert shell.stdout is not None
        assert shell.stdin is not None
        channel = CommandChannel(self.name, shell.stdout, shell.stdin, self._lost)
        await channel.start(self._pre_command.encode(), 30.0)
        return channel

    def _lost(self) -> None:
        self._channel = None

    async def _drop(self) -> None:
        channel, self._channel = self._channel, None
        shell, self._shell = self._shell, None
        if channel is not None:
            await channel.close()
        if shell is None:
            return
        if shell.stdin is not None:
            shell.stdin.close()
        try:
            async with asyncio.timeout(2.0):
                await shell.wait()
        except TimeoutError:
            # With what it waits for, which holds on to its pipe: its end is told after that.
            if shell.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
            await shell.wait()
        # Its pipe is given back with the end of it, which comes after that of the process; what it
        # left behind may hold on to the pipe.
        if shell.stdout is not None:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(1.0):
                    await shell.stdout.read()

    def _failed(self, path: bytes, error: OSError) -> RemoteFailed:
        shown = path.decode("utf-8", "backslashreplace")
        return RemoteFailed(self.name, f"{shown}: {error.strerror or error}".lower())


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process with what it has started, and take back its pipes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with anyio.CancelScope(shield=True):
        await process.communicate()
