"""The lines that jobs write, put together from the pieces in which they come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from runbus.events import Lagged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runbus.bus import EventStream
    from runbus.events import LogLines

__all__ = ["InTurn", "JobLines"]


class JobLines:
    r"""Remembers, for each output of each job, a line that is written over and over with `\r`."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], bytes] = {}
        self._states: dict[str, bytes] = {}

    def take(self, event: LogLines) -> list[bytes]:
        r"""Return the lines that are whole by now, without their ends.

        Of a line that was written over with `\r`, as progress bars are, only what was written last
        is one.
        """
        key = event.job, event.source
        data = self._begun.pop(key, b"") + event.data
        lines = data.split(b"\n")
        rest = lines.pop()
        has_returns = b"\r" in data
        if rest.endswith(b"\r"):
            state = _last(rest)
            self._begun[key] = state + b"\r"
            self._states[event.job] = state
        else:
            if has_returns:
                self._states.pop(event.job, None)
            if rest:
                lines.append(rest)
        return [_last(line) for line in lines] if has_returns else lines

    def state(self, job: str) -> bytes:
        """Return what a job's progress bar shows; empty if it has none."""
        return self._states.get(job, b"")


class InTurn:
    """Says what happened to jobs below what they had written by then.

    A fact is reported at once, while the lines before it may still wait in the mailbox of a stream.

    Args:
        stream: The lines.
        say: Called with a job and what happened to it.
    """

    def __init__(self, stream: EventStream[LogLines], say: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._say = say
        self._shown = 0
        self._waiting: deque[tuple[int, str, str]] = deque()

    def tell(self, job: str, text: str) -> None:
        """Say what happened to a job, once all is shown that was emitted before."""
        self._waiting.append((self._stream.statistics().accepted, job, text))
        self._say_what_is_due()

    async def events(self) -> AsyncIterator[LogLines]:
        """Yield the lines; what happened is said between them, and at the end."""
        try:
            async for event in self._stream:
                if isinstance(event, Lagged):
                    self._shown += event.n
                else:
                    yield event
                    self._shown += 1
                self._say_what_is_due()
        finally:
            while self._waiting:
                self._say(*self._waiting.popleft()[1:])

    def _say_what_is_due(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._shown:
            self._say(*self._waiting.popleft()[1:])


def _last(line: bytes) -> bytes:
    """Return what stands in a line after all that was written over it."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]
