"""The bus: one object with all the verbs, put together from its parts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from runbus.bus._around import Wrappers
from runbus.bus._backpressure import Backpressure
from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, Frame
from runbus.bus._failures import CleanUp
from runbus.bus._notify import Notifications
from runbus.bus._requests import Asking, Requests
from runbus.bus._state import BusState, Phase
from runbus.bus._streams import Streams
from runbus.bus._taps import Taps
from runbus.bus._teardown import Teardowns
from runbus.bus._threads import Inbox
from runbus.bus._timers import wait_until
from runbus.bus._waiting import Waits
from runbus.errors import BusClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus._mailbox import Mailbox
    from runbus.bus._subscribing import Subscribe
    from runbus.bus._subscription import Owner, Subscription
    from runbus.bus._timers import Timers
    from runbus.errors import PluginError

__all__ = ["Bus", "check_bus"]

logger = logging.getLogger("runbus.bus")


class Bus:
    """Dispatches events to their subscribers, each kind in its own way.

    A bus belongs to one kernel and one event loop; `publish_from_thread` is the only method that
    other threads may call. A forked child must not use it at all.

    The parts share one state and nothing else: a part that needs another is given it here. The
    verbs are the methods of the parts themselves, since each call in between would cost as much
    as a tenth of a `publish`.
    """

    def __init__(
        self,
        timers: Timers | None = None,
        *,
        on_critical: Callable[[PluginError], object] | None = None,
    ) -> None:
        """Make a bus that is not open yet.

        Args:
            timers: Where deadlines come from; the clock of the system by default.
            on_critical: Told when a critical plugin fails and no publisher is there to be told,
                because the event came from a thread.
        """
        self._state = state = BusState(timers)
        self._taps = taps = Taps(state.registry, state.watchers)
        self._waits = waits = Waits(state)
        calls = Calls(state.timers)
        asking = Asking(state, taps)
        notifications = Notifications(state, taps, waits, calls)
        streams = Streams(state, taps, waits, Backpressure(state))
        requests = Requests(asking, calls)
        inbox = Inbox(state, notifications, streams, on_critical or (lambda failure: None))
        self._inbox = inbox
        self.timers = state.timers
        self.registry = state.registry
        self.check_thread = state.check_thread
        # The verbs.
        self.on: Subscribe[Subscription] = self._on
        self.publish = notifications.publish
        self.emit = streams.emit
        self.emit_nowait = streams.emit_nowait
        self.offer = streams.offer
        self.hand = streams.hand
        self.stream = streams.stream
        self.has_readers = streams.has_readers
        self.apply = requests.apply
        self.collect = requests.collect
        self.first = requests.first
        self.decorate = requests.decorate
        self.around = Wrappers(state, asking, calls).around
        self.teardown = Teardowns(state, asking, taps, calls).teardown
        self.wait_for = waits.wait_for
        self.publish_from_thread = inbox.publish_from_thread
        # The life of plugins.
        self.quarantine = notifications.quarantine
        self.release = notifications.release
        self.add_tap = taps.add
        self.remove_tap = taps.remove

    def _on(
        self,
        event: Any,
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription:
        """Let the application listen to a class of events; it comes after all plugins."""
        self.check_thread("on")
        if self.is_closed:
            raise BusClosed("on", "closed")
        return self.registry.subscribe(
            self.registry.application,
            event,
            handler,
            once=once,
            timeout_s=timeout,
            thread=thread,
        )

    # -- life; called by the kernel

    def open(self) -> None:
        """Bind the bus to the running event loop."""
        self._state.open()

    def drain(self) -> None:
        """Refuse new requests from now on."""
        self._state.enter_phase(Phase.DRAINING)

    async def end_inbox(self, limit_s: float) -> list[PluginError]:
        """Take no more events from threads, and dispatch those that wait; return who is stuck.

        Returns after `limit_s` seconds and the time that a stuck handler is granted, a second at
        most; what was not dispatched by then is counted as dropped.
        """
        return await self._inbox.end(limit_s)

    def seal(self) -> None:
        """Take no more events into any mailbox; what waits may still be read.

        An `emit` that comes later gets BusClosed; one that waits for room still may get it.
        """
        self._inbox.shut()
        self._state.enter_phase(Phase.SEALED)
        for _, box in self.registry.boxes():
            box.seal()

    async def close(self, limit_s: float = 1.0) -> list[PluginError]:
        """Take nothing any more: end every wait, and count what nobody read as dropped.

        Args:
            limit_s: How long what came from threads may still take to be dispatched.

        Returns:
            Who was left behind.
        """
        stuck = await self._inbox.end(limit_s if not self._inbox.is_idle else 0.0)
        self._state.enter_phase(Phase.CLOSED)
        self._state.sweeper.stop()
        clean_up = CleanUp()
        self._waits.end()
        for event, box in self.registry.boxes():
            self.registry.remove_box(event, box)
            try:
                box.close()
            except BaseException as error:
                clean_up.add(error)
        if clean_up.error is not None:
            raise clean_up.error
        return stuck

    async def wait_settled(self, box: Mailbox, limit_s: float) -> bool:
        """Wait until a mailbox was read to the end, at most `limit_s` seconds; return whether."""
        if box.is_settled:
            return True
        box.settled = asyncio.get_running_loop().create_future()
        return await wait_until(box.settled, limit_s, self.timers)

    async def wait_dispatched(self, limit_s: float) -> bool:
        """Wait until nothing is being dispatched, at most `limit_s` seconds; return whether.

        Where it never comes to that, since threads continue, it is enough that what was there when
        this began has been dispatched.
        """
        now_ns = self.timers.monotonic_ns
        ends_ns = now_ns() + int(limit_s * 1e9)
        inbox = self._inbox
        running = self._state.active.copy()
        last = inbox.begun + inbox.pending
        while self._state.active or not inbox.is_idle:
            if inbox.begun > last and not running & self._state.active:
                return True
            if now_ns() >= ends_ns:
                return False
            await asyncio.sleep(0.001)
        return True

    # -- looking

    @property
    def is_closed(self) -> bool:
        """Whether the bus takes nothing any more."""
        return self._state.phase == Phase.CLOSED

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being dispatched and nothing waits in a mailbox or the inbox."""
        return (
            not self._state.active
            and self._inbox.is_idle
            and all(not box.items for _, box in self.registry.boxes())
        )

    @property
    def is_watched(self) -> bool:
        """Whether a tap sees the events."""
        return bool(self._taps.present)

    @property
    def waiting(self) -> int:
        """How many waits for an event are under way."""
        return len(self._waits.present)

    @property
    def inbox_refused(self) -> int:
        """How many events from threads were refused because the inbox stayed full."""
        return self._inbox.refused

    @property
    def inbox_dropped(self) -> int:
        """How many events from threads were taken but never dispatched, because the bus closed."""
        return self._inbox.dropped

    @property
    def inbox_pending(self) -> int:
        """How many events from threads wait to be dispatched."""
        return self._inbox.pending

    def running_in(self, task: asyncio.Task[Any] | None) -> tuple[str, str] | None:
        """Return plugin and name of the handler that a task runs; may be asked by any thread."""
        for frame in sorted(self._state.active.copy(), key=lambda frame: -frame.seq):
            sub = frame.subscription
            if frame.task is task and sub is not None:
                return sub.owner.name, sub.name
        return None

    def runs_inside(self, owner: Owner) -> bool:
        """Tell whether the running code is called, however deep, by a handler of `owner`."""
        cause = CAUSE.get()
        frame = cause if isinstance(cause, Frame) and cause in cause.active else None
        while frame is not None:
            if frame.subscription is not None and frame.subscription.owner is owner:
                return True
            frame = frame.place.up
        return False


def check_bus(given: object) -> None:
    """Refuse what is not a bus, such as the kernel that has one.

    Raises:
        TypeError: It is not one.
    """
    if not isinstance(given, Bus):
        raise TypeError(f"a bus is wanted, not a {type(given).__name__}: pass kernel.bus")
