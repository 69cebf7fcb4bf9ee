"""What every part of a bus shares: who listens, what runs, and whether it is open."""

from __future__ import annotations

import asyncio
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from runbus.bus._deadlines import Sweeper
from runbus.bus._forks import tell_of_forks
from runbus.bus._routing import Registry, Route
from runbus.bus._timers import LoopTimers, Timers
from runbus.errors import BusClosed, WrongKind, WrongLoop
from runbus.events import Event, Kind

if TYPE_CHECKING:
    import weakref

    from runbus.bus._causality import Frame
    from runbus.bus._waiting import Waiter

__all__ = ["BusState", "Phase", "Tap", "current_task", "get_ident"]

if sys.version_info >= (3, 12):
    current_task = asyncio.current_task
else:
    # There it is written in Python and costs as much as the rest of an emit.
    current_task = asyncio.tasks._current_tasks.get  # type: ignore[attr-defined]

HandlerOutcome = tuple[str, str, str, int]
"""Plugin, handler, `ok` or `error: …` or `timeout` or `skipped` or `cancelled`, nanoseconds."""


class Tap(Protocol):
    """Sees every event before and after its dispatch; what it raises is logged, never passed on."""

    def intent(self, seq: int, parent: int, event: Event, origin: str) -> None:
        """An event is about to be dispatched."""
        ...

    def outcome(self, seq: int, status: str, handlers: list[HandlerOutcome]) -> None:
        """An event was dispatched; `status` is `ok`, `error` or `cancelled`."""
        ...


class Phase:
    """How far a bus is in its life; a plain number, so that it is cheap to compare."""

    NEW = 0
    OPEN = 1
    DRAINING = 2
    CLOSED = 3
    FORKED = 4
    NAMES = ("new", "open", "draining", "closed", "forked")


class BusState:
    """The state of a bus, and the checks that precede every verb."""

    def __init__(self, timers: Timers | None = None) -> None:
        self.timers: Timers = timers if timers is not None else LoopTimers()
        self._now_ns = self.timers.monotonic_ns
        self._phase = Phase.NEW
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0
        # One table per verb. A table is emptied when anything changes and filled on demand, so a
        # lookup that succeeds has passed every check but that of the event loop.
        self._notify_routes: dict[type, Route] = {}
        self._stream_routes: dict[type, Route] = {}
        self._request_routes: dict[type, Route] = {}
        self.registry = Registry(self._forget_routes)
        self._active: set[Frame] = set()
        self._sweeper = Sweeper(self._active, self.timers)
        self._waiters: list[weakref.ref[Waiter[Any]]] = []
        self._taps: tuple[Tap, ...] = ()

    # -- life

    def open(self) -> None:
        """Bind the bus to the running event loop; called by the kernel."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = get_ident()
        self._phase = Phase.OPEN
        self._forget_routes()
        tell_of_forks(self)

    def forked(self) -> None:
        """Refuse everything: the parent goes on with its own copy of the bus."""
        if self._phase != Phase.CLOSED:
            self._phase = Phase.FORKED
            self._thread_id = 0
            self._forget_routes()

    def drain(self) -> None:
        """Refuse new requests from now on; called by the kernel when it begins to stop."""
        self._phase = Phase.DRAINING
        self._forget_routes()

    @property
    def is_closed(self) -> bool:
        """Whether the bus takes nothing any more."""
        return self._phase == Phase.CLOSED

    def _forget_routes(self) -> None:
        self._notify_routes = {}
        self._stream_routes = {}
        self._request_routes = {}

    # -- checks

    def _refuse(self, verb: str) -> BaseException:
        """Return why a verb cannot be used from here."""
        if self._phase == Phase.NEW:
            return BusClosed(verb, Phase.NAMES[self._phase])
        if self._phase == Phase.FORKED:
            return WrongLoop(verb, "fork")
        if get_ident() != self._thread_id:
            return WrongLoop(verb, "thread")
        return WrongLoop(verb, "loop")

    def _check_loop(self, verb: str) -> None:
        """Refuse other threads and loops; callbacks of this loop, outside of tasks, are fine."""
        if get_ident() != self._thread_id or asyncio._get_running_loop() is not self._loop:
            raise self._refuse(verb)

    def check_thread(self, verb: str) -> None:
        """Refuse to let another thread subscribe while a loop runs the bus.

        Raises:
            WrongLoop: This is another thread than that of the loop, or a forked child.
        """
        runs = self._phase in (Phase.OPEN, Phase.DRAINING, Phase.FORKED)
        if runs and get_ident() != self._thread_id:
            raise self._refuse(verb)

    def _check_phase(self, verb: str, last: int) -> None:
        if not Phase.OPEN <= self._phase <= last:
            raise BusClosed(verb, Phase.NAMES[self._phase])

    def _find_route(self, event: Event, kind: Kind, table: dict[type, Route]) -> Route:
        """Return the route of an event and keep it; all the checks that a kept route has passed.

        Raises:
            WrongKind: The event is of another kind.
            BusClosed: The bus does not take such events now.
        """
        requests = kind not in (Kind.NOTIFY, Kind.STREAM, Kind.TEARDOWN)
        self._check_phase(kind.verb, Phase.OPEN if requests else Phase.DRAINING)
        cls = type(event)
        if getattr(cls, "kind", None) is not kind:
            raise wrong_kind(event, kind.verb)
        route = table.get(cls)
        if route is None:
            route = table[cls] = self.registry.route(cls)
        return route

    # -- taps

    @property
    def is_watched(self) -> bool:
        """Whether a tap sees the events."""
        return bool(self._taps)

    def add_tap(self, tap: Tap) -> None:
        """Let `tap` see every event before and after its dispatch."""
        self._taps = (*self._taps, tap)
        self._tell_boxes()

    def remove_tap(self, tap: Tap) -> None:
        """Let `tap` see no more events; does nothing if it sees none."""
        self._taps = tuple(other for other in self._taps if other is not tap)
        self._tell_boxes()

    def _tell_boxes(self) -> None:
        for _, box in self.registry.boxes():
            box.causal = bool(self._taps)


def wrong_kind(event: object, verb: str) -> WrongKind:
    """Return why a verb does not take an event, or what was given for one."""
    if isinstance(event, type) and issubclass(event, Event):
        return WrongKind(event.__name__, "", verb, "", is_class=True)
    cls = type(event)
    kind = getattr(cls, "kind", None)
    if not isinstance(kind, Kind):
        return WrongKind(cls.__name__, "", verb, "")
    return WrongKind(cls.__name__, kind.value, verb, kind.verb)
