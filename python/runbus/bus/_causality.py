"""What is being dispatched because of what: the causal stack of each task."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from runbus.errors import RecursionLimit, Reentrant

if TYPE_CHECKING:
    import asyncio
    from collections import deque

    from runbus.bus._subscription import Subscription
    from runbus.events import Event

__all__ = [
    "CAUSE",
    "DEPTH_LIMIT",
    "OWNER",
    "Envelope",
    "Frame",
    "link",
    "link_request",
    "next_seq",
    "origin_of",
]

DEPTH_LIMIT = 16

# Numbers every event of this process, across buses, so that a cause on another bus has its own.
next_seq = itertools.count(1).__next__

Envelope = tuple[Any, int]
"""An event and its number, as it lies in a mailbox: a context variable does not travel there."""


class Frame:
    """One dispatch while it runs.

    Attributes:
        seq: The event's number.
        parent: Number of the event whose handler caused this one; 0 for none.
        event: What is dispatched.
        up: The dispatch that this one runs inside of, in the same task and on the same bus.
        cause: The dispatch whose handler published the event; differs from `up` once queued.
        depth: How many events caused each other up to this one.
        task: Who dispatches.
        bus: On which bus.
        pending: Events of this type that were published meanwhile, to be dispatched afterwards.
        subscription: The handler that runs now.
        started_ns: When that handler was called, by the bus's monotonic clock.
        cancels: How often the handler was cancelled because its time was up.
        limit_s: How long a handler may take.
    """

    # Defaults on the class: a dispatch sets only what is not so, which halves its cost.
    parent: int = 0
    up: Frame | None = None
    cause: Frame | None = None
    depth: int = 1
    pending: deque[Any] | None = None
    subscription: Subscription | None = None
    started_ns: int = 0
    cancels: int = 0
    outcomes: list[tuple[Subscription, str, int]] | None = None

    def __init__(
        self, bus: object, event: Event, task: asyncio.Task[Any] | None, limit_s: float
    ) -> None:
        self.bus = bus
        self.event = event
        self.task = task
        self.limit_s = limit_s
        self.seq = next_seq()

    def holder(self, event_type: type[Event]) -> Frame | None:
        """Return the innermost running dispatch of `event_type`, this one or further out."""
        frame: Frame | None = self
        while frame is not None:
            if type(frame.event) is event_type:
                return frame
            frame = frame.up
        return None

    def chain(self, last: type[Event]) -> tuple[str, ...]:
        """Return the names of the events that led to `last`, outermost first."""
        names = [last.__name__]
        frame: Frame | None = self
        while frame is not None:
            names.append(type(frame.event).__name__)
            frame = frame.cause
        return tuple(reversed(names))


CAUSE: ContextVar[Frame | Envelope | None] = ContextVar("runbus_cause", default=None)


OWNER: ContextVar[str] = ContextVar("runbus_owner", default="")
"""The plugin whose background task this is: what it does has no handler as its origin."""


def origin_of(cause: Frame | Envelope | None) -> str:
    """Return the plugin whose handler or task runs, and so causes what happens now."""
    if isinstance(cause, Frame):
        running = cause.subscription
        return running.owner.name if running is not None else ""
    return OWNER.get()


def link(frame: Frame, before: Frame | Envelope) -> None:
    """Note what caused a dispatch: whatever the running code was called with.

    Raises:
        RecursionLimit: The causal chain is too long.
    """
    if not isinstance(before, Frame):
        frame.parent = before[1]
        return
    frame.parent = before.seq
    if before.task is not frame.task or before.bus is not frame.bus:
        # A task started by a handler inherits its context but not its stack.
        return
    if before.depth >= DEPTH_LIMIT:
        raise RecursionLimit(DEPTH_LIMIT, before.chain(type(frame.event)))
    frame.up = frame.cause = before
    frame.depth = before.depth + 1


def link_request(frame: Frame, before: Frame | Envelope) -> None:
    """Note what caused a request; the same request must not be running.

    Raises:
        Reentrant: The same request is being answered further out.
        RecursionLimit: The causal chain is too long.
    """
    link(frame, before)
    if frame.up is not None and frame.up.holder(type(frame.event)) is not None:
        raise Reentrant(type(frame.event).__name__, frame.up.chain(type(frame.event)))
