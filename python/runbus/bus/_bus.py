"""The bus: one object with all the verbs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar, overload

from runbus.bus._causality import CAUSE, Frame
from runbus.bus._requests import Requests
from runbus.bus._state import Phase
from runbus.bus._teardown import Teardowns
from runbus.bus._threads import Threads
from runbus.bus._timers import wait_until
from runbus.events import Decorate, Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus._mailbox import Mailbox
    from runbus.bus._subscription import Owner, Subscription

__all__ = ["Bus", "check_bus"]

E = TypeVar("E", bound=Event)
D = TypeVar("D", bound=Decorate)


logger = logging.getLogger("runbus.bus")


class Bus(Requests, Teardowns, Threads):
    """Dispatches events to their subscribers, each kind in its own way.

    A bus belongs to one kernel and one event loop; `publish_from_thread` is the only method that
    other threads may call. A forked child must not use it at all.
    """

    @overload
    def on(
        self,
        event: type[D],
        handler: Callable[[D, Any], object],
        *,
        once: bool = False,
    ) -> Subscription: ...

    @overload
    def on(
        self,
        event: type[E],
        handler: Callable[[E], object],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription: ...

    def on(
        self,
        event: type[Any],
        handler: Callable[..., Any],
        *,
        once: bool = False,
        timeout: float | None = None,
        thread: bool = False,
    ) -> Subscription:
        """Let the application listen to a class of events; it comes after all plugins.

        Args:
            event: The class of events; subclasses count.
            handler: Called with each event; async, or sync if it never blocks.
            once: Whether to close the subscription when the first event arrives.
            timeout: How long a call may take, in seconds; by default the event class says it.
            thread: Whether to call a sync handler in a worker thread.

        Returns:
            The subscription, to close when no more events are wanted.

        Raises:
            InvalidHandler: The handler can never work, or is subscribed already.
            WrongKind: The events of the class are read from a stream, or it is no event class.
            WrongLoop: A loop runs the bus, in another thread or in the process that forked.
        """
        self.check_thread("on")
        return self.registry.subscribe(
            self.registry.application,
            event,
            handler,
            once=once,
            timeout_s=timeout,
            thread=thread,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being dispatched and nothing waits in a mailbox or the inbox."""
        return (
            not self._active
            and not self._inbox
            and not self._pumping
            and all(not box.items for _, box in self.registry.boxes())
        )

    def seal(self) -> None:
        """Take no more events into any mailbox; what waits may still be read."""
        for _, box in list(self.registry.boxes()):
            box.seal()

    async def close(self) -> None:
        """Take nothing any more: end every wait, and count what nobody read as dropped."""
        self._phase = Phase.CLOSED
        self._forget_routes()
        self._sweeper.stop()
        self._end_waiters()
        if self._pump_task is not None and not self._pump_task.done():
            self._pump_task.cancel()
            await asyncio.wait([self._pump_task])
        if self._inbox:
            logger.warning("%d events from threads came too late", len(self._inbox))
        self._inbox.clear()
        self._recent.clear()
        for event, box in list(self.registry.boxes()):
            self.registry.remove_box(event, box)
            box.close()

    async def wait_settled(self, box: Mailbox, limit_s: float) -> bool:
        """Wait until a mailbox was read to the end, at most `limit_s` seconds; return whether."""
        if box.is_settled:
            return True
        box.settled = asyncio.get_running_loop().create_future()
        return await wait_until(box.settled, limit_s, self.timers)

    async def wait_dispatched(self, limit_s: float) -> bool:
        """Wait until nothing is being dispatched, at most `limit_s` seconds; return whether."""
        ends_ns = self._now_ns() + int(limit_s * 1e9)
        while self._active or self._inbox or self._pumping:
            if self._now_ns() >= ends_ns:
                return False
            await asyncio.sleep(0.001)
        return True

    def running_in(self, task: asyncio.Task[Any] | None) -> tuple[str, str] | None:
        """Return plugin and name of the handler that a task runs; may be asked by any thread."""
        for frame in sorted(self._active.copy(), key=lambda frame: -frame.seq):
            sub = frame.subscription
            if frame.task is task and sub is not None:
                return sub.owner.name, sub.name
        return None

    def runs_inside(self, owner: Owner) -> bool:
        """Tell whether the running code is called, however deep, by a handler of `owner`."""
        frame = CAUSE.get()
        task = asyncio.current_task()
        while isinstance(frame, Frame) and frame.task is task:
            if frame.subscription is not None and frame.subscription.owner is owner:
                return True
            frame = frame.up
        return False


def check_bus(given: object) -> None:
    """Refuse what is no bus, such as the kernel that has one.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(given, Bus):
        raise TypeError(f"a bus is wanted, not a {type(given).__name__}: pass kernel.bus")
