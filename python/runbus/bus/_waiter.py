"""One wait for an event: registered when it is made, not when it is awaited."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from runbus.bus._foreign import describe
from runbus.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from runbus.bus._timers import TimerHandle

__all__ = ["Waiter"]

E = TypeVar("E", bound=Event)


class Waiter(Generic[E]):
    """Awaits one event; forgotten by the bus as soon as nobody holds it."""

    __slots__ = ("__weakref__", "_event", "_forget", "_future", "_predicate", "_timer")

    def __init__(self, event: type[E], predicate: Callable[[E], object] | None) -> None:
        self._event = event
        self._predicate = predicate
        self._future: asyncio.Future[E] = asyncio.get_running_loop().create_future()
        self._timer: TimerHandle | None = None
        self._forget: Callable[[], object] | None = None

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
            if self._predicate is not None and not self._accepts(event, self._predicate):
                return False
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # The predicate is the waiter's own code: its failure is no business of the publisher.
            self.fail(error)
            return True
        self._future.set_result(event)
        self._stop_timer()
        return True

    @staticmethod
    def _accepts(event: E, predicate: Callable[[E], object]) -> bool:
        answer = predicate(event)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("the predicate returned a coroutine; it must not be async")
        return bool(answer)

    def fail(self, error: BaseException) -> None:
        """End the wait with an error."""
        if not self._future.done():
            if isinstance(error, StopIteration):  # which no future takes
                error = RuntimeError(describe(error))
            self._future.set_exception(error)
            self._future.exception()  # retrieved: nobody need await it
        self._stop_timer()

    def arm(self, timer: TimerHandle) -> None:
        """Keep the timer that ends the wait."""
        self._timer = timer

    def on_cancel(self, forget: Callable[[], object]) -> None:
        """Keep what is to be called when the `await` is cancelled."""
        self._forget = forget

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __await__(self) -> Generator[Any, None, E]:
        try:
            return (yield from self._future.__await__())
        except asyncio.CancelledError:
            if self._forget is not None:
                self._forget()
            raise
        finally:
            self._stop_timer()

    def __del__(self) -> None:
        self._stop_timer()
