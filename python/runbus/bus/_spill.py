"""A file for the events that a mailbox has no room for, to be read and sent later."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from runbus import codec
from runbus.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus.events import Event

__all__ = ["SpillFile"]

_LENGTH = struct.Struct("<I")


class SpillFile:
    """Keeps events on disk, in order; what `spill=` of a stream takes.

        spilled = SpillFile("tracker.spill")
        async with bus.stream(MetricBatch, overflow="block", spill=spilled) as stream: ...
        for event in spilled.take(): ...

    An event is one `write` to a local file: it survives the death of the process, and costs the
    publisher microseconds.

    Args:
        path: The file; it is made when the first event comes, and continued if it is there.
    """

    __slots__ = ("_file", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._file = -1

    def __call__(self, event: Event) -> None:
        """Append an event.

        Raises:
            OSError: It could not be written whole; the file is as it was before.
        """
        if self._file < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
        data = codec.encode_event(event)
        record = _LENGTH.pack(len(data)) + data
        before = os.fstat(self._file).st_size
        if os.write(self._file, record) < len(record):
            os.ftruncate(self._file, before)
            raise OSError(28, os.strerror(28), self.path)

    def take(self) -> Iterator[Event]:
        """Yield the events, the oldest first, and empty the file once the last was taken.

        A last event that a crash cut short is left out.

        Raises:
            TraceError: The file holds something else.
        """
        try:
            with open(self.path, "rb") as file:
                while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                    (length,) = _LENGTH.unpack(head)
                    if len(data := file.read(length)) < length:
                        break
                    yield codec.decode_event(data)
        except FileNotFoundError:
            return
        except codec.DecodeError as error:
            raise TraceError(self.path, f"it holds no spilled event: {error}") from error
        os.truncate(self.path, 0)

    def close(self) -> None:
        """Give the file back; safe to repeat."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
