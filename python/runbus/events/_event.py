"""What an event is: frozen data, whose class says how it is dispatched."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, TypeVar, dataclass_transform

import msgspec

__all__ = [
    "Around",
    "Collector",
    "Decorate",
    "Event",
    "First",
    "Kind",
    "Lagged",
    "Notify",
    "Pipeline",
    "Sensitive",
    "Stream",
    "Teardown",
]

T = TypeVar("T")

Sensitive = Annotated[T, msgspec.Meta(extra={"sensitive": True})]
"""Marks a field whose value never leaves the process in a trace: `token: Sensitive[str]`."""


class Kind(Enum):
    """How the events of a class are dispatched, and with which verb of the bus."""

    PIPELINE = "pipeline"
    COLLECTOR = "collector"
    FIRST = "first"
    AROUND = "around"
    DECORATE = "decorate"
    NOTIFY = "notify"
    STREAM = "stream"
    TEARDOWN = "teardown"

    @property
    def verb(self) -> str:
        """The method of the bus that takes such events."""
        return _VERBS[self]


_VERBS = {
    Kind.PIPELINE: "apply",
    Kind.COLLECTOR: "collect",
    Kind.FIRST: "first",
    Kind.AROUND: "around",
    Kind.DECORATE: "decorate",
    Kind.NOTIFY: "publish",
    Kind.STREAM: "emit",
    Kind.TEARDOWN: "teardown",
}


# Said for type checkers: a subclass is frozen without saying so, as msgspec has it at run time.
@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Event(msgspec.Struct, frozen=True, tag=True):
    """A fact (past tense) or a request to plugins; subclass one of the kinds below, not this.

    Fields are data: numbers, texts, bytes, tuples of them and frozen Structs. An event is never
    changed, so that every subscriber sees the same. On the wire it is known by its tag, which is
    the name of its class unless the class gives another (`tag="run.started"`).

    Attributes:
        kind: How such events are dispatched; set by the kind's base class.
        deadline_s: How long one handler of such an event may take, in seconds, unless it asked
            for its own limit when it subscribed.
    """

    kind: ClassVar[Kind | None] = None
    deadline_s: ClassVar[float] = 30.0


class Pipeline(Event, Generic[T], frozen=True):
    """A value on its way through all plugins: `await bus.apply(event)` returns the last value.

    A handler takes the event and returns the next value, of the same type as `event.value`; the
    next plugin sees it as its own `event.value`. Returning None is an error, as is another type:
    a forgotten `return` must not drop what others did.
    """

    kind: ClassVar[Kind | None] = Kind.PIPELINE
    value: T


class Collector(Event, Generic[T], frozen=True):
    """A call for items: `await bus.collect(event)` returns `(plugin, item)` pairs in plugin order.

    A handler returns a list or tuple of items, or None. A bare `str` is an error.
    """

    kind: ClassVar[Kind | None] = Kind.COLLECTOR


class First(Event, Generic[T], frozen=True):
    """A question: `await bus.first(event)` returns the first answer that is not None, and whose."""

    kind: ClassVar[Kind | None] = Kind.FIRST


class Around(Event, frozen=True):
    """Something that plugins wrap: `async with bus.around(event) as values`.

    A handler returns an async context manager. They are entered in plugin order, so the first
    plugin is outermost, and exited in reverse.

    Attributes:
        may_suppress: Whether a wrapper may swallow an error of the body.
    """

    kind: ClassVar[Kind | None] = Kind.AROUND
    may_suppress: ClassVar[bool] = False


class Decorate(Event, frozen=True):
    """A function that plugins wrap: `bus.decorate(event, fn)` returns the wrapped function.

    A handler takes the event and the function and returns a function, without awaiting. The first
    plugin is outermost.
    """

    kind: ClassVar[Kind | None] = Kind.DECORATE


class Notify(Event, frozen=True):
    """A fact: `await bus.publish(event)` tells every handler, in plugin order, and waits for them.

    An error of one handler is not seen by the others nor by the publisher, but in the receipt.
    """

    kind: ClassVar[Kind | None] = Kind.NOTIFY


class Stream(Event, frozen=True):
    """One of many facts: `await bus.emit(event)` puts it into the mailbox of every subscriber."""

    kind: ClassVar[Kind | None] = Kind.STREAM


class Teardown(Event, frozen=True):
    """An end: `await bus.teardown(event, budget_s)` tells all handlers, in reverse plugin order."""

    kind: ClassVar[Kind | None] = Kind.TEARDOWN


class Lagged(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Stands in a stream where events were lost, because the subscriber was too slow.

    Attributes:
        n: How many events were lost since the previous one that was delivered.
    """

    n: int


replace = msgspec.structs.replace
"""Return a copy of an event or another Struct with some fields changed."""


def descendants(base: type[Any]) -> list[type[Any]]:
    """Return every living subclass of `base`, parents before children."""
    found = [base]
    for cls in found:
        found += [child for child in cls.__subclasses__() if child not in found]
    return found[1:]
