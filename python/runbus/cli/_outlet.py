"""Standard error of a process that must not wait for its reader.

A pager that was paged no further, a terminal held by Ctrl-S or gone: a write to it waits for ever,
and with it everything that the event loop was about to do for the jobs. So a thread of its own does
the writing, and what it has no room for is left out and counted. The same thread draws the picture
at the bottom of a terminal, if there is one.
"""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from runbus.cli._printer import redirect_stderr, unescaped
from runbus.cli._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

__all__ = ["Outlet", "Picture", "unblocked_stderr"]

logger = logging.getLogger("runbus.cli")

_LIMIT = 4 << 20
"""So many bytes may wait for a reader."""

_PIECE = 64 << 10

_FRAME_S = 0.1
"""A picture is drawn at most once in it."""

_GATHER_S = 0.01
"""What comes within it is written in one piece: a thread that wakes for each line takes the
interpreter from the loop for each line."""

_MOMENT_S = 0.5
"""A reader that reads at all has read by then."""


class Picture(Protocol):
    """What is drawn at the bottom of a terminal; the methods are called by the outlet's thread."""

    def news(self) -> str:
        """Return whole lines to scroll above the picture, those since the last call."""
        ...

    def lines(self, columns: int, rows: int) -> list[str]:
        """Return the picture's lines, none as wide as the terminal, not as many as its rows."""
        ...


class Outlet:
    """A text stream that never waits; all else of it is the stream's own.

    Args:
        raw: The stream behind it, which has a descriptor.
        limit: How many bytes may wait.
    """

    def __init__(self, raw: TextIO, limit: int = _LIMIT) -> None:
        raw.flush()
        self.raw = raw
        self._file = raw.fileno()
        self._limit = limit
        self._waiting: list[bytes] = []
        self._size = 0
        self._left_out = 0
        self._picture: Picture | None = None
        self._is_last_frame = False
        self._screen = Screen(self._file)
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    @property
    def is_full(self) -> bool:
        """Whether there is little room left, because nobody reads."""
        return self._size >= self._limit // 2

    def write(self, text: str) -> int:
        """Have a text written, or leave it out if too much waits already."""
        data = self._encoded(text)
        with self._changed:
            if self._size + len(data) > self._limit:
                self._left_out += max(1, text.count("\n"))
            else:
                is_first = not self._waiting
                self._add(self._gap() + data)
                if is_first:
                    self._changed.notify_all()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Have lines written."""
        self.write("".join(lines))

    def leave_out(self, lines: int) -> None:
        """Count lines that were not even made, because there is no room."""
        with self._changed:
            self._left_out += lines

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    @contextmanager
    def showing(self, picture: Picture) -> Iterator[None]:
        """Draw a picture below whatever is written, until the block is left; waits for nothing."""
        with self._changed:
            self._picture, self._is_last_frame = picture, False
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._is_last_frame = True
                self._changed.notify_all()

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait until all that waits was read. A signal ends the wait.

        Args:
            timeout_s: How long to wait at most; None for as long as it takes.
        """
        with self._changed:
            self._changed.wait_for(self._is_settled, timeout_s)

    def _is_settled(self) -> bool:
        return not (self._size or self._left_out or self._picture)

    def close(self, timeout_s: float | None = None) -> None:
        """Do as `settle` does, and take no more; safe to repeat."""
        with self._changed:
            self._over.set()
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._has_more():
            is_last = self._is_last_frame or self._over.is_set()
            text, size = self._take()
            picture = self._picture
            text = text if picture is None else self._drawn(picture, text, is_last=is_last)
            try:
                self._send(text)
            except OSError:
                # Nobody can read any more, and nobody can be told.
                pass
            with self._changed:
                self._size -= size
                if is_last and picture is self._picture:
                    self._picture = None
                self._changed.notify_all()

    def _has_more(self) -> bool:
        """Wait for something to write, and gather it; False if there is nothing more to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._over.is_set() or not self._is_settled())
            if self._picture is not None:
                self._changed.wait_for(self._cannot_wait, _FRAME_S)
        if self._picture is None:
            self._over.wait(_GATHER_S)
        return not (self._over.is_set() and self._is_settled())

    def _cannot_wait(self) -> bool:
        return self._over.is_set() or self._is_last_frame

    def _take(self) -> tuple[bytes, int]:
        """Return what waits, and how much of the room it took."""
        with self._changed:
            if not self._waiting:
                self._add(self._gap())
            pieces, self._waiting = self._waiting, []
        data = b"".join(pieces)
        return data, len(data)

    def _drawn(self, picture: Picture, text: bytes, *, is_last: bool) -> bytes:
        """Return what puts some text, and the picture below it, in the place of the one before."""
        columns, rows = self._screen.size()
        lines: list[str] = []
        try:
            text += self._encoded(picture.news())
            if not is_last:
                lines = picture.lines(columns, rows)
        except Exception:
            logger.exception("the jobs' progress is not shown any more")
            self._is_last_frame = True
        if text and not text.endswith(b"\n"):
            text += b"\n"
        before, after = self._screen.change(lines, columns, has_text=bool(text))
        return self._encoded(before) + text + self._encoded(after)

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.raw.encoding or "utf-8", "backslashreplace")

    def _add(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)

    def _gap(self) -> bytes:
        """Return what is shown in the place of what was left out since this was last asked for."""
        count, self._left_out = self._left_out, 0
        return f"… {count:,} lines were left out, which nobody read\n".encode() if count else b""

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._file, rest[:_PIECE]) :]
            except BlockingIOError:
                # Somebody else has made it so that it does not wait.
                select.select([], [self._file], [])


@contextmanager
def unblocked_stderr(has_time: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Let nothing that is written to standard error wait, until the block is left.

    The block gets what waits until all that was written has been read; leaving it does the same.

    Args:
        has_time: Whether that may take as long as it takes; otherwise only a moment.
    """
    stream = unescaped(sys.stderr)
    try:
        outlet = Outlet(stream)
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        # It is closed, or a program's own stream, which has no end that could stand still.
        yield lambda: None
        return
    try:
        with redirect_stderr(cast("TextIO", outlet)):
            yield lambda: outlet.settle(None if has_time() else _MOMENT_S)
    finally:
        outlet.close(None if has_time() else _MOMENT_S)
