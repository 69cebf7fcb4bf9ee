"""What a mailbox does when it is full: one class per policy."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, get_args

from runbus.bus._checks import check_callable, check_choice, check_number
from runbus.bus._mailbox import Item, Mailbox, event_of
from runbus.errors import InvalidOption
from runbus.events import Lagged

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Iterable

__all__ = [
    "BlockMailbox",
    "ConflateMailbox",
    "DropNewestMailbox",
    "DropOldestMailbox",
    "Overflow",
    "Putter",
    "make_mailbox",
]

Overflow = Literal["block", "drop_oldest", "drop_newest", "conflate"]

logger = logging.getLogger("runbus.bus")


class Putter:
    """A publisher that waits for room with an event in its hand.

    Attributes:
        item: The event.
        future: Resolved when the wait is over, whatever became of the event.
        admitted: Whether the mailbox has taken responsibility for the event.
    """

    __slots__ = ("admitted", "future", "item")

    def __init__(self, item: Item, future: asyncio.Future[None]) -> None:
        self.item = item
        self.future = future
        self.admitted = False


class DropOldestMailbox(Mailbox):
    """When full, the event that has waited longest makes room."""

    __slots__ = ()
    is_quick = True

    def offer(self, item: Item) -> None:
        """Take the event, at the price of the oldest one if need be."""
        if self.sealed:
            return
        items = self.items
        items.append(item)
        waiting = len(items)
        if waiting > self.high_water:  # which is at most maxsize
            if waiting > self.maxsize:
                self._missed += 1
                self.quick = False
                self._lose(items.popleft())
            else:
                self.high_water = waiting
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _mark(self) -> Lagged:
        self.quick = self.plain
        return super()._mark()


class DropNewestMailbox(Mailbox):
    """When full, new events are lost until there is room again."""

    __slots__ = ("_marks",)

    def __init__(
        self,
        owner: str,
        maxsize: int,
        spill: Callable[[Any], object] | None,
        *,
        sized: bool,
    ) -> None:
        super().__init__(owner, maxsize, spill, sized=sized)
        self._marks = 0

    def offer(self, item: Item) -> None:
        """Take the event if there is room, else count it as accepted and lost."""
        if self.sealed:
            return
        if len(self.items) - self._marks >= self.maxsize:
            self._missed += 1
            self._lose(item)
            return
        if self._missed:
            # The loss lies between what waits already and this event, so that is where it shows.
            self.items.append(Lagged(self._missed))
            self._marks += 1
            self._missed = 0
        self.items.append(item)
        self.high_water = max(self.high_water, self.pending)
        self._wake()

    def take(self) -> Any:
        """Return the next event or mark."""
        if not self.items:
            return self._mark()
        item = self._pop()
        if type(item) is Lagged:
            return item
        self.delivered += 1
        return self._unwrap(item)

    def _pop(self) -> Item:
        item = self.items.popleft()
        if type(item) is Lagged:
            self._marks -= 1
        return item

    def take_all(self) -> list[Any]:
        """Return everything that waits, in order, with marks where events were lost."""
        taken = []
        while self.items:
            taken.append(self.take())
        return taken or super().take_all()

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self.items) - self._marks


class BlockMailbox(Mailbox):
    """When full, publishers wait in line; nothing is lost while they do."""

    __slots__ = ("putters",)

    def __init__(
        self,
        owner: str,
        maxsize: int,
        spill: Callable[[Any], object] | None,
        *,
        sized: bool,
    ) -> None:
        super().__init__(owner, maxsize, spill, sized=sized)
        self.putters: deque[Putter] = deque()

    def offer(self, item: Item) -> Mailbox | None:
        """Take the event if there is room and nobody waits for it; else return self."""
        if self.sealed:
            return None
        items = self.items
        if len(items) >= self.maxsize or self.putters:
            return self
        items.append(item)
        self.high_water = max(self.high_water, len(items))
        self._wake()
        return None

    def line_up(self, item: Item, future: asyncio.Future[None]) -> Putter:
        """Let a publisher wait for room behind those that wait already, also in a sealed box."""
        putter = Putter(item, future)
        self.putters.append(putter)
        return putter

    def give_up(self, putter: Putter) -> None:
        """Take a publisher out of the line; its event was not accepted."""
        if not putter.admitted and putter in self.putters:
            self.putters.remove(putter)
            # A putter behind it may have room now.
            self._admit()

    def _admit(self) -> None:
        items = self.items
        while self.putters and len(items) < self.maxsize:
            putter = self.putters.popleft()
            putter.admitted = True
            items.append(putter.item)
            self.high_water = max(self.high_water, len(items))
            if not putter.future.done():
                putter.future.set_result(None)
        if items:
            self._wake()

    def take(self) -> Any:
        """Return the next event, and let in a putter that waits for room."""
        event = super().take()
        if self.putters:
            self._admit()
        return event

    def take_all(self) -> list[Any]:
        """Return everything that waits, and let in putters that wait for room."""
        taken = super().take_all()
        if self.putters:
            self._admit()
        return taken

    def _lose_all(self) -> None:
        super()._lose_all()
        while self.putters:
            putter = self.putters.popleft()
            try:
                # What waits in line is as good as what waits: it is kept where that can be.
                putter.admitted = self.divert(putter.item)
            finally:
                self.refused += not putter.admitted
                if not putter.future.done():
                    putter.future.set_result(None)

    @property
    def waiting_publishers(self) -> int:
        """How many publishers wait for room."""
        return len(self.putters)


class ConflateMailbox(Mailbox):
    """Only the latest event of each key waits, in the place of the first; it never lags behind."""

    __slots__ = ("key",)

    items: dict[Hashable, Item]

    def __init__(
        self,
        owner: str,
        maxsize: int,
        spill: Callable[[Any], object] | None,
        key: Callable[[Any], Hashable],
        *,
        sized: bool,
    ) -> None:
        super().__init__(owner, maxsize, spill, sized=sized)
        self.items = {}
        self.key = key

    def offer(self, item: Item) -> None:
        """Take the event in place of an older one of its key; too many keys lose the oldest."""
        if self.sealed:
            return
        try:
            key = self.key(event_of(item))
            if inspect.iscoroutine(key):
                key.close()
                raise TypeError("it returned a coroutine; it must not be async")
            replaces = key in self.items
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            logger.exception("the key function of %s failed; an event is lost", self.owner)
            self._missed += 1
            self._lose(item)
            return
        if replaces:
            self.superseded += 1
            self._drop(self.items[key])
        elif len(self.items) >= self.maxsize:
            self._missed += 1
            self._lose(self._pop())
        self.items[key] = item
        self.high_water = max(self.high_water, len(self.items))
        self._wake()

    def take(self) -> Any:
        """Return the next event, or a mark that keys were lost."""
        if self._missed and (self._marked_at != self.delivered or not self.items):
            return self._mark()
        self.delivered += 1
        return self._unwrap(self._pop())

    def _pop(self) -> Item:
        return self.items.pop(next(iter(self.items)))

    def _waiting(self) -> Iterable[Any]:
        return self.items.values()

    def take_all(self) -> list[Any]:
        """Return the latest event of every key, with at most one mark, at the front."""
        taken = []
        while self.items:
            taken.append(self.take())
        return taken or super().take_all()


_CLASSES: dict[str, type[Mailbox]] = {
    "block": BlockMailbox,
    "drop_oldest": DropOldestMailbox,
    "drop_newest": DropNewestMailbox,
}


def make_mailbox(
    owner: str,
    *,
    maxsize: int,
    overflow: str,
    key: Callable[[Any], Hashable] | None,
    spill: Callable[[Any], object] | None,
    sized: bool,
    of: str = "stream()",
) -> Mailbox:
    """Return an empty mailbox.

    Args:
        owner: Who reads it.
        maxsize: How many events may wait.
        overflow: What happens when it is full.
        key: For `conflate`: what a newer event must share with an older one to replace it.
        spill: What takes the events that would be lost.
        sized: Whether the events have a length that is to be counted.
        of: What it is a mailbox of, for messages.

    Raises:
        InvalidOption: The size is no whole number of at least 1, the policy is unknown, or a key
            is missing or too many.
        InvalidHandler: The key or spill function can never work.
    """
    where = f"{owner}: {of}"
    check_number(maxsize, where, "maxsize", whole=True, at_least=1)
    check_choice(overflow, where, "overflow", get_args(Overflow))
    for fn in (key, spill):
        if fn is not None:
            check_callable(fn, owner, of, "event", is_async=False)
    if (key is not None) != (overflow == "conflate"):
        problem = "does not go with this overflow" if key is not None else "is missing"
        raise InvalidOption(where, "key", repr(key), problem, "give it with 'conflate' only")
    if key is not None:
        return ConflateMailbox(owner, maxsize, spill, key, sized=sized)
    return _CLASSES[overflow](owner, maxsize, spill, sized=sized)
