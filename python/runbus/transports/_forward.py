"""A local port that leads somewhere else, whatever leads there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from runbus.abc import Forward
from runbus.errors import ForwardFailed, RunbusError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runbus.transports._channel import Reader

__all__ = ["Dialled", "forwarded"]

_BLOCK = 1 << 16


class FarWriter(Protocol):
    """The sending half of a connection to the far end."""

    def write(self, data: bytes, /) -> object:
        """Take bytes, to be sent."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...

    def write_eof(self) -> None:
        """Send the end."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


Dialled = tuple["Reader", "FarWriter"]


@asynccontextmanager
async def forwarded(
    name: str, dial: Callable[[], Awaitable[Dialled]], local_port: int
) -> AsyncIterator[Forward]:
    """Listen on a port of 127.0.0.1 and join each connection to one that `dial` makes."""
    port = _Port(name, dial)
    server = await asyncio.start_server(port.join, "127.0.0.1", local_port)
    port.port = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        await port.hang_up()


class _Port(Forward):
    def __init__(self, name: str, dial: Callable[[], Awaitable[Dialled]]) -> None:
        self._name = name
        self._dial = dial
        self._joined: set[asyncio.Task[object]] = set()
        self.port = 0

    async def check(self, timeout_s: float = 5.0) -> None:
        """Reach through to the far end once; see `Forward.check`."""
        try:
            async with asyncio.timeout(timeout_s):
                _, writer = await self._dial()
        except TimeoutError:
            raise ForwardFailed(self._name, f"no answer for {timeout_s:g} s") from None
        writer.close()

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to the local port until both sides are done."""
        task = asyncio.current_task()
        assert task is not None
        self._joined.add(task)
        try:
            far_reader, far_writer = await self._dial()
            try:
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            finally:
                far_writer.close()
        except (RunbusError, OSError):
            # Who connected sees the end; `check` tells the reason.
            pass
        except asyncio.CancelledError:
            # Only `hang_up` cancels this; asyncio would log a traceback.
            pass
        finally:
            writer.close()
            self._joined.discard(task)

    async def hang_up(self) -> None:
        """End every connection."""
        joined = list(self._joined)
        for task in joined:
            task.cancel()
        await asyncio.gather(*joined, return_exceptions=True)


async def _copy(reader: Reader, writer: FarWriter) -> None:
    while data := await reader.read(_BLOCK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
