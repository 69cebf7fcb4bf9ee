"""A file for the events that a mailbox has no room for, to be read and sent later."""

from __future__ import annotations

import base64
import logging
import os
from typing import TYPE_CHECKING

import msgspec

from runbus import codec
from runbus._lines import LineFile, read_lines
from runbus.errors import FileUnreadable, TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.events import Event

__all__ = ["SpillFile"]

logger = logging.getLogger("runbus.bus")


class SpillFile:
    """Keeps events on disk, in order; what `spill=` of a stream takes.

        spilled = SpillFile("tracker.spill")
        async with bus.stream(MetricBatch, overflow="block", spill=spilled) as stream: ...
        for event in spilled.take(): ...

    An event is one `write` to a local file: it survives the death of the process, and costs the
    publisher microseconds. Each has a checksum.

    Args:
        path: The file; it is made when the first event comes, and continued if it is there.

    Attributes:
        damage: What the last `take` left out, as offset and number of bytes: events that a crash
            cut short, or that were damaged since.
    """

    __slots__ = ("_file", "damage", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.damage: list[tuple[int, int]] = []
        self._file: LineFile | None = None

    def __call__(self, event: Event) -> None:
        """Append an event.

        Raises:
            FileUnreadable: The path is not that of a regular file.
            OSError: It could not be written whole; the file is as it was before.
        """
        if self._file is None:
            self._file = LineFile(self.path)
        self._file.append([b'{"event":"%b"}' % base64.b64encode(codec.encode_event(event))])

    def take(self) -> Iterator[Event]:
        """Yield the events, the oldest first, and empty the file once the last was taken.

        What is damaged is left out, counted in `damage`, and reported to the logger `runbus.bus`.

        Raises:
            TraceError: The file cannot be read, or holds an event of an unknown class.
        """
        self.damage = []
        try:
            for line in read_lines(self.path, self.damage):
                yield codec.decode_event(codec.decode_json(line, _Spilled).event)
        except FileNotFoundError:
            return
        except FileUnreadable as error:
            raise TraceError(self.path, error.reason) from error
        except codec.DecodeError as error:
            raise TraceError(self.path, f"it holds no spilled event: {error}") from error
        if self.damage:
            lost = sum(length for _, length in self.damage)
            logger.warning("%s: %d bytes of it are damaged and left out", self.path, lost)
        os.truncate(self.path, 0)

    def close(self) -> None:
        """Give the file back; safe to repeat."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Spilled(msgspec.Struct):
    event: bytes
