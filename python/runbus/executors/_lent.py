"""One connection to a machine, lent to every executor that reaches it in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.abc import Completed, Forward, Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["TunnelPool"]

_Way = tuple[str, str, str | None]


class TunnelPool:
    """Lends tunnels. One is made when it is first asked for, and closed with the last of its users.

    Args:
        make: Makes a tunnel to a machine that is given as text, for a job folder and a key.
    """

    def __init__(self, make: Callable[[str, str, str | None], Tunnel]) -> None:
        self._make = make
        self._tunnels: dict[_Way, tuple[Tunnel, set[_Lent]]] = {}

    def to(self, host: str, job_dir: str, identity: str | None) -> Tunnel:
        """Return a tunnel to a machine; closing it leaves those alone who have another one.

        Raises:
            UsageError: The text names no machine.
            ExtraMissing: It needs a package that is not installed.
        """
        way = host, job_dir, identity
        if way not in self._tunnels:
            self._tunnels[way] = self._make(*way), set()
        tunnel, users = self._tunnels[way]
        lent = _Lent(tunnel, lambda one: self._return(way, one))
        users.add(lent)
        return lent

    def _return(self, way: _Way, lent: _Lent) -> bool:
        """Take one back; return whether it was the last."""
        _, users = self._tunnels.get(way, (None, set()))
        if lent not in users:
            return False
        users.remove(lent)
        if users:
            return False
        del self._tunnels[way]
        return True


class _Lent(Tunnel):
    """A tunnel that others may have, too."""

    def __init__(self, tunnel: Tunnel, give_back: Callable[[_Lent], bool]) -> None:
        self.name = tunnel.name
        self.job_dir = tunnel.job_dir
        self._tunnel = tunnel
        self._give_back = give_back

    @property
    def way(self) -> Hashable:
        return self._tunnel.way

    async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
        return await self._tunnel.call(script, timeout_s=timeout_s)

    async def run(
        self, argv: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        return await self._tunnel.run(argv, stdin=stdin, timeout_s=timeout_s)

    async def check(self) -> None:
        await self._tunnel.check()

    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        return await self._tunnel.read(path, offset, size)

    async def upload(self, local: str, remote: bytes) -> None:
        await self._tunnel.upload(local, remote)

    def forward(
        self, port: int, *, host: str = "127.0.0.1", local_port: int = 0
    ) -> AbstractAsyncContextManager[Forward]:
        return self._tunnel.forward(port, host=host, local_port=local_port)

    async def close(self) -> None:
        if self._give_back(self):
            await self._tunnel.close()
