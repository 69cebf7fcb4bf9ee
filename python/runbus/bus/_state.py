"""What every part of a bus works on: who listens, what runs, and whether it is open."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import TYPE_CHECKING

from runbus.bus._cancellation import cancels_seen, take_back
from runbus.bus._causality import CAUSE, Frame, next_seq
from runbus.bus._deadlines import Sweeper
from runbus.bus._forks import tell_of_forks
from runbus.bus._routing import Registry, Route
from runbus.bus._timers import LoopTimers, Timers
from runbus.errors import BusClosed, WrongKind, WrongLoop
from runbus.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BusState", "Phase", "current_task", "get_ident", "wrong_kind"]

if sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    # There it is written in Python and costs as much as the rest of an emit.
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]


class Phase:
    """How far a bus is in its life; a plain number, so that it is cheap to compare.

    Each takes less than the one before: DRAINING no requests, SEALED no stream events and nothing
    from threads, CLOSED nothing at all.
    """

    NEW = 0
    OPEN = 1
    DRAINING = 2
    SEALED = 3
    CLOSED = 4
    FORKED = 5
    NAMES = ("new", "open", "draining", "sealed", "closed", "forked")


# Until which phase a bus takes the events of a kind; requests need a bus that is open.
_LAST_PHASE = {
    Kind.NOTIFY: Phase.SEALED,
    Kind.TEARDOWN: Phase.SEALED,
    Kind.STREAM: Phase.DRAINING,
}


class BusState:
    """The one state of a bus, and the checks that precede every verb.

    Attributes:
        timers: Where deadlines come from.
        phase: How far the bus is in its life.
        loop: The event loop that it is bound to.
        thread_id: The thread of that loop.
        registry: Who listens to what.
        notify_routes: Who gets notifications, by class. Emptied when anything changes and filled
            on demand, so a lookup that succeeds has passed every check but that of the loop.
        stream_routes: The same for streams.
        request_routes: The same for requests.
        active: The dispatches that are running.
        watchers: Every tap and every wait: one look tells whether anybody but handlers and
            mailboxes is to be told of an event.
        sweeper: What ends those that take too long.
    """

    def __init__(self, timers: Timers | None = None) -> None:
        self.timers: Timers = timers if timers is not None else LoopTimers()
        self.phase = Phase.NEW
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread_id = 0
        self.notify_routes: dict[type, Route] = {}
        self.stream_routes: dict[type, Route] = {}
        self.request_routes: dict[type, Route] = {}
        self.registry = Registry(self.forget_routes)
        self.active: set[Frame] = set()
        self.watchers: list[object] = []
        self.sweeper = Sweeper(self.active, self.timers)

    # -- life

    def open(self) -> None:
        """Bind the bus to the running event loop."""
        self.loop = asyncio.get_running_loop()
        self.thread_id = get_ident()
        self.enter_phase(Phase.OPEN)
        tell_of_forks(self)

    def enter_phase(self, phase: int) -> None:
        """Go on to a phase; never back."""
        self.phase = max(self.phase, phase)
        self.forget_routes()

    def forked(self) -> None:
        """Refuse everything: the parent continues with its own copy of the bus."""
        if self.phase != Phase.CLOSED:
            self.thread_id = 0
            self.enter_phase(Phase.FORKED)

    def forget_routes(self) -> None:
        """Find out again who gets which event."""
        self.notify_routes.clear()
        self.stream_routes.clear()
        self.request_routes.clear()

    # -- checks

    def refusal(self, verb: str) -> BusClosed | WrongLoop:
        """Return why a verb cannot be used from here."""
        if self.phase == Phase.NEW:
            return BusClosed(verb, Phase.NAMES[self.phase])
        if self.phase == Phase.FORKED:
            return WrongLoop(verb, "fork")
        if get_ident() != self.thread_id:
            return WrongLoop(verb, "thread")
        return WrongLoop(verb, "loop")

    def check_loop(self, verb: str) -> None:
        """Refuse other threads and loops; callbacks of this loop, outside of tasks, are fine.

        Raises:
            BusClosed: The bus was never open.
            WrongLoop: This is another thread or loop, or a forked child.
        """
        if get_ident() != self.thread_id or asyncio._get_running_loop() is not self.loop:
            raise self.refusal(verb)

    def check_thread(self, verb: str) -> None:
        """Refuse to let another thread subscribe while a loop runs the bus.

        Raises:
            WrongLoop: This is another thread than that of the loop, or a forked child.
        """
        runs = self.phase not in (Phase.NEW, Phase.CLOSED)
        if runs and get_ident() != self.thread_id:
            raise self.refusal(verb)

    def check_phase(self, verb: str, last: int) -> None:
        """Refuse before the bus is open and after a phase.

        Raises:
            BusClosed: It is.
        """
        if not Phase.OPEN <= self.phase <= last:
            raise BusClosed(verb, Phase.NAMES[self.phase])

    def find_route(
        self, event: Event, kind: Kind, table: dict[type, Route], verb: str = ""
    ) -> Route:
        """Return the route of an event and keep it; all the checks that a kept route has passed.

        Args:
            event: The event.
            kind: What it must be.
            table: Where routes of that kind are kept.
            verb: What was called, for messages; by default the verb of the kind.

        Raises:
            WrongKind: The event is of another kind.
            BusClosed: The bus does not take such events now.
        """
        verb = verb or kind.verb
        self.check_phase(verb, _LAST_PHASE.get(kind, Phase.OPEN))
        cls = type(event)
        if getattr(cls, "kind", None) is not kind:
            raise wrong_kind(event, verb)
        route = table.get(cls)
        if route is None:
            route = table[cls] = self.registry.route(cls)
        return route

    # -- dispatches

    def frame(self, event: Event, limit_s: float) -> Frame:
        """Return a new dispatch by the running task."""
        task = current_task(self.loop)
        return Frame(next_seq(), event, task, self.active, limit_s, [None], cancels_seen(task))

    @contextmanager
    def running(self, frame: Frame) -> Iterator[None]:
        """Make a dispatch the one that runs: its handlers have their limit, and are its effects."""
        token = CAUSE.set(frame)
        self.active.add(frame)
        if frame.limit_s < self.sweeper.watches_s:
            self.sweeper.arm(frame.limit_s)
        try:
            yield
        finally:
            self.active.discard(frame)
            frame.now[0] = None
            take_back(frame)
            with suppress(ValueError):  # an abandoned coroutine, closed from another context
                CAUSE.reset(token)


def wrong_kind(event: object, verb: str) -> WrongKind:
    """Return why a verb does not take an event, or what was given for one."""
    if isinstance(event, type) and issubclass(event, Event):
        return WrongKind(event.__name__, "", verb, "", is_class=True)
    cls = type(event)
    kind = getattr(cls, "kind", None)
    if not isinstance(kind, Kind):
        return WrongKind(cls.__name__, "", verb, "")
    return WrongKind(cls.__name__, kind.value, verb, kind.verb)
