"""Reading traces: the events in order, and what caused what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus import codec
from runbus.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TracedEvent", "TracedHandler", "causes", "mentions", "read_trace"]


class TracedHandler(NamedTuple):
    """One call of a handler.

    Attributes:
        plugin: Whose.
        handler: Its name.
        verdict: `ok`, `skipped`, `cancelled`, or `error: ` and the error.
        took_ns: How long it took, in nanoseconds.
    """

    plugin: str
    handler: str
    verdict: str
    took_ns: int


class TracedEvent(NamedTuple):
    """One event of a trace.

    Attributes:
        seq: Its number.
        parent: Number of the event whose handler caused it; 0 if none did.
        mono_ns: When it was dispatched, by the monotonic clock of its process, in nanoseconds.
        time_ns: The same by the wall clock, since the Unix epoch.
        origin: The plugin whose handler caused it; empty if none did.
        type: The tag of its class.
        event: Its fields and tag; for streams, their size and digest.
        status: `ok`, `error`, `cancelled` or `dropped`; empty if the process ended before.
        handlers: The calls of its handlers, in order.
    """

    seq: int
    parent: int
    mono_ns: int
    time_ns: int
    origin: str
    type: str
    event: dict[str, Any]
    status: str
    handlers: tuple[TracedHandler, ...]


def read_trace(path: str | os.PathLike[str]) -> list[TracedEvent]:
    """Return the events of a trace in the order of their numbers.

    A last line that was cut short by a crash is skipped. Where a trace was extended by several
    processes, only the last process counts.

    Raises:
        TraceError: The file cannot be read, or another line in it is no record of a trace.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise TraceError(name, error.strerror or str(error)) from error
    found: dict[int, TracedEvent] = {}
    whole = lines[:-1]
    for number, line in enumerate(whole, 1):
        if not line:
            found.clear()  # where a process began to extend the trace
            continue
        try:
            record = codec.decode_json(line, dict[str, Any])
            note(found, record)
        except (codec.DecodeError, KeyError, TypeError) as error:
            # A crash may tear the last line before a process extends the trace, too.
            if number < len(whole) and whole[number] == b"":
                continue
            raise TraceError(name, f"line {number} is no record of a trace: {error}") from error
    return [found[seq] for seq in sorted(found)]


def note(found: dict[int, TracedEvent], record: dict[str, Any]) -> None:
    """Add one record to the events found so far."""
    seq = record["seq"]
    if record["at"] == "intent":
        event = record["event"]
        found[seq] = TracedEvent(
            seq,
            record["parent"],
            record["mono_ns"],
            record["time_ns"],
            record["origin"],
            event["type"],
            event,
            "",
            (),
        )
    elif seq in found:
        handlers = tuple(TracedHandler(**handler) for handler in record.get("handlers", ()))
        found[seq] = found[seq]._replace(status=record["status"], handlers=handlers)


def causes(events: Iterable[TracedEvent], seq: int) -> list[TracedEvent]:
    """Return the chain of events that led to one, the first cause first, the event itself last.

    Raises:
        KeyError: No event has that number.
    """
    by_seq = {event.seq: event for event in events}
    chain = [by_seq[seq]]
    while chain[-1].parent in by_seq:
        chain.append(by_seq[chain[-1].parent])
    return chain[::-1]


def mentions(events: Iterable[TracedEvent], text: str) -> list[TracedEvent]:
    """Return the events one of whose fields is `text`, such as the id of a run."""
    return [event for event in events if text in event.event.values()]
