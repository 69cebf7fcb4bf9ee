"""What is being dispatched because of what: the causal stack, which tasks inherit by context."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from runbus.errors import RecursionLimit, Reentrant

if TYPE_CHECKING:
    # A Frame is never encoded, so nobody reads its annotations.
    import asyncio  # noqa: TC004
    from collections import deque  # noqa: TC004

    from runbus.bus._subscription import Subscription  # noqa: TC004
    from runbus.events import Event  # noqa: TC004

__all__ = [
    "CAUSE",
    "DEPTH_LIMIT",
    "Envelope",
    "Frame",
    "Place",
    "as_envelope",
    "link",
    "link_request",
    "next_seq",
]

DEPTH_LIMIT = 16

# Numbers every event of this process, across buses, so that a cause on another bus has its own.
next_seq = itertools.count(1).__next__

Envelope = tuple[Any, int, str]
"""An event, its number, and who read it: what CAUSE holds where no dispatch is running."""


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where a dispatch stands among those that run.

    Attributes:
        parent: Number of the event whose handler caused this one; 0 for none.
        origin: The plugin whose handler or reader published the event; empty for none.
        up: The dispatch that this one runs inside of, on whichever bus and in whichever task.
        cause: The dispatch whose handler published the event; differs from `up` once queued.
        depth: How many running dispatches caused each other up to this one.
    """

    parent: int = 0
    origin: str = ""
    up: Frame | None = None
    cause: Frame | None = None
    depth: int = 1


OUTERMOST = Place()


class Frame(msgspec.Struct, eq=False):
    """One dispatch while it runs. A Struct of few fields, because it is made for every event.

    Attributes:
        seq: The event's number.
        event: What is dispatched.
        task: Who dispatches.
        active: The running dispatches of its bus; this one is among them until it ends.
        limit_s: How long a handler may take.
        now: The handler that runs now, alone in a list: a list takes it in a sixth of the time
            that an attribute of a Struct would need. `subscription` is the same, to read.
        cancels_before: How many cancellations of the task had arrived when the dispatch began.
        place: Where it stands among the dispatches that run.
        cuts: How often the handler was cancelled because its time was up.
        pending: Events of this type that were published meanwhile, to be dispatched afterwards.
        outcomes: The handlers that were called, for the taps; None if there are no taps.
    """

    seq: int
    event: Event
    task: asyncio.Task[Any] | None
    active: set[Frame]
    limit_s: float
    now: list[Subscription | None]
    cancels_before: int = 0
    place: Place = OUTERMOST
    cuts: int = 0
    pending: deque[Any] | None = None
    outcomes: list[tuple[Subscription, str, int]] | None = None

    @property
    def subscription(self) -> Subscription | None:
        """The handler that runs now."""
        return self.now[0]

    def holder(self, event_type: type[Event], active: set[Frame]) -> Frame | None:
        """Return the innermost running dispatch of `event_type` on a bus, from here outwards."""
        frame: Frame | None = self
        while frame is not None:
            if type(frame.event) is event_type and frame.active is active:
                return frame
            frame = frame.place.up
        return None

    def chain(self, last: type[Event]) -> tuple[str, ...]:
        """Return the names of the events that led to `last`, outermost first."""
        names = [last.__name__]
        frame: Frame | None = self
        while frame is not None:
            names.append(type(frame.event).__name__)
            frame = frame.place.cause
        return tuple(reversed(names))


CAUSE: ContextVar[Frame | Envelope | None] = ContextVar("runbus_cause", default=None)


def as_envelope(before: Frame | Envelope) -> Envelope:
    """Return what the running code was called with as the mere cause of what it does."""
    if not isinstance(before, Frame):
        return before
    running = before.subscription
    return before.event, before.seq, running.owner.name if running is not None else ""


def link(frame: Frame, before: Frame | Envelope) -> None:
    """Note what caused a dispatch: whatever the running code was called with.

    A task inherits the stack by its context, so `gather` or `wait_for` inside a handler change
    nothing. A task that outlives the dispatch that started it begins a new chain.

    Raises:
        RecursionLimit: The causal chain is too long.
    """
    _, parent, origin = as_envelope(before)
    if not isinstance(before, Frame) or before not in before.active:
        frame.place = Place(parent, origin)
        return
    depth = before.place.depth + 1
    if depth > DEPTH_LIMIT:
        raise RecursionLimit(DEPTH_LIMIT, before.chain(type(frame.event)))
    frame.place = Place(parent, origin, before, before, depth)


def link_request(frame: Frame, before: Frame | Envelope) -> None:
    """Note what caused a request; the same request must not be running further out.

    Raises:
        Reentrant: The same request is being answered further out.
        RecursionLimit: The causal chain is too long.
    """
    link(frame, before)
    up, asked = frame.place.up, type(frame.event)
    if up is not None and up.holder(asked, frame.active) is not None:
        raise Reentrant(asked.__name__, up.chain(asked))
