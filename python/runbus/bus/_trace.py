"""The trace: every event before its dispatch and every outcome after it, in a file of JSON lines.

A crash leaves an intent without an outcome, so the last line tells what was going on. Lines are
gathered and written every half second, after errors, and when the kernel changes its phase. Each
has a checksum, and says which writer it is from: a leader that stood still and was replaced may
wake up and write on, beside the one that replaced it.
"""

from __future__ import annotations

import logging
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from runbus import codec
from runbus._lines import LineFile
from runbus.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus._taps import HandlerOutcome
    from runbus.bus._timers import TimerHandle, Timers

__all__ = ["TraceWriter"]

logger = logging.getLogger("runbus.bus")

_FLUSH_EVERY_S = 0.5
_FLUSH_BYTES = 256 * 1024


class TraceWriter:
    """Writes a trace; gives itself up when the file cannot be written.

    Attributes:
        path: The file.
        error: Why it was given up; None while it works.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        timers: Timers,
        *,
        payloads: bool = False,
        on_stop: Callable[[TraceWriter], object] | None = None,
    ) -> None:
        """Create or extend a trace.

        Args:
            path: The file; its last line is cut off if it is torn.
            timers: The clock.
            payloads: Whether to write stream events whole, instead of their size and digest.
            on_stop: Called once if the trace is given up.

        Raises:
            FileUnreadable: It is no regular file, or access is denied.
            OSError: It cannot be made.
        """
        self.path = str(path)
        self.error: Exception | None = None
        self._timers = timers
        self._payloads = payloads
        self._on_stop = on_stop
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: TimerHandle | None = None
        self._file: LineFile | None = LineFile(path)
        self._by = os.urandom(4).hex()
        self._add({"at": "begin", "pid": os.getpid()})

    # -- the tap

    def intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        """Note that an event is about to be dispatched."""
        if self._file is None:
            return
        self._add(
            {
                "at": "intent",
                "seq": seq,
                "parent": parent,
                "mono_ns": self._timers.monotonic_ns(),
                "time_ns": self._timers.time_ns(),
                "origin": origin,
                "event": self._plain(event),
            }
        )

    def outcome(self, seq: int, status: str, handlers: list[HandlerOutcome]) -> None:
        """Note what came of it; an error is written at once."""
        if self._file is None:
            return
        if status == "ok" and not handlers:
            self._add({"at": "outcome", "seq": seq, "status": status})
            return
        called = [
            {"plugin": plugin, "handler": handler, "verdict": verdict, "took_ns": took_ns}
            for plugin, handler, verdict, took_ns in handlers
        ]
        self._add({"at": "outcome", "seq": seq, "status": status, "handlers": called})
        if status != "ok":
            self.flush()

    def _plain(self, event: Event) -> dict[str, Any]:
        if event.kind is not Kind.STREAM or self._payloads:
            return codec.event_to_plain(event)
        try:
            data = codec.encode_event(event)
        except Exception:  # of what no stream should hold, and of its own methods
            return {"type": codec.tag_of(type(event))}
        digest = blake2b(data, digest_size=8).hexdigest()
        return {"type": codec.tag_of(type(event)), "bytes": len(data), "digest": digest}

    # -- the file

    def _add(self, record: dict[str, Any]) -> None:
        record["by"] = self._by
        try:
            line = codec.encode_json(record)
        except (TypeError, ValueError, RecursionError):
            line = codec.encode_json(codec.writable(record))
        self._lines.append(line)
        self._size += len(line)
        if self._size > _FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = self._timers.call_later(_FLUSH_EVERY_S, self._flush_by_timer)

    def _flush_by_timer(self) -> None:
        self._timer = None
        self.flush()

    def flush(self) -> None:
        """Write what was gathered; on failure, give the trace up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._file is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        self._size = 0
        try:
            self._file.append(lines)
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        logger.error("the trace %s is given up: %s", self.path, error)
        self.error = error
        self._close_file()
        if self._on_stop is not None:
            self._on_stop(self)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                logger.warning("the trace %s could not be closed: %s", self.path, error)

    def close(self) -> None:
        """Write what was gathered and close the file; twice is safe."""
        self.flush()
        self._close_file()
