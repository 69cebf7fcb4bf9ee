"""Bounded mailboxes, one per stream: a queue and one wake-up. `_overflow` has what differs.

All of it is plain synchronous code without an event loop, except that the wake-up is a future.
At every moment, for each mailbox: `accepted == delivered + dropped + pending`.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.bus._causality import CAUSE, Envelope
from runbus.events import Lagged

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

__all__ = ["ItemStatistics", "Mailbox", "StreamStatistics"]

logger = logging.getLogger("runbus.bus")


class ItemStatistics(NamedTuple):
    """What has become of what the events hold, such as the points of a `MetricBatch`.

    Attributes:
        accepted: Items of the events that the mailbox took responsibility for.
        delivered: Of those that were handed to the consumer.
        dropped: Of those that the consumer will never get.
        pending: Of those that wait for the consumer.
    """

    accepted: int
    delivered: int
    dropped: int
    pending: int


class StreamStatistics(NamedTuple):
    """What has become of the events that were offered to a mailbox.

    `accepted == delivered + dropped + pending` at every moment, also after it was closed.

    Attributes:
        accepted: Events that the mailbox took responsibility for.
        delivered: Events that were handed to the consumer.
        dropped: Accepted events that the consumer will never get.
        pending: Accepted events that wait for the consumer.
        superseded: The part of `dropped` that a newer event of the same key replaced.
        spilled: Events that were handed to the spill function instead.
        high_water: The most events that ever waited at once.
        waiting_publishers: How many publishers wait for room.
        refused: Events that a publisher gave up on because the mailbox stayed full; not accepted.
        items: The same law for what the events hold; None if their class has no `__len__`.
    """

    accepted: int
    delivered: int
    dropped: int
    pending: int
    superseded: int
    spilled: int
    high_water: int
    waiting_publishers: int
    refused: int
    items: ItemStatistics | None


class Mailbox:
    """A bounded queue of events for one consumer; the subclasses differ in what happens when full.

    Attributes:
        owner: The subscriber, for messages.
        maxsize: How many events may wait.
        items: What waits; true as long as `take` has something to give.
        waiter: The consumer's future while it waits for the next event.
        consumer: The task that read last.
        sealed: Takes no more events; what waits may still be read.
        closed: As sealed, and nothing waits.
        causal: Whether somebody watches the bus and wants to know what caused what.
        sized: Whether the events have a length, and what they hold is counted, too.
    """

    __slots__ = (
        "__weakref__",
        "_marked_at",
        "_missed",
        "causal",
        "closed",
        "consumer",
        "delivered",
        "delivered_items",
        "dropped",
        "dropped_items",
        "high_water",
        "items",
        "maxsize",
        "owner",
        "refused",
        "sealed",
        "settled",
        "sized",
        "spill",
        "spilled",
        "superseded",
        "waiter",
    )

    items: Any

    def __init__(
        self, owner: str, maxsize: int, spill: Callable[[Any], object] | None = None
    ) -> None:
        self.owner = owner
        self.maxsize = maxsize
        self.spill = spill
        self.items = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.settled: asyncio.Future[None] | None = None
        self.consumer: asyncio.Task[Any] | None = None
        self.sealed = False
        self.closed = False
        self.delivered = 0
        self.dropped = 0
        self.superseded = 0
        self.spilled = 0
        self.refused = 0
        self.sized = False
        self.delivered_items = 0
        self.dropped_items = 0
        self._missed = 0
        self._marked_at = -1
        self.high_water = 0
        self.causal = False

    # -- the publisher's side

    def offer(self, item: Envelope) -> Mailbox | None:
        """Take an event if there is room, or make room; return self only if it must wait."""
        raise NotImplementedError

    def _wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _lose(self, item: Envelope) -> None:
        self._drop(item)
        if self.spill is not None:
            self.divert(item)

    def _drop(self, item: Envelope) -> None:
        self.dropped += 1
        if self.sized:
            self.dropped_items += len(item[0])

    def divert(self, item: Envelope) -> bool:
        """Hand an event to the spill function; return whether that took it."""
        if self.spill is None:
            return False
        try:
            self.spill(item[0])
        except Exception:
            logger.exception("the spill function of %s failed; an event is lost", self.owner)
            return False
        self.spilled += 1
        return True

    # -- the consumer's side

    def take(self) -> Any:
        """Return the next event, or a mark that some were lost; only while `items` is true."""
        if self._missed and self._marked_at != self.delivered:
            return self._mark()
        return self._deliver(self.items.popleft())

    def _deliver(self, item: Envelope) -> Any:
        self.delivered += 1
        event = item[0]
        if self.sized:
            self.delivered_items += len(event)
        if self.causal:
            CAUSE.set(item)
        return event

    def take_all(self) -> list[Any]:
        """Return everything that waits, in order, with at most one mark, at the front."""
        items = self.items
        taken = [item[0] for item in items]
        if not taken:
            return taken
        if self.causal:
            CAUSE.set(items[-1])
        if self.sized:
            self.delivered_items += sum(map(len, taken))
        items.clear()
        if self._missed and self._marked_at != self.delivered:
            self.delivered += len(taken)
            taken.insert(0, self._mark())
            self._marked_at = -1
        else:
            self.delivered += len(taken)
        return taken

    def _mark(self) -> Lagged:
        # Never two marks in a row: a consumer slower than its publisher would see nothing else.
        self._marked_at = self.delivered
        missed, self._missed = self._missed, 0
        return Lagged(missed)

    # -- both

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self.items)

    @property
    def accepted(self) -> int:
        """How many events the mailbox took responsibility for: each is one of the three."""
        return self.delivered + self.dropped + self.pending

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits and the consumer is not busy with an event."""
        return not self.items and (self.waiter is not None or self.closed or not self.delivered)

    def settle(self) -> None:
        """Tell whoever waits for it that the consumer came back with nothing left to read."""
        settled = self.settled
        if settled is not None and not settled.done():
            settled.set_result(None)

    def seal(self) -> None:
        """Take no more events; let the consumer read what waits, then end."""
        self.sealed = True
        self._wake()

    def close(self) -> int:
        """End at once; return how many events were left and are counted as dropped."""
        self.sealed = True
        left = [item for item in self.items if type(item) is tuple]
        self.items.clear()
        self.closed = True
        for item in left:
            self._lose(item)
        self._wake()
        self.settle()
        return len(left)

    def _waiting(self) -> Iterable[Any]:
        """Return what waits: events in their envelopes, and marks."""
        items: Iterable[Any] = self.items
        return items

    def _item_statistics(self) -> ItemStatistics | None:
        if not self.sized:
            return None
        pending = sum(len(item[0]) for item in self._waiting() if type(item) is tuple)
        accepted = self.delivered_items + self.dropped_items + pending
        return ItemStatistics(accepted, self.delivered_items, self.dropped_items, pending)

    def statistics(self) -> StreamStatistics:
        """Return what has become of the events so far."""
        pending = self.pending
        return StreamStatistics(
            self.accepted,
            self.delivered,
            self.dropped,
            pending,
            self.superseded,
            self.spilled,
            self.high_water,
            self.waiting_publishers,
            self.refused,
            self._item_statistics(),
        )

    @property
    def waiting_publishers(self) -> int:
        """How many publishers wait for room."""
        return 0
