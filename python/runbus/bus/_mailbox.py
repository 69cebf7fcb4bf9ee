"""Bounded mailboxes, one per stream: a queue and one wake-up. `_overflow` has what differs.

All of it is plain synchronous code without an event loop, except that the wake-up is a future.
At every moment, for each mailbox: `accepted == delivered + dropped + spilled + pending`.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from runbus.bus._causality import CAUSE
from runbus.bus._foreign import length_of
from runbus.events import Lagged

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

__all__ = ["Item", "ItemStatistics", "Mailbox", "StreamStatistics", "event_of"]

logger = logging.getLogger("runbus.bus")

Item = Any
"""An event as it lies in a mailbox: bare, or with its number while a tap watches the bus."""


class ItemStatistics(NamedTuple):
    """What has become of what the events hold, such as the points of a `MetricBatch`.

    Attributes:
        accepted: Items of the events that the mailbox took responsibility for.
        delivered: Of those that were handed to the consumer.
        dropped: Of those that nobody will ever get.
        pending: Of those that wait for the consumer.
        spilled: Of those that the spill function took.
    """

    accepted: int
    delivered: int
    dropped: int
    pending: int
    spilled: int


class StreamStatistics(NamedTuple):
    """What has become of the events that were offered to a mailbox.

    `accepted == delivered + dropped + spilled + pending` at every moment, also after it was closed.

    Attributes:
        accepted: Events that the mailbox took responsibility for.
        delivered: Events that were handed to the consumer.
        dropped: Accepted events that nobody will ever get.
        pending: Accepted events that wait for the consumer.
        superseded: The part of `dropped` that a newer event of the same key replaced.
        spilled: Accepted events that the spill function took.
        high_water: The most events that ever waited at once.
        waiting_publishers: How many publishers wait for room.
        refused: Events that a publisher was refused because the mailbox stayed full, or was
            closed while it waited; not accepted.
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
        settled: Resolved when the consumer comes back with nothing left to read.
        consumer: The task that read last.
        opener: The task that opened it for itself to read, as far as that is known.
        sealed: Takes no more events; what waits may still be read.
        closed: As sealed, and nothing waits.
        plain: Whether an event needs nothing but to be handed over: it is not counted by its
            length, and nobody wants to know what it causes.
        quick: Whether what waits first may be taken off `items` and counted, without `take`: the
            reader is known, and nothing is to be said of what it reads.
        sized: Whether the events have a length, and what they hold is counted, too.
    """

    __slots__ = (
        "__weakref__",
        "_marked_at",
        "_missed",
        "closed",
        "consumer",
        "delivered",
        "delivered_items",
        "dropped",
        "dropped_items",
        "high_water",
        "items",
        "maxsize",
        "opener",
        "owner",
        "plain",
        "quick",
        "refused",
        "sealed",
        "settled",
        "sized",
        "spill",
        "spilled",
        "spilled_items",
        "superseded",
        "waiter",
    )

    items: Any
    is_quick: ClassVar[bool] = False
    """Whether a mailbox of this class may be `quick`, if its events are plain."""

    def __init__(
        self,
        owner: str,
        maxsize: int,
        spill: Callable[[Any], object] | None,
        *,
        sized: bool,
    ) -> None:
        self.owner = owner
        self.maxsize = maxsize
        self.spill = spill
        self.sized = sized
        self.plain = not sized
        self.quick = False
        self.items = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.settled: asyncio.Future[None] | None = None
        self.consumer: asyncio.Task[Any] | None = None
        self.opener: asyncio.Task[Any] | None = None
        self.sealed = False
        self.closed = False
        self.delivered = 0
        self.dropped = 0
        self.spilled = 0
        self.superseded = 0
        self.refused = 0
        self.delivered_items = 0
        self.dropped_items = 0
        self.spilled_items = 0
        self._missed = 0
        self._marked_at = -1
        self.high_water = 0

    def note_causes(self) -> None:
        """Tell the consumer's code from now on what caused it: a tap watches the bus."""
        self.plain = self.quick = False

    # -- the publisher's side

    def offer(self, item: Item) -> Mailbox | None:
        """Take an event if there is room, or make room; return self only if it must wait."""
        raise NotImplementedError

    def _wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _lose(self, item: Item) -> None:
        """Spill an accepted event, or count it as dropped."""
        kept = False
        try:
            kept = self.divert(item)
        finally:
            if not kept:
                self._drop(item)

    def _drop(self, item: Item) -> None:
        self.dropped += 1
        if self.sized:
            self.dropped_items += length_of(event_of(item))

    def divert(self, item: Item) -> bool:
        """Hand an event to the spill function and count it as spilled; return whether it took it.

        Nothing that the spill function raises reaches a publisher, who can do nothing about it.
        """
        if self.spill is None:
            return False
        event = event_of(item)
        try:
            kept = self.spill(event)
            if inspect.iscoroutine(kept):
                kept.close()
                raise TypeError("it returned a coroutine; it must not be async")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            logger.exception("the spill function of %s failed; an event is lost", self.owner)
            return False
        self.spilled += 1
        if self.sized:
            self.spilled_items += length_of(event)
        return True

    # -- the consumer's side

    def note_consumer(self, task: asyncio.Task[Any] | None) -> None:
        """Note who reads: once the reading is quick, nobody asks again until that task ends."""
        if task is not self.consumer:
            self._forget_consumer()
            self.consumer = task
            if task is not None:
                task.add_done_callback(self._consumer_ended)
        if self.is_quick and not self._missed:
            self.quick = self.plain

    def _consumer_ended(self, task: asyncio.Task[Any]) -> None:
        self.quick = False

    def _forget_consumer(self) -> None:
        if self.consumer is not None:
            self.consumer.remove_done_callback(self._consumer_ended)

    def take(self) -> Any:
        """Return the next event, or a mark that some were lost; only if something waits."""
        if self._missed and (self._marked_at != self.delivered or not self.items):
            return self._mark()
        self.delivered += 1
        item = self.items.popleft()
        return item if self.plain else self._unwrap(item)

    def _unwrap(self, item: Item) -> Any:
        """Count what an event holds, and make it the cause of what its reader does."""
        event = event_of(item)
        if self.sized:
            self.delivered_items += length_of(event)
        if type(item) is tuple:
            CAUSE.set((event, item[1], self.owner))
        return event

    def take_all(self) -> list[Any]:
        """Return everything that waits, in order, with at most one mark, at the front."""
        items = self.items
        if not items:
            return [self._mark()] if self.owes_mark else []
        taken = list(items) if self.plain else [self._unwrap(item) for item in items]
        items.clear()
        if self._missed and self._marked_at != self.delivered:
            self.delivered += len(taken)
            taken.insert(0, self._mark())
            self._marked_at = -1
        else:
            self.delivered += len(taken)
        return taken

    @property
    def owes_mark(self) -> bool:
        """Whether events were lost after the last that the reader got, and no more will come."""
        return self.sealed and not self.closed and self._missed > 0

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
        """How many events the mailbox took responsibility for: each is one of the four."""
        return self.delivered + self.dropped + self.spilled + self.pending

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits and the consumer is not busy with an event."""
        return not self.items and (self.waiter is not None or self.closed or not self.delivered)

    def settle(self) -> None:
        """Tell those who wait for it that the consumer came back with nothing left to read."""
        settled = self.settled
        if settled is not None and not settled.done():
            settled.set_result(None)

    def seal(self) -> None:
        """Take no more events; let the consumer read what waits, then end."""
        self.sealed = True
        self._wake()

    def close(self) -> None:
        """End at once; the events that were left are spilled or dropped."""
        self.sealed = self.closed = True
        self._forget_consumer()
        try:
            self._lose_all()
        finally:
            self._wake()
            self.settle()

    def _lose_all(self) -> None:
        """Lose whatever waits, one by one, so that the books are right whatever a spill raises."""
        while self.items:
            item = self._pop()
            if type(item) is not Lagged:
                self._lose(item)

    def _pop(self) -> Item:
        return self.items.popleft()

    def _waiting(self) -> Iterable[Item]:
        """Return what waits: events, and marks, which hold nothing."""
        items: Iterable[Item] = self.items
        return items

    def _item_statistics(self) -> ItemStatistics | None:
        if not self.sized:
            return None
        pending = sum(length_of(event_of(item)) for item in self._waiting())
        delivered, dropped, spilled = self.delivered_items, self.dropped_items, self.spilled_items
        accepted = delivered + dropped + spilled + pending
        return ItemStatistics(accepted, delivered, dropped, pending, spilled)

    def statistics(self) -> StreamStatistics:
        """Return what has become of the events so far."""
        return StreamStatistics(
            self.accepted,
            self.delivered,
            self.dropped,
            self.pending,
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


def event_of(item: Item) -> Any:
    """Return the event of an item, bare or with its number."""
    return item[0] if type(item) is tuple else item
