"""Waiting for one event: registered when called, not when awaited."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbus.bus._routing import check_event_class
from runbus.bus._state import BusState, Phase
from runbus.errors import BusClosed, WrongKind
from runbus.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from runbus.bus._timers import TimerHandle, Timers

__all__ = ["Waiter", "Waits"]

E = TypeVar("E", bound=Event)

_RECENT = 256


class Waiter(Generic[E]):
    """Awaits one event; forgotten by the bus as soon as nobody holds it."""

    __slots__ = ("__weakref__", "_event", "_future", "_predicate", "_timer")

    def __init__(self, event: type[E], predicate: Callable[[E], object] | None) -> None:
        self._event = event
        self._predicate = predicate
        self._future: asyncio.Future[E] = asyncio.get_running_loop().create_future()
        self._timer: TimerHandle | None = None

    def awaits(self, event: type[Event]) -> bool:
        """Whether an event of this class may be the one."""
        return not self._future.done() and issubclass(event, self._event)

    def offer(self, event: Event) -> bool:
        """Take the event if it is the one; return whether the wait is over."""
        if self._future.done():
            return True
        if not isinstance(event, self._event):
            return False
        try:
            if self._predicate is not None and not self._predicate(event):
                return False
        except Exception as error:
            # The predicate is the waiter's own code: its failure is no business of the publisher.
            self.fail(error)
            return True
        self._future.set_result(event)
        self._stop_timer()
        return True

    def fail(self, error: Exception) -> None:
        """End the wait with an error."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # retrieved: nobody need await it
        self._stop_timer()

    def arm(self, timer: TimerHandle) -> None:
        """Keep the timer that ends the wait."""
        self._timer = timer

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __await__(self) -> Generator[Any, None, E]:
        try:
            return (yield from self._future.__await__())
        finally:
            self._stop_timer()

    def __del__(self) -> None:
        self._stop_timer()


class Waits(BusState):
    """The verb `wait_for`."""

    def __init__(self, timers: Timers | None = None) -> None:
        super().__init__(timers)
        self._recent: deque[tuple[int, Event]] = deque(maxlen=_RECENT)

    def wait_for(
        self,
        event: type[E],
        predicate: Callable[[E], object] | None = None,
        timeout: float | None = None,
        *,
        since: int | None = None,
    ) -> Waiter[E]:
        """Return an awaitable of the next event of a class that `predicate` accepts.

        The wait begins with this call, so an event between it and the `await` is not missed.
        Cancelling the `await`, or dropping what this returns, ends the wait without a trace.

        Args:
            event: The class, a Notify or Stream; subclasses count.
            predicate: Called with each such event; an error in it is raised by the `await`.
            timeout: Seconds from now until the `await` raises TimeoutError; None for no limit.
            since: Also look back at the most recent 256 notifications after this number.

        Raises:
            WrongKind: The class is neither Notify nor Stream.
            BusClosed: The bus is closed; also raised by the `await` if it closes meanwhile.
        """
        self._check_loop("wait_for")
        self._check_phase("wait_for", Phase.DRAINING)
        check_event_class(event, "wait_for")
        if event.kind not in (None, Kind.NOTIFY, Kind.STREAM):
            assert event.kind is not None
            raise WrongKind(event.__name__, event.kind.value, "wait_for", event.kind.verb)
        waiter = Waiter(event, predicate)
        if since is not None:
            for seq, recent in list(self._recent):
                if seq > since and waiter.offer(recent):
                    return waiter
        reference = weakref.ref(waiter, self._forget_waiter)
        self._waiters.append(reference)
        if timeout is not None:
            waiter.arm(self.timers.call_later(timeout, lambda: self._expire(reference, timeout)))
        return waiter

    @property
    def waiting(self) -> int:
        """How many waits for an event are under way."""
        return len(self._waiters)

    def _is_awaited(self, event: type[Event]) -> bool:
        waiters = [reference() for reference in self._waiters]
        return any(waiter is not None and waiter.awaits(event) for waiter in waiters)

    def _forget_waiter(self, reference: weakref.ref[Waiter[Any]]) -> None:
        if reference in self._waiters:
            self._waiters.remove(reference)

    def _expire(self, reference: weakref.ref[Waiter[Any]], timeout: float) -> None:
        self._forget_waiter(reference)
        waiter = reference()
        if waiter is not None:
            waiter.fail(TimeoutError(f"no such event within {timeout:g} s"))

    def _tell_waiters(self, event: Event) -> None:
        for reference in list(self._waiters):
            waiter = reference()
            if waiter is None or waiter.offer(event):
                self._forget_waiter(reference)

    def _end_waiters(self) -> None:
        for reference in list(self._waiters):
            self._forget_waiter(reference)
            waiter = reference()
            if waiter is not None:
                waiter.fail(BusClosed("wait_for", "closed"))
