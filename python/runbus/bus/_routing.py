"""Who gets an event: pure bookkeeping, no event loop."""

from __future__ import annotations

import itertools
from types import MethodType
from typing import TYPE_CHECKING, Any

from runbus.bus._foreign import shown
from runbus.bus._subscription import Owner, Subscription
from runbus.errors import BusClosed, InvalidHandler, WrongKind
from runbus.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbus.bus._mailbox import Mailbox

__all__ = [
    "APPLICATION",
    "Registry",
    "Route",
    "check_event_class",
    "check_subscription",
    "is_same",
]

APPLICATION = "application"


class Route:
    """The subscribers of one concrete event class, in the order in which they are called.

    It is never changed: a publish works on the route it found, so that who subscribes meanwhile
    gets the next event.
    """

    __slots__ = ("boxes", "kind", "limit_s", "offers", "subscriptions")

    def __init__(
        self,
        event: type[Event],
        subscriptions: tuple[Subscription, ...],
        boxes: tuple[Mailbox, ...],
    ) -> None:
        self.kind = event.kind
        self.limit_s = event.deadline_s
        self.subscriptions = subscriptions
        self.boxes = boxes
        self.offers = tuple(box.offer for box in boxes)


class Registry:
    """Every owner, subscription and mailbox of a bus."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._tell_change = changed
        self._reached: dict[tuple[type[Event], ...], bool] = {}
        self._orders = itertools.count()
        self._subscriptions: dict[type[Event], list[Subscription]] = {}
        self._boxes: dict[type[Event], list[Mailbox]] = {}
        self.owners: dict[str, Owner] = {}
        self.application = self.add_owner(APPLICATION, float("inf"))

    def add_owner(self, name: str, rank: float, *, critical: bool = False) -> Owner:
        """Return a new owner, which takes the place of an older one of that name."""
        owner = Owner(name, rank, critical=critical)
        self.owners[name] = owner
        return owner

    def remove_owner(self, owner: Owner) -> None:
        """Close every subscription of an owner for good."""
        owner.closed = True
        for subscription in list(owner.subscriptions):
            subscription.close()
        if self.owners.get(owner.name) is owner:
            del self.owners[owner.name]

    def reorder(self) -> None:
        """Call the handlers in the order of their owners' ranks, which were changed."""
        self._changed()

    def subscribe(
        self,
        owner: Owner,
        event: type[Event],
        handler: Callable[..., Any],
        *,
        once: bool,
        timeout_s: float | None,
        thread: bool,
    ) -> Subscription:
        """Return a new subscription.

        Raises:
            InvalidHandler: The handler can never work, or this owner subscribed it already.
            InvalidOption: An option has no value that makes sense.
            WrongKind: The class is not an event class, or its events are read from a stream.
            BusClosed: The owner was closed.
        """
        if owner.closed:
            raise BusClosed("on", "closed")
        check_event_class(event, "on")
        if event.kind is None or event.kind is Kind.STREAM:
            kind = event.kind.value if event.kind else ""
            raise WrongKind(event.__name__, kind, "on", "stream")
        subscription = Subscription(
            owner,
            event,
            handler,
            order=next(self._orders),
            on_close=self.remove,
            once=once,
            timeout_s=timeout_s,
            thread=thread,
        )
        of_event = self._subscriptions.setdefault(event, [])
        if any(other.owner is owner and is_same(other.handler, handler) for other in of_event):
            raise InvalidHandler(
                owner.name,
                subscription.name,
                event.__name__,
                "is subscribed twice",
                "subscribe it once",
            )
        of_event.append(subscription)
        owner.subscriptions.append(subscription)
        self._changed()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions[subscription.event].remove(subscription)
        subscription.owner.subscriptions.remove(subscription)
        self._changed()

    def add_box(self, event: type[Event], box: Mailbox) -> None:
        """Let a mailbox get every event of a class."""
        self._boxes.setdefault(event, []).append(box)
        self._changed()

    def reaches(self, events: tuple[type[Event], ...]) -> bool:
        """Whether a handler or a mailbox gets events of exactly one of these classes.

        Raises:
            WrongKind: One is not an event class.
        """
        if (known := self._reached.get(events)) is None:
            for event in events:
                check_event_class(event, "has_readers")
            classes = {cls: None for event in events for cls in event.__mro__}
            found = (self._boxes.get(cls) or self._subscriptions.get(cls) for cls in classes)
            known = self._reached[events] = any(found)
        return known

    def _changed(self) -> None:
        self._reached.clear()
        self._tell_change()

    def remove_box(self, event: type[Event], box: Mailbox) -> None:
        """Let a mailbox get no more events; does nothing if it gets none."""
        boxes = self._boxes.get(event, [])
        if box in boxes:
            boxes.remove(box)
            self._changed()

    def boxes(self) -> Iterator[tuple[type[Event], Mailbox]]:
        """Yield every mailbox with the class of events it gets."""
        for event, boxes in list(self._boxes.items()):
            for box in list(boxes):
                yield event, box

    def subscriptions(self) -> Iterator[Subscription]:
        """Yield every subscription, in the order in which they were made."""
        found = [sub for subs in self._subscriptions.values() for sub in subs]
        yield from sorted(found, key=lambda sub: sub.order)

    def route(self, event: type[Event]) -> Route:
        """Return who gets events of exactly this class: plugin order, then subscription order."""
        subs = [s for cls in event.__mro__ for s in self._subscriptions.get(cls, ())]
        subs.sort(key=lambda sub: (sub.owner.rank, sub.order))
        boxes = [box for cls in event.__mro__ for box in self._boxes.get(cls, ())]
        return Route(event, tuple(subs), tuple(boxes))


def check_subscription(
    owner: str,
    event: type[Event],
    handler: Callable[..., Any],
    *,
    once: bool,
    timeout_s: float | None,
    thread: bool,
) -> None:
    """Refuse at once what `Registry.subscribe` would refuse later."""
    Registry(lambda: None).subscribe(
        Owner(owner, 0.0), event, handler, once=once, timeout_s=timeout_s, thread=thread
    )


def is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Tell whether two callables are one: equality would confuse objects that compare equal."""
    if isinstance(one, MethodType) and isinstance(other, MethodType):
        return one.__self__ is other.__self__ and one.__func__ is other.__func__
    return one is other


def check_event_class(event: object, verb: str) -> None:
    """Refuse what is not an event class.

    Raises:
        WrongKind: It is not.
    """
    if not (isinstance(event, type) and issubclass(event, Event)):
        name = event.__name__ if isinstance(event, type) else shown(event)
        raise WrongKind(name, "", verb, "")
