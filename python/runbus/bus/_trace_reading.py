"""Reading traces: the events in order, and what caused what."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec.structs import astuple

from runbus import codec
from runbus._lines import read_lines
from runbus.errors import FileUnreadable, TraceError, os_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Trace",
    "TracedEvent",
    "TracedHandler",
    "causes",
    "mentions",
    "read_trace",
    "read_traces",
]


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


class Trace(list[TracedEvent]):
    """The events of a trace, in the order of their numbers.

    Attributes:
        damage: What of the file was left out, as offset and number of bytes.
    """

    damage: list[tuple[int, int]]


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Return the events of a trace in the order of their numbers.

    A line that is damaged, or was cut short by a crash, is left out, and listed as `damage` of what
    is returned. Where a trace was extended by several processes, only the last process counts.

    Raises:
        TraceError: The file cannot be read, or nothing in it is a record of a trace.
    """
    *before, trace = read_traces(path)
    trace.damage = [damage for one in (*before, trace) for damage in one.damage]
    return trace


def read_traces(path: str | os.PathLike[str]) -> list[Trace]:
    """Return the events of a trace, those of each process that extended it by themselves.

    Returns:
        One trace or more, in the order of the processes.

    Raises:
        TraceError: The file cannot be read, or nothing in it is a record of a trace.
    """
    name = os.fspath(path)
    writers: dict[str | int, dict[int, TracedEvent]] = {}
    damage: list[tuple[int, int]] = []
    records = beginnings = 0
    try:
        for line in read_lines(path, damage):
            records += 1
            record = codec.decode_json(line, _Record)
            beginnings += record.at == "begin"
            # Traces of runbus 0.1 do not say which process a line is from: the latest to begin.
            note(writers.setdefault(record.by or beginnings, {}), record)
    except FileNotFoundError as error:
        raise TraceError(name, os_reason(error)) from error
    except FileUnreadable as error:
        raise TraceError(name, error.reason) from error
    except codec.DecodeError as error:
        # Its checksum fits: it was written like that, by something else.
        raise TraceError(name, f"line {records} is not a record of a trace: {error}") from error
    if damage and not records:
        raise TraceError(name, "line 1 is not a record of a trace, and neither is any other")
    *before, last = writers.values() or [{}]
    traces = []
    for found in (*filter(None, before), last):
        traces.append(Trace(found[seq] for seq in sorted(found)))
        traces[-1].damage = [] if len(traces) > 1 else damage
    return traces


class _Handler(msgspec.Struct):
    plugin: str
    handler: str
    verdict: str
    took_ns: int


class _Record(msgspec.Struct):
    at: Literal["begin", "intent", "outcome"]
    by: str = ""
    seq: int = 0
    parent: int = 0
    mono_ns: int = 0
    time_ns: int = 0
    origin: str = ""
    event: dict[str, Any] = {}
    status: str = ""
    handlers: list[_Handler] = []


def note(found: dict[int, TracedEvent], record: _Record) -> None:
    """Add one record to the events found so far."""
    seq = record.seq
    if record.at == "intent":
        found[seq] = TracedEvent(
            *(seq, record.parent, record.mono_ns, record.time_ns, record.origin),
            *(str(record.event.get("type", "")), record.event, "", ()),
        )
    elif seq in found:
        handlers = tuple(TracedHandler(*astuple(handler)) for handler in record.handlers)
        found[seq] = found[seq]._replace(status=record.status, handlers=handlers)


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
