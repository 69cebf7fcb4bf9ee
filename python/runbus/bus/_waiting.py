"""Waiting for one event."""

from __future__ import annotations

import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from runbus.bus._checks import check_callable, check_number
from runbus.bus._routing import APPLICATION, check_event_class
from runbus.bus._state import BusState, Phase
from runbus.bus._waiter import Waiter
from runbus.errors import BusClosed, WrongKind
from runbus.events import Event, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waits"]

E = TypeVar("E", bound=Event)

_RECENT = 256


class Waits:
    """The verb `wait_for`.

    Attributes:
        present: The waits that are under way.
        recent: The latest notifications with their numbers.
    """

    def __init__(self, state: BusState) -> None:
        self._state = state
        self.present: list[weakref.ref[Waiter[Any]]] = []
        self.recent: deque[tuple[int, Event]] = deque(maxlen=_RECENT)

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
            predicate: Called with each such event, not async; an error in it is raised by the
                `await`.
            timeout: Seconds from now until the `await` raises TimeoutError; None for no limit.
            since: Also look back at the most recent 256 notifications after this number.

        Raises:
            WrongKind: The class is neither Notify nor Stream.
            InvalidHandler: The predicate can never work.
            InvalidOption: The timeout is not a number of seconds.
            BusClosed: The bus is closed; also raised by the `await` if it closes meanwhile.
        """
        self._state.check_loop("wait_for")
        self._state.check_phase("wait_for", Phase.SEALED)
        check_event_class(event, "wait_for")
        if event.kind not in (None, Kind.NOTIFY, Kind.STREAM):
            assert event.kind is not None
            raise WrongKind(event.__name__, event.kind.value, "wait_for", event.kind.verb)
        if predicate is not None:
            check_callable(
                predicate, APPLICATION, f"wait_for({event.__name__})", "event", is_async=False
            )
        if timeout is not None:
            check_number(timeout, APPLICATION, "timeout", at_least=0)
        if since is not None:
            check_number(since, APPLICATION, "since", whole=True)
        waiter = Waiter(event, predicate)
        if since is not None:
            for seq, recent in list(self.recent):
                if seq > since and waiter.offer(recent):
                    return waiter
        reference = weakref.ref(waiter, self._forget)
        waiter.on_cancel(partial(self._forget, reference))
        self.present.append(reference)
        self._state.watchers.append(reference)
        if timeout is not None:
            waiter.arm(
                self._state.timers.call_later(timeout, lambda: self._expire(reference, timeout))
            )
        return waiter

    def awaited(self, event: type[Event]) -> bool:
        """Whether an event of this class may end a wait."""
        waiters = [reference() for reference in self.present]
        return any(waiter is not None and waiter.awaits(event) for waiter in waiters)

    def tell(self, event: Event) -> None:
        """End the waits for an event."""
        for reference in list(self.present):
            waiter = reference()
            if waiter is None or waiter.offer(event):
                self._forget(reference)

    def end(self) -> None:
        """End every wait with BusClosed."""
        self.recent.clear()
        for reference in list(self.present):
            self._forget(reference)
            waiter = reference()
            if waiter is not None:
                waiter.fail(BusClosed("wait_for", "closed"))

    def _forget(self, reference: weakref.ref[Waiter[Any]]) -> None:
        if reference in self.present:
            self.present.remove(reference)
            self._state.watchers.remove(reference)

    def _expire(self, reference: weakref.ref[Waiter[Any]], timeout: float) -> None:
        self._forget(reference)
        waiter = reference()
        if waiter is not None:
            waiter.fail(TimeoutError(f"no such event within {timeout:g} s"))
