"""Streams: each subscriber has its own bounded mailbox and reads it in its own task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from runbus.bus._causality import next_seq
from runbus.bus._event_stream import EventStream
from runbus.bus._overflow import make_mailbox
from runbus.bus._routing import APPLICATION, check_event_class
from runbus.bus._state import BusState, current_task, get_ident
from runbus.errors import InvalidOption, MailboxFull, WrongKind
from runbus.events import Event, Kind, Notify, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable

    from runbus.bus._backpressure import Backpressure
    from runbus.bus._mailbox import Item, Mailbox
    from runbus.bus._overflow import Overflow
    from runbus.bus._taps import Taps
    from runbus.bus._waiting import Waits

__all__ = ["Streams", "box_for"]

E = TypeVar("E", bound=Event)
S = TypeVar("S", bound="Stream | Notify")


class Streams:
    """The verbs `emit`, `emit_nowait` and `stream`."""

    def __init__(
        self, state: BusState, taps: Taps, waits: Waits, backpressure: Backpressure
    ) -> None:
        self._state = state
        self._taps = taps
        self._waits = waits
        self._backpressure = backpressure
        # What `emit` uses for every event, one look-up away.
        self._routes = state.stream_routes
        self._watchers = state.watchers

    def stream(
        self,
        event: type[S],
        *,
        maxsize: int = 256,
        overflow: Overflow = "drop_oldest",
        key: Callable[[S], Hashable] | None = None,
        spill: Callable[[S], object] | None = None,
        owner: str = APPLICATION,
    ) -> EventStream[S]:
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
            InvalidOption: The size is no whole number of at least 1, the policy is unknown, or a
                key is missing or too many.
            InvalidHandler: The key or spill function can never work.
            WrongKind: The class is neither Stream nor Notify.
        """
        box = box_for(event, maxsize=maxsize, overflow=overflow, key=key, spill=spill, owner=owner)
        return EventStream(self._state, self._taps, event, box)

    def has_readers(self, *events: type[Event]) -> bool:
        """Whether an event of exactly this class, or of one of several, would reach anybody.

        To make no events in vain, if they cost something; `emit` needs no such question.

        Raises:
            WrongKind: It is not an event class.
        """
        if self._state.registry.reaches(events):
            return True
        return bool(self._waits.present) and any(map(self._waits.awaited, events))

    async def emit(self, event: Stream) -> None:
        """Put an event into the mailbox of every subscriber.

        Does not yield to the event loop unless a mailbox with policy `block` is full. Then every
        other mailbox has the event already, and this waits for room, at most 5 seconds in all.
        Cancelled while it waits, it leaves the event out of the mailboxes that had no room.

        Raises:
            WrongKind: The event is no Stream.
            BusClosed: The bus is not open, or was closed while this waited.
            WouldDeadlock: The reader of the full mailbox waits for the caller.
            BackpressureTimeout: A mailbox stayed full.
        """
        state = self._state
        if get_ident() != state.thread_id or current_task(state.loop) is None:
            state.check_loop("emit")
        try:
            route = self._routes[type(event)]
        except KeyError:
            route = state.find_route(event, Kind.STREAM, self._routes)
        item: Item = event
        if self._watchers:
            item = self._note(event)
        full: list[Any] | None = None
        for offer in route.offers:
            box = offer(item)
            if box is not None:
                full = [box] if full is None else [*full, box]
        if full is not None:
            await self._backpressure.wait_for_room(full, item)

    async def offer(
        self, event: Stream, *, but: Container[Mailbox] = (), at_once: Container[Mailbox] = ()
    ) -> list[Mailbox]:
        """Emit an event that its publisher keeps, and return the mailboxes that did not take it.

        Those are for the publisher to serve with `hand`, from what it keeps.

        Args:
            event: The event.
            but: Mailboxes that are not to get it.
            at_once: Mailboxes that are not waited for if they are full.

        Raises:
            WrongKind: The event is no Stream.
            BusClosed: The bus is not open, or was closed while this waited.
            WouldDeadlock: The reader of a full mailbox waits for the caller.
        """
        self._state.check_loop("emit")
        route = self._state.find_route(event, Kind.STREAM, self._routes)
        item = self._note(event)
        full: list[Any] = [
            box for box in route.boxes if box not in but and box.offer(item) is not None
        ]
        refusing: list[Mailbox] = [box for box in full if box in at_once and not box.divert(item)]
        if patient := [box for box in full if box not in at_once]:
            refusing += await self._backpressure.refusing(patient, item)
        return refusing

    async def hand(self, box: Mailbox, event: Stream) -> bool:
        """Put an event into one mailbox that an `offer` had passed over; return whether it took it.

        Waits at most 5 seconds for room.

        Raises:
            BusClosed: The bus was closed while this waited.
            WouldDeadlock: The reader of the mailbox waits for the caller.
        """
        full: Any = box.offer(event)
        return full is None or not await self._backpressure.refusing([full], event)

    def emit_nowait(self, event: Stream) -> None:
        """Put an event into the mailbox of every subscriber, without ever waiting.

        Raises:
            WrongKind: The event is no Stream.
            BusClosed: The bus is not open.
            MailboxFull: A mailbox with policy `block` is full; all others have the event.
        """
        state = self._state
        if get_ident() != state.thread_id or current_task(state.loop) is None:
            state.check_loop("emit_nowait")
        route = self._routes.get(type(event))
        if route is None:
            route = state.find_route(event, Kind.STREAM, self._routes, "emit_nowait")
        item: Item = event
        if self._watchers:
            item = self._note(event)
        full: Mailbox | None = None
        for offer in route.offers:
            box = offer(item)
            if box is not None and not box.divert(item):
                box.refused += 1
                full = box
        if full is not None:
            raise MailboxFull(full.owner, type(event).__name__, full.pending)

    def _note(self, event: Stream) -> Item:
        """Tell taps and waits of an event; return it with its number if a tap wants to know."""
        if self._waits.present:
            self._waits.tell(event)
        if not self._taps.present:
            return event
        seq = next_seq()
        self._taps.emitted(seq, event)
        return event, seq


def box_for(
    event: type[S],
    *,
    maxsize: int,
    overflow: Overflow,
    key: Callable[[S], Hashable] | None,
    spill: Callable[[S], object] | None,
    owner: str,
) -> Mailbox:
    """Return an empty mailbox for a stream; see `Streams.stream`.

    Raises:
        InvalidOption: An option has no value that makes sense.
        InvalidHandler: The key or spill function can never work.
        WrongKind: The class is neither Stream nor Notify.
    """
    check_event_class(event, "stream")
    if event.kind not in (None, Kind.NOTIFY, Kind.STREAM):
        assert event.kind is not None
        raise WrongKind(event.__name__, event.kind.value, "stream", "on")
    of = f"stream({event.__name__})"
    if overflow == "block" and event.kind is not Kind.STREAM:
        problem, fix = (
            "lets publishers wait, as only Stream events may",
            "choose another policy",
        )
        raise InvalidOption(f"{owner}: {of}", "overflow", "'block'", problem, fix)
    return make_mailbox(
        owner,
        maxsize=maxsize,
        overflow=overflow,
        key=key,
        spill=spill,
        sized=hasattr(event, "__len__"),
        of=of,
    )
