"""One long-lived shell, asked one question after the other."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Protocol

from runbus.errors import ConnectionLost, RemoteFailed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CommandChannel", "Frames"]

REPLY_LIMIT = 64 << 20
"""A reply that is longer, in bytes, is no reply of ours."""

_WORD = b"runbus"
"""What a shell is asked to print before it is believed anything."""

_WAITING = 256
"""How many questions may wait for their answers."""


class Reader(Protocol):
    """What a shell prints."""

    async def read(self, n: int, /) -> bytes:
        """Return what is there, at most `n` bytes; nothing at the end."""
        ...


class Writer(Protocol):
    """What a shell reads."""

    def write(self, data: bytes, /) -> object:
        """Take bytes, to be sent."""
        ...


class Frames:
    """Cuts what a shell prints into replies.

    A reply is any bytes, a line break, the mark, a blank, the exit status, a line break. The mark
    is 128 random bits that only we and the shell's own memory know, so no output can hold it.

    Args:
        mark: The mark.
    """

    def __init__(self, mark: bytes) -> None:
        self._end = b"\n" + mark + b" "
        self._data = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the replies that `data` completes: status and bytes each.

        Raises:
            ValueError: What is there is too long to become a reply.
        """
        self._data += data
        replies: list[tuple[int, bytes]] = []
        while (end := self._data.find(self._end, self._searched)) >= 0:
            line_end = self._data.find(b"\n", end + len(self._end))
            if line_end < 0:
                self._searched = end
                return replies
            status = int(self._data[end + len(self._end) : line_end])
            replies.append((status, bytes(self._data[:end])))
            del self._data[: line_end + 1]
            self._searched = 0
        # The end may have come in part: search these few bytes again.
        self._searched = max(0, len(self._data) - len(self._end))
        if len(self._data) > REPLY_LIMIT:
            raise ValueError("a reply of more than 64 MiB")
        return replies


class _Question:
    """What a shell was asked.

    Attributes:
        timeout_s: How long its answer may take.
        answer: The status and what was printed.
        asked_at: Since when the shell has been at it, by the clock of the loop; 0 while it is at
            one before.
    """

    __slots__ = ("answer", "asked_at", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.answer: asyncio.Future[tuple[int, bytes]] = asyncio.Future()
        self.asked_at = 0.0


class CommandChannel:
    """Sends shell code to `sh -s` and returns what it prints, in order.

    Args:
        host: What the machine is called in errors.
        reader: The shell's output.
        writer: The shell's input.
        on_loss: Called once when the channel can no longer be used, unless it is closed before.
    """

    def __init__(
        self, host: str, reader: Reader, writer: Writer, on_loss: Callable[[], None]
    ) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._on_loss = on_loss
        self._mark = os.urandom(16).hex().encode()
        self._waiting: deque[_Question] = deque()
        self._room = asyncio.Semaphore(_WAITING)
        self._error: ConnectionLost | None = None
        self._pump_task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._error is None

    async def start(self, prelude: bytes, timeout_s: float) -> None:
        """Begin, and wait for the shell's first answer.

        Args:
            prelude: Shell code to run first, once.
            timeout_s: How long the answer may take.

        Raises:
            ConnectionLost: There was none.
            RemoteFailed: It is not what the shell was told to say.
        """
        self._pump_task = asyncio.create_task(self._pump(), name=f"answers of {self._host}")
        # What a login script prints before is part of the first answer, which nobody reads. The
        # mark is sent in two halves, so that what a terminal echoes does not look like an answer.
        half = len(self._mark) // 2
        first, second = self._mark[:half], self._mark[half:]
        self._writer.write(
            b"rb_done() { printf '\\n%s%s %d\\n' "
            + first + b" " + second + b' "$?"; }\n' + prelude + b"\n"
        )  # fmt: skip
        await self.call(b":", timeout_s)
        _, answer = await self.call(b"printf %s " + _WORD, timeout_s)
        if answer != _WORD:
            said = answer.decode("utf-8", "backslashreplace")[:60]
            self._fail("its shell cannot be used")
            raise RemoteFailed(
                self._host,
                f"its shell answers {said!r} to a command that prints {_WORD.decode()!r}: "
                "a terminal, or a command that is forced there, comes between",
            )

    async def call(self, script: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Run shell code; see `Tunnel.call`.

        Args:
            script: The code.
            timeout_s: How long the answer may take once those before are there.

        Raises:
            ConnectionLost: The channel was lost, or did not answer in time and is given up.
        """
        async with self._room:
            if self._error is not None:
                raise self._error
            question = _Question(timeout_s)
            self._waiting.append(question)
            self._turn_to_first()
            try:
                # What runs must not read the questions that come after it.
                self._writer.write(b"{\n" + script + b"\n} </dev/null\nrb_done\n")
            except OSError as error:
                self._fail(str(error))
            return await self._answered(question)

    async def _answered(self, question: _Question) -> tuple[int, bytes]:
        """Wait for an answer, as long as the shell may take for what it is at."""
        loop = asyncio.get_running_loop()
        answer = question.answer
        try:
            while not answer.done():
                first = self._waiting[0]
                left_s = first.asked_at + first.timeout_s - loop.time()
                if left_s > 0:
                    await asyncio.wait([answer], timeout=left_s)
                else:
                    # Whatever is asked next would get this answer, or none: the shell is stuck.
                    self._fail(f"no answer for {first.timeout_s:g} s")
            return answer.result()
        finally:
            if not answer.cancel():
                answer.exception()  # that it failed as this was cancelled is not missed

    def _turn_to_first(self) -> None:
        """Note since when the shell has been at the question that waits longest."""
        if self._waiting and not self._waiting[0].asked_at:
            self._waiting[0].asked_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Stop listening; who still waits gets `ConnectionLost`."""
        self._on_loss = lambda: None
        self._fail("it was closed")
        if self._pump_task is not None:
            self._pump_task.cancel()
            await asyncio.gather(self._pump_task, return_exceptions=True)

    async def _pump(self) -> None:
        frames = Frames(self._mark)
        reason = "the shell ended"
        try:
            while data := await self._reader.read(1 << 16):
                for reply in frames.feed(data):
                    self._answer(reply)
        except Exception as error:
            # Whatever a library or a stranger on the line does: it ends here.
            reason = str(error) or type(error).__name__
        self._fail(reason)

    def _answer(self, reply: tuple[int, bytes]) -> None:
        answer = self._waiting.popleft().answer
        self._turn_to_first()
        if not answer.done():
            answer.set_result(reply)

    def _fail(self, reason: str) -> None:
        if self._error is not None:
            return
        self._error = ConnectionLost(self._host, reason)
        for one in self._waiting:
            if not one.answer.done():
                one.answer.set_exception(ConnectionLost(self._host, reason))
        self._waiting.clear()
        self._on_loss()
