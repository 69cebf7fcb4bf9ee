"""Streams: each subscriber has its own bounded mailbox and reads it in its own task."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, next_seq, origin_of
from runbus.bus._overflow import BlockMailbox, Putter, make_mailbox
from runbus.bus._routing import check_event_class
from runbus.bus._state import current_task, get_ident
from runbus.bus._timers import wait_until
from runbus.errors import (
    BackpressureTimeout,
    BusClosed,
    BusError,
    MailboxFull,
    WouldDeadlock,
    WrongKind,
)
from runbus.events import Event, Kind, Lagged, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from types import TracebackType

    from runbus.bus._causality import Envelope
    from runbus.bus._mailbox import Mailbox, StreamStatistics
    from runbus.bus._overflow import Overflow
    from runbus.bus._timers import Timers

__all__ = ["BLOCK_S", "EventStream", "Streams"]

E = TypeVar("E", bound=Event)

BLOCK_S = 5.0

logger = logging.getLogger("runbus.bus")


class EventStream(Generic[E]):
    """Reads the events of one mailbox: `async with` it, then `async for` or `await batch()`.

    Between events there may be a `Lagged(n)`: n events were lost there, because the reader was too
    slow for the size and policy that it chose. Never are there two in a row.
    """

    def __init__(self, bus: Streams, event: type[E], box: Mailbox) -> None:
        self._bus = bus
        self._event = event
        self._box = box
        self._is_open = False

    def open(self) -> EventStream[E]:
        """Begin to receive events; `async with` does it. Twice is safe.

        Raises:
            BusClosed: The stream was closed, or the bus is.
            WrongLoop: This is another thread than that of the bus, or a forked child.
        """
        self._bus.check_thread("stream")
        if self._box.sealed or self._bus.is_closed:
            raise BusClosed("stream", "closed")
        if self._is_open:
            return self
        self._is_open = True
        self._box.causal = self._bus.is_watched
        self._bus.registry.add_box(self._event, self._box)
        return self

    def close(self) -> None:
        """Receive no more; what waits is dropped and counted. Twice is safe."""
        if not self._box.closed:
            self._bus.registry.remove_box(self._event, self._box)
            self._box.close()

    async def __aenter__(self) -> EventStream[E]:
        """Begin to receive events; does not yield to the event loop."""
        return self.open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> EventStream[E]:
        return self

    async def __anext__(self) -> E | Lagged:
        """Return the next event; ends when the stream was closed and read to the end.

        Does not yield to the event loop while events wait. Cancelled, it takes nothing.

        Raises:
            BusError: The stream was not opened.
        """
        box = self._box
        if not box.items and not await self._arrival():
            raise StopAsyncIteration
        if type(box) is BlockMailbox:
            box.consumer = asyncio.current_task()
        item: E | Lagged = box.take()
        return item

    async def batch(self) -> list[E | Lagged]:
        """Wait for at least one event, then return everything that waits, in order.

        Returns an empty list when the stream was closed and read to the end. Cancelled, it takes
        nothing.

        Raises:
            BusError: The stream was not opened.
        """
        box = self._box
        if not box.items and not await self._arrival():
            return []
        if type(box) is BlockMailbox:
            box.consumer = asyncio.current_task()
        return box.take_all()

    async def _arrival(self) -> bool:
        """Wait until there is something to take; return False at the end of the stream."""
        box = self._box
        if not self._is_open and not box.sealed:  # else this would wait for ever
            name = self._event.__name__
            raise BusError(f"the stream of {name} is not open: read it inside `async with`")
        box.consumer = asyncio.current_task()
        while not box.items:
            if box.sealed:
                self.close()
                return False
            if box.waiter is not None and not box.waiter.done():
                raise WouldDeadlock(f"two tasks read the stream of {box.owner}")
            waiter = box.waiter = asyncio.get_running_loop().create_future()
            box.settle()
            try:
                await waiter
            finally:
                if box.waiter is waiter:
                    box.waiter = None
        return True

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._box.closed

    def statistics(self) -> StreamStatistics:
        """Return what has become of the events so far."""
        return self._box.statistics()

    def __repr__(self) -> str:
        return f"<EventStream of {self._event.__name__} for {self._box.owner}>"


class Streams(Calls):
    """The verbs `emit`, `emit_nowait` and `stream`."""

    def __init__(self, timers: Timers | None = None) -> None:
        super().__init__(timers)
        self._blocked: dict[asyncio.Task[Any], list[BlockMailbox]] = {}

    def stream(
        self,
        event: type[E],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[E], Hashable] | None = None,
        spill: Callable[[E], object] | None = None,
        owner: str = "application",
    ) -> EventStream[E]:
        """Return a stream of the events of a class; it receives inside `async with`.

        Args:
            event: The class, a Stream or Notify, or Event for all of them; subclasses count.
            maxsize: How many events may wait, at least 1; with `conflate`, how many keys.
            overflow: What happens when full. `drop_oldest` and `drop_newest` lose events and say
                so; `conflate` keeps the latest event of each key; `block` lets `emit` wait, at
                most 5 seconds. Only streams of a Stream class can block.
            key: For `conflate`: what a newer event must share with an older one to replace it.
            spill: Called with each event that would be lost, to keep it elsewhere; must not block.
            owner: Who reads, for messages.

        Raises:
            ValueError: The size is below 1, the policy is unknown, or a key is missing or too many.
            WrongKind: The class is neither Stream nor Notify.
        """
        check_event_class(event, "stream")
        if event.kind not in (None, Kind.NOTIFY, Kind.STREAM):
            assert event.kind is not None
            raise WrongKind(event.__name__, event.kind.value, "stream", "on")
        if overflow == "block" and event.kind is not Kind.STREAM:
            raise ValueError(
                f"overflow='block' for {event.__name__}: only Stream events may wait for a reader"
            )
        box = make_mailbox(owner, maxsize=maxsize, overflow=overflow, key=key, spill=spill)
        box.sized = hasattr(event, "__len__")
        return EventStream(self, event, box)

    def has_readers(self, event: type[Stream]) -> bool:
        """Whether an event of exactly this class would reach anybody.

        To make no events in vain, if they cost something; `emit` needs no such question.
        """
        return self.registry.has_boxes(event) or self._is_awaited(event)

    async def emit(self, event: Stream) -> None:
        """Put an event into the mailbox of every subscriber.

        Does not yield to the event loop unless a mailbox with policy `block` is full. Then every
        other mailbox has the event already, and this waits for room, at most 5 seconds in all.
        Cancelled while it waits, it leaves the event out of the mailboxes that had no room.

        Raises:
            WrongKind: The event is no Stream.
            BusClosed: The bus is not open.
            WouldDeadlock: The reader of the full mailbox waits for the caller.
            BackpressureTimeout: A mailbox stayed full.
        """
        if get_ident() != self._thread_id or current_task(self._loop) is None:
            self._check_loop("emit")
        route = self._stream_routes.get(type(event))
        if route is None:
            route = self._find_route(event, Kind.STREAM, self._stream_routes)
        item = (event, next_seq())
        full: list[Mailbox] | None = None
        for offer in route.offers:
            box = offer(item)
            if box is not None:
                full = [box] if full is None else [*full, box]
        if self._taps or self._waiters:
            self._note_emit(item)
        if full is not None:
            await self._wait_for_room(full, item)

    def emit_nowait(self, event: Stream) -> None:
        """Put an event into the mailbox of every subscriber, without ever waiting.

        Raises:
            WrongKind: The event is no Stream.
            BusClosed: The bus is not open.
            MailboxFull: A mailbox with policy `block` is full; all others have the event.
        """
        if get_ident() != self._thread_id or current_task(self._loop) is None:
            self._check_loop("emit_nowait")
        route = self._stream_routes.get(type(event))
        if route is None:
            route = self._find_route(event, Kind.STREAM, self._stream_routes)
        item = (event, next_seq())
        full: Mailbox | None = None
        for offer in route.offers:
            box = offer(item)
            if box is not None and not box.divert(item):
                box.refused += 1
                full = box
        if self._taps or self._waiters:
            self._note_emit(item)
        if full is not None:
            raise MailboxFull(full.owner, type(event).__name__, full.pending)

    def _note_emit(self, item: Envelope) -> None:
        event, seq = item
        if self._waiters:
            self._tell_waiters(event)
        if not self._taps:
            return
        before = CAUSE.get()
        parent = before[1] if isinstance(before, tuple) else before.seq if before else 0
        for tap in self._taps:
            try:
                tap.intent(seq, parent, event, origin_of(before))
                tap.outcome(seq, "ok", [])
            except Exception:
                logger.exception("a tap of the bus failed")

    # -- backpressure

    async def _wait_for_room(self, full: list[Any], item: Envelope) -> None:
        task = asyncio.current_task()
        assert task is not None
        boxes: list[BlockMailbox] = full
        self._check_circle(task, boxes)
        loop = asyncio.get_running_loop()
        line = [(box, box.line_up(item, loop.create_future())) for box in boxes]
        self._blocked[task] = boxes
        started = self._now_ns()
        try:
            for _, putter in line:
                left_s = BLOCK_S - (self._now_ns() - started) / 1e9
                await wait_until(putter.future, left_s, self.timers)
        finally:
            del self._blocked[task]
            late = give_up(line)
        refused = [box for box in late if not box.divert(item)]
        for box in refused:
            box.refused += 1
        if refused:
            box = refused[0]
            raise BackpressureTimeout(box.owner, type(item[0]).__name__, box.pending, BLOCK_S)

    def _check_circle(self, task: asyncio.Task[Any], boxes: list[BlockMailbox]) -> None:
        """Refuse a wait that only the waiting task itself could end.

        Raises:
            WouldDeadlock: Following each full mailbox to its reader, and each reader that waits
                itself to the mailboxes it waits for, leads back to `task`.
        """
        path = find_circle(task, boxes, self._blocked)
        if path is not None:
            raise WouldDeadlock(
                "the full mailbox of "
                + ", which waits for the mailbox of ".join(path)
                + " is read by the task that emits"
            )


def give_up(line: list[tuple[BlockMailbox, Putter]]) -> list[BlockMailbox]:
    """Leave every line in which there is no room yet; return those mailboxes."""
    late = []
    for box, putter in line:
        if not putter.admitted and not box.sealed:
            late.append(box)
        box.give_up(putter)
    return late


def find_circle(
    task: asyncio.Task[Any],
    boxes: list[BlockMailbox],
    blocked: dict[asyncio.Task[Any], list[BlockMailbox]],
) -> list[str] | None:
    """Return the owners of the mailboxes on a way from `task` back to itself, or None."""
    ways = [(box, [box.owner]) for box in boxes]
    seen = set()
    while ways:
        box, path = ways.pop()
        if box in seen:
            continue
        seen.add(box)
        if box.consumer is task:
            return path
        if box.consumer is not None:
            ways += [(further, [*path, further.owner]) for further in blocked.get(box.consumer, ())]
    return None
