"""Events from other threads: a bounded inbox that wakes the event loop once, however many come."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from runbus.bus._causality import CAUSE
from runbus.bus._notify import Notifications
from runbus.bus._state import Phase, wrong_kind
from runbus.bus._streams import Streams
from runbus.errors import BusClosed, WouldDeadlock, WrongLoop
from runbus.events import Kind, Notify, Stream

if TYPE_CHECKING:
    from runbus.bus._causality import Envelope, Frame
    from runbus.bus._timers import Timers

__all__ = ["INBOX_LIMIT", "Threads"]

INBOX_LIMIT = 10_000

logger = logging.getLogger("runbus.bus")


class Threads(Notifications, Streams):
    """The verb `publish_from_thread`."""

    def __init__(self, timers: Timers | None = None) -> None:
        super().__init__(timers)
        self._inbox: deque[tuple[Notify | Stream, Frame | Envelope | None]] = deque()
        self._inbox_room = threading.Condition()
        self._inbox_waiting = 0
        self._inbox_refused = 0
        self._pumping = False
        self._pump_task: asyncio.Task[None] | None = None

    def publish_from_thread(self, event: Notify | Stream, timeout: float = 1.0) -> bool:
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
            BusClosed: The bus is not open.
            WrongLoop: This process is a forked child.
            WouldDeadlock: This thread runs the event loop that would have to make room.
        """
        if self._phase == Phase.FORKED:
            raise WrongLoop("publish_from_thread", "fork")
        if self._phase == Phase.CLOSED or self._phase == Phase.NEW:
            raise BusClosed("publish_from_thread", Phase.NAMES[self._phase])
        if threading.get_ident() == self._thread_id:
            raise WouldDeadlock("publish_from_thread() on the thread of the event loop")
        kind = getattr(type(event), "kind", None)
        if kind is not Kind.STREAM and kind is not Kind.NOTIFY:
            raise wrong_kind(event, "publish_from_thread")
        item = (event, CAUSE.get())
        if len(self._inbox) >= INBOX_LIMIT and not self._wait_for_inbox(timeout):
            return False
        self._inbox.append(item)
        if not self._pumping:
            self._pumping = True
            self._wake_pump()
        if self._phase == Phase.CLOSED:
            self._take_out(item)
        return True

    def _wake_pump(self) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._start_pump)
        except RuntimeError:  # the loop was closed under the bus
            raise BusClosed("publish_from_thread", "closed") from None

    def _take_out(self, item: Any) -> None:
        """Take back an event that came after the last pump."""
        try:
            self._inbox.remove(item)
        except ValueError:
            return
        raise BusClosed("publish_from_thread", "closed")

    def _wait_for_inbox(self, timeout: float) -> bool:
        ends = time.monotonic() + timeout
        with self._inbox_room:
            self._inbox_waiting += 1
            try:
                while len(self._inbox) >= INBOX_LIMIT:
                    left = ends - time.monotonic()
                    if left <= 0 or self._phase == Phase.CLOSED:
                        self._inbox_refused += 1
                        return False
                    self._inbox_room.wait(left)
            finally:
                self._inbox_waiting -= 1
        return True

    # -- on the loop

    def _start_pump(self) -> None:
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = asyncio.get_running_loop().create_task(
                self._pump(), name="runbus inbox", context=contextvars.Context()
            )

    async def _pump(self) -> None:
        inbox = self._inbox
        while True:
            # Cleared before the last look: a thread that appends after that look wakes us again.
            self._pumping = False
            if not inbox:
                return
            self._pumping = True
            while inbox:
                event, cause = inbox.popleft()
                CAUSE.set(cause)
                try:
                    if isinstance(event, Stream):
                        await self.emit(event)
                    else:
                        await self.publish(event)
                except Exception:
                    logger.exception("an event from a thread could not be delivered: %r", event)
                if self._inbox_waiting:
                    with self._inbox_room:
                        self._inbox_room.notify_all()

    @property
    def inbox_refused(self) -> int:
        """How many events from threads were refused because the inbox stayed full."""
        return self._inbox_refused

    @property
    def inbox_pending(self) -> int:
        """How many events from threads wait to be dispatched."""
        return len(self._inbox)
