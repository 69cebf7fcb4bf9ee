"""The port of whatever reaches a machine that has a POSIX shell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from runbus.abc._made import Portable

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

__all__ = ["Completed", "Forward", "Tunnel"]


class Completed(NamedTuple):
    """How a command ended.

    Attributes:
        exit_status: Its exit status; negative for the signal that ended it.
        stdout: What it wrote, never decoded.
        stderr: What it wrote to stderr.
    """

    exit_status: int
    stdout: bytes
    stderr: bytes


class Forward(ABC):
    """A port of this machine that leads to one behind the tunnel.

    Attributes:
        port: The local port, on 127.0.0.1.
    """

    port: int

    @abstractmethod
    async def check(self, timeout_s: float = 5.0) -> None:
        """Reach through to the far end once.

        Raises:
            ForwardFailed: Nothing answers there.
            ConnectionLost: The tunnel itself is down.
        """


class Tunnel(Portable, ABC):
    """Reaches one machine: commands, files and ports. Connects on first use, and again when lost.

    All methods may be called from several tasks. All but `close` raise

    - `ConnectionLost`: there is no connection, or it broke. What was asked may have been done.
    - `HostKeyUnknown`, `HostKeyRefused`, `LoginRefused`: trying again will not help.

    Attributes:
        name: What the machine is called in records and messages.
        job_dir: The folder on it under which everything of ours lies; `~` is the login's home.
    """

    name: str
    job_dir: str

    @property
    def way(self) -> Hashable:
        """What is the same for all tunnels that lead to the same login of the same machine.

        Who asks there what has nothing to do with `job_dir`, asks for all of them. Of a tunnel
        that says nothing else nobody knows: it has a way of its own.
        """
        return id(self)

    @abstractmethod
    async def call(self, script: bytes, *, timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Run shell code in the machine's one long-lived shell, after what was asked before.

        For short questions: calls do not overlap. The code must be whole commands that change
        nothing about the shell itself. Cancelling it does not stop the code. Its time begins when
        the shell comes to it.

        Returns:
            The status of the last command, and everything written to stdout.
        """

    @abstractmethod
    async def run(
        self, argv: Sequence[str | bytes], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run one command in a channel of its own, beside others.

        Cancelling it leaves the command running; so does a connection that is lost.

        Raises:
            RemoteFailed: It wrote more than 64 MiB, or the machine opens no more channels.
        """

    @abstractmethod
    async def check(self) -> None:
        """See that both commands and files work, as far as that can be told without writing.

        Raises:
            RemoteFailed: One of them does not, and waiting will not help.
        """

    @abstractmethod
    async def read(self, path: bytes, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of a file; fewer at its end, none if it does not exist.

        Raises:
            RemoteFailed: It cannot be read.
        """

    @abstractmethod
    async def upload(self, local: str, remote: bytes) -> None:
        """Copy a file there; it appears whole, by rename.

        Cancelling it leaves at most a part under another name.

        Raises:
            RemoteFailed: It cannot be written.
        """

    @abstractmethod
    def forward(
        self, port: int, *, host: str = "127.0.0.1", local_port: int = 0
    ) -> AbstractAsyncContextManager[Forward]:
        """Lead a local port to `host:port` as that machine sees it, for the length of the block.

        The port stays when the connection is lost, and works again when it is back.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give everything back within a few seconds; jobs continue. Safe to repeat."""

    async def __aenter__(self) -> Self:
        """Return this tunnel; nothing is connected yet."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()
