"""Events from other threads: a bounded inbox that wakes the event loop once, however many come."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from runbus.bus._cancellation import leave_behind
from runbus.bus._causality import CAUSE, Envelope, as_envelope
from runbus.bus._checks import check_number
from runbus.bus._failures import find_critical
from runbus.bus._foreign import exc_info, is_torn_down
from runbus.bus._state import BusState, Phase, get_ident, wrong_kind
from runbus.bus._timers import wait_until
from runbus.errors import BusClosed, PluginStuck, WouldDeadlock, WrongLoop
from runbus.events import Kind, Notify, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus._notify import Notifications
    from runbus.bus._streams import Streams
    from runbus.errors import PluginError
    from runbus.events import Event

__all__ = ["INBOX_LIMIT", "Inbox"]

INBOX_LIMIT = 10_000
_PATIENCE_S = 1.0
_AGAIN_S = 0.25
_IN_A_ROW = 256
_PASSED_ON = (KeyboardInterrupt, SystemExit, asyncio.CancelledError)

logger = logging.getLogger("runbus.bus")


class Inbox:
    """The verb `publish_from_thread`, and the task that dispatches what came by it.

    Whatever a thread was told was taken is dispatched, or counted as dropped; at every moment
    `taken == dispatched + dropped + pending`. The lock makes it so: a thread looks whether the
    inbox is shut, adds its event and looks whether somebody must be woken as one step.

    Attributes:
        begun: How many events were dispatched, the one that is being dispatched included.
        refused: Events that were not taken, because there was no room in time.
        dropped: Events that were taken, but never dispatched, because the bus was closed.
    """

    def __init__(
        self,
        state: BusState,
        notifications: Notifications,
        streams: Streams,
        on_critical: Callable[[PluginError], object],
    ) -> None:
        self._state = state
        self._notifications = notifications
        self._streams = streams
        self._on_critical = on_critical
        self._events: deque[tuple[Notify | Stream, Envelope | None]] = deque()
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._waiting = 0
        self._is_shut = False
        self._is_awake = False
        self._task: asyncio.Task[None] | None = None
        self.begun = 0
        self.refused = 0
        self.dropped = 0

    # -- in threads

    def publish_from_thread(self, event: Notify | Stream, timeout: float = _PATIENCE_S) -> bool:
        """Publish or emit an event from a thread that does not run the event loop.

        Events of one thread are dispatched in their order. The thread waits only while 10,000
        events wait already.

        Args:
            event: A Notify or Stream event.
            timeout: How long to wait for room, in seconds.

        Returns:
            Whether the event was taken; False after `timeout` seconds without room.

        Raises:
            WrongKind: The event is neither Notify nor Stream.
            BusClosed: The bus is not open, or was closed while this waited.
            WrongLoop: This process is a forked child.
            WouldDeadlock: This thread runs the event loop that would have to make room.
            InvalidOption: The timeout is not a number of seconds.
        """
        state = self._state
        if get_ident() == state.thread_id:
            raise WouldDeadlock("publish_from_thread() on the thread of the event loop")
        if timeout is not _PATIENCE_S:  # as a look costs less than a check
            check_number(timeout, "publish_from_thread()", "timeout", at_least=0)
        # A class that has a route has passed every check before.
        if type(event) not in state.stream_routes and type(event) not in state.notify_routes:
            self._check(event)
        # Caused by a dispatch, but no part of it, which is over when its handlers are.
        cause = as_envelope(before) if (before := CAUSE.get()) is not None else None
        with self._lock:
            if self._is_shut:
                raise self._closed()
            if len(self._events) >= INBOX_LIMIT and not self._wait_for_room(timeout):
                return False
            self._events.append((event, cause))
            if not self._is_awake:
                self._wake()
        return True

    def _check(self, event: object) -> None:
        """Refuse what can be dispatched by nobody, and everything in a forked child."""
        if self._state.phase == Phase.FORKED:
            raise WrongLoop("publish_from_thread", "fork")
        kind = getattr(type(event), "kind", None)
        if kind is not Kind.STREAM and kind is not Kind.NOTIFY:
            raise wrong_kind(event, "publish_from_thread")
        if self._state.phase == Phase.NEW:
            raise self._closed()

    def _closed(self) -> BusClosed:
        phase = self._state.phase
        state = Phase.NAMES[phase] if phase in (Phase.NEW, Phase.SEALED) else "closed"
        return BusClosed("publish_from_thread", state)

    def _wait_for_room(self, timeout: float) -> bool:
        """Wait, with the lock given back meanwhile, until there is room."""
        ends = time.monotonic() + timeout
        self._waiting += 1
        try:
            while len(self._events) >= INBOX_LIMIT:
                left = ends - time.monotonic()
                if left <= 0:
                    self.refused += 1
                    return False
                self._room.wait(left)
                if self._is_shut:
                    raise self._closed()
        finally:
            self._waiting -= 1
        return True

    def _wake(self) -> None:
        """Let the loop dispatch what came; whatever came last is taken back if there is no loop."""
        assert self._state.loop is not None
        try:
            self._state.loop.call_soon_threadsafe(self._start)
        except RuntimeError:  # the loop was closed under the bus
            self._events.pop()
            raise BusClosed("publish_from_thread", "closed") from None
        self._is_awake = True

    # -- on the loop

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._pump(), name="runbus inbox", context=contextvars.Context()
            )

    async def _pump(self) -> None:
        """Dispatch what waits until nothing does.

        KeyboardInterrupt and SystemExit of a handler end the event loop; nothing else that one
        raises ends this.
        """
        try:
            while True:
                with self._lock:
                    if not self._events:
                        self._is_awake = False
                        return
                await self._dispatch_some()
                if self._events:
                    # Threads may be faster than the handlers: what else the loop does has its turn.
                    await asyncio.sleep(0)
        except (KeyboardInterrupt, SystemExit):
            # If the loop continues all the same, what waits must be dispatched.
            asyncio.get_running_loop().call_soon(self._start)
            raise

    async def _dispatch_some(self) -> None:
        events, emit, publish = self._events, self._streams.emit, self._notifications.publish
        caused_by: Envelope | None = None
        CAUSE.set(None)
        for _ in range(min(len(events), _IN_A_ROW)):
            event, cause = events.popleft()
            self.begun += 1
            if self._waiting:
                with self._lock:
                    self._room.notify_all()
            if cause is not caused_by:
                CAUSE.set(cause)
                caused_by = cause
            try:
                if isinstance(event, Stream):
                    await emit(event)
                else:
                    await publish(event)
            except _PASSED_ON:
                raise
            except BaseException as error:
                if is_torn_down(error, self._task):
                    raise
                self._failed(event, error)

    def _failed(self, event: Event, error: BaseException) -> None:
        """Tell of an event that was not delivered: its publisher cannot be told."""
        title = type(event).__name__
        logger.error("%s from a thread could not be delivered", title, exc_info=exc_info(error))
        critical = find_critical([error], self._state.registry.owners)
        if critical is not None:
            self._on_critical(critical)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being dispatched."""
        return not self._events and not self._is_awake

    @property
    def pending(self) -> int:
        """How many events wait to be dispatched."""
        return len(self._events)

    # -- the end

    def shut(self) -> None:
        """Take no more events: who comes too late, or waits for room, gets BusClosed."""
        with self._lock:
            self._is_shut = True
            self._room.notify_all()

    async def end(self, limit_s: float) -> list[PluginError]:
        """Shut the inbox, and dispatch what waits within `limit_s` seconds; return who is stuck.

        A handler that takes longer is cancelled; one that ignores that for as long again, at most
        a second, is left behind. What was not dispatched by then is counted as dropped.
        """
        self.shut()
        task = self._task
        stuck: list[PluginError] = []
        if self._events and (task is None or task.done()):
            self._start()
            task = self._task
        if task is not None and not await wait_until(task, limit_s, self._state.timers):
            stuck = await self._cut_off(task, max(min(limit_s, 1.0), _AGAIN_S))
        if self._events:
            logger.warning("%d events from threads came too late", len(self._events))
        with self._lock:
            self.dropped += len(self._events)
            self._events.clear()
            self._is_awake = False
        return stuck

    async def _cut_off(self, task: asyncio.Task[None], grace_s: float) -> list[PluginError]:
        timers = self._state.timers
        ends_ns = timers.monotonic_ns() + int(grace_s * 1e9)
        while (left_s := (ends_ns - timers.monotonic_ns()) / 1e9) > 0:
            task.cancel()
            if await wait_until(task, min(_AGAIN_S, left_s), timers):
                return []
        leave_behind(task)
        self._task = None
        running = [
            frame.subscription
            for frame in self._state.active
            if frame.task is task and frame.subscription is not None
        ]
        stuck: list[PluginError] = [
            PluginStuck(sub.owner.name, f"{sub.name} ignores its cancellation", grace_s)
            for sub in running
        ]
        for error in stuck:
            logger.error("%s", error)
        return stuck
