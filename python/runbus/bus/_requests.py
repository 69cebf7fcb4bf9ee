"""Requests: the caller needs the answers, so the first failure ends them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from runbus.bus._causality import CAUSE, Frame, link_request
from runbus.bus._failures import refused
from runbus.bus._foreign import shown
from runbus.bus._shapes import UNKNOWN, declared, fits, title
from runbus.errors import NoHandler
from runbus.events import Collector, First, Kind, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbus.bus._calls import Calls
    from runbus.bus._routing import Route
    from runbus.bus._state import BusState
    from runbus.bus._subscription import Subscription
    from runbus.bus._taps import Taps
    from runbus.events import Decorate, Event

__all__ = ["Asking", "Requests"]

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


class Asking:
    """What all requests have in common: who is asked, and that nothing asks itself."""

    def __init__(self, state: BusState, taps: Taps) -> None:
        self._state = state
        self._taps = taps

    def begin(self, event: Event, kind: Kind) -> tuple[Route, Frame]:
        """Return who gets a request, and its dispatch.

        Raises:
            BusClosed: The bus is not open.
            WrongKind: The event is of another kind.
            WrongLoop: This is another thread or loop than that of the bus.
            Reentrant: A handler of this event asks for it again.
            RecursionLimit: More than 16 events caused one another.
        """
        state = self._state
        state.check_loop(kind.verb)
        route = state.request_routes.get(type(event))
        if route is None or route.kind is not kind:
            route = state.find_route(event, kind, state.request_routes)
        frame = state.frame(event, route.limit_s)
        before = CAUSE.get()
        if before is not None:
            link_request(frame, before)
        return route, frame

    @contextmanager
    def answering(self, frame: Frame) -> Iterator[None]:
        """Make `frame` the dispatch that runs, and tell the taps how it ended."""
        if self._taps.present:
            self._taps.intent(frame)
        status = "error"
        try:
            with self._state.running(frame):
                yield
            status = "ok"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        finally:
            if frame.outcomes is not None:
                self._taps.end(frame, status)

    def correct(self, frame: Frame, failed: Subscription) -> None:
        """Tell the taps that a handler, of which they heard that all was well, has failed after."""
        if frame.outcomes is not None:
            error = f"error: {failed.last_error}"
            frame.outcomes = [
                (sub, error if sub is failed else verdict, took)
                for sub, verdict, took in frame.outcomes
            ]
            self._taps.end(frame, "error")


class Requests:
    """The verbs `apply`, `collect`, `first` and `decorate`."""

    def __init__(self, asking: Asking, calls: Calls) -> None:
        self._asking = asking
        self._calls = calls

    async def apply(self, event: Pipeline[T]) -> T:
        """Pass a value through every handler in plugin order and return the last one.

        Cancellation ends the running handler and is passed on; no later one is called.

        Raises:
            HookError: A handler failed, returned None or a value of another type.
            Reentrant: A handler of this event applied it again.
        """
        route, frame = self._asking.begin(event, Kind.PIPELINE)
        with self._asking.answering(frame):
            value: T = event.value
            step: Any = event
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                with self._calls.counted(sub, frame):
                    result = await self._calls.call(sub, step)
                    check_step(sub, event, value, result)
                    step = replace(event, value=result)
                value = result
        return value

    async def collect(self, event: Collector[T]) -> list[tuple[str, T]]:
        """Return the items of every handler as `(plugin, item)`, in plugin order.

        Cancellation ends the running handler and is passed on; no later one is called.

        Raises:
            HookError: A handler failed, returned no list or tuple, or an item of another type.
                Nothing is returned then: half a collection is worse than none.
            Reentrant: A handler of this event collected it again.
        """
        route, frame = self._asking.begin(event, Kind.COLLECTOR)
        items: list[tuple[str, T]] = []
        with self._asking.answering(frame):
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                with self._calls.counted(sub, frame):
                    result = await self._calls.call(sub, event)
                    found = checked_items(sub, event, result)
                items += [(sub.owner.name, item) for item in found]
        return items

    async def first(self, event: First[T]) -> tuple[str, T]:
        """Return the first answer that is not None, and the plugin that gave it.

        Later handlers are not called. Cancellation ends the running handler and is passed on.

        Raises:
            HookError: A handler failed, or answered with a value of another type.
            NoHandler: Every handler returned None, or there is none.
            Reentrant: A handler of this event asked for it again.
        """
        route, frame = self._asking.begin(event, Kind.FIRST)
        with self._asking.answering(frame):
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                with self._calls.counted(sub, frame):
                    result = await self._calls.call(sub, event)
                    check_answer(sub, event, result)
                if result is not None:
                    return sub.owner.name, result
            asked = tuple(sub.owner.name for sub in route.subscriptions)
            raise NoHandler(type(event).__name__, asked)

    def decorate(self, event: Decorate, fn: F) -> F:
        """Return `fn` wrapped by every handler; the first plugin's wrapper is outermost.

        Raises:
            HookError: A handler failed or returned what cannot be called.
            Reentrant: A handler of this event decorated with it again.
        """
        route, frame = self._asking.begin(event, Kind.DECORATE)
        with self._asking.answering(frame):
            wrapped: Any = fn
            for sub in reversed(route.subscriptions):
                if sub.skip:
                    continue
                if sub.once:
                    sub.close()
                with self._calls.counted(sub, frame):
                    wrapped = sub.invoke(event, wrapped)
                    if not callable(wrapped):
                        raise refused(
                            sub, event, f"returned {shown(wrapped)}, which cannot be called"
                        )
        result: F = wrapped
        return result


def check_step(sub: Subscription, event: Event, value: object, result: object) -> None:
    """Refuse what is no next value of a pipeline.

    Raises:
        HookError: It is None, or of another type than the event class declares; of another than
            the value before, where the class declares none.
    """
    if result is None:
        raise refused(sub, event, "returned None; return the new value, or the old one unchanged")
    shape = declared(type(event), Pipeline)
    if shape is UNKNOWN:
        shape = type(value)
    if type(result) is not shape and not fits(result, shape):
        kind = type(result).__name__
        raise refused(sub, event, f"returned a {kind}; a {title(shape)} was expected")


def checked_items(sub: Subscription, event: Event, result: object) -> list[Any]:
    """Return the items of an answer, which must be of the type that the event class declares.

    Raises:
        HookError: It is not a list, a tuple or None, or an item is of another type.
    """
    if result is None:
        return []
    if isinstance(result, str):
        raise refused(sub, event, f"returned a bare str; return [{result[:40]!r}]")
    if not isinstance(result, (list, tuple)):
        kind = type(result).__name__
        raise refused(sub, event, f"returned a {kind}; a list or tuple was expected")
    shape = declared(type(event), Collector)
    items = list(result)
    for number, item in enumerate(items):
        if not fits(item, shape):
            kind = type(item).__name__
            problem = f"returned a {kind} as item {number}; a {title(shape)} was expected"
            raise refused(sub, event, problem)
    return items


def check_answer(sub: Subscription, event: Event, result: object) -> None:
    """Refuse an answer of another type than the event class declares.

    Raises:
        HookError: It is.
    """
    shape = declared(type(event), First)
    if result is not None and not fits(result, shape):
        kind = type(result).__name__
        raise refused(sub, event, f"answered with a {kind}; a {title(shape)} was expected")
