"""Requests: the caller needs the answers, so the first failure ends them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, Frame, link_request
from runbus.bus._deadlines import judge_cancellation, take_back
from runbus.bus._notify import as_plugin_error
from runbus.bus._state import current_task
from runbus.errors import HookError, NoHandler
from runbus.events import Kind
from runbus.events._event import replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from runbus.bus._routing import Route
    from runbus.bus._subscription import Subscription
    from runbus.events import Around, Collector, Decorate, Event, First, Pipeline

__all__ = ["Requests"]

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


class Requests(Calls):
    """The verbs `apply`, `collect`, `first`, `around` and `decorate`."""

    def _request(self, event: Event, kind: Kind) -> tuple[Route, Frame]:
        self._check_loop(kind.verb)
        route = self._request_routes.get(type(event))
        if route is None or route.kind is not kind:
            route = self._find_route(event, kind, self._request_routes)
        frame = Frame(self, event, current_task(self._loop), route.limit_s)
        before = CAUSE.get()
        if before is not None:
            link_request(frame, before)
        return route, frame

    @contextmanager
    def _answering(self, frame: Frame) -> Iterator[None]:
        """Make `frame` the one that runs, and tell the taps how it ended."""
        before = CAUSE.get()
        if self._taps:
            self._tap_intent(frame)
        status = "error"
        CAUSE.set(frame)
        self._active.add(frame)
        if not self._sweeper.armed or frame.limit_s < self._sweeper.shortest_s:
            self._sweeper.arm(frame.limit_s)
        try:
            yield
            status = "ok"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        finally:
            self._active.discard(frame)
            CAUSE.set(before)
            if frame.cancels:
                take_back(frame)
            if frame.outcomes is not None:
                self._tap_end(frame, status)

    async def _ask(self, sub: Subscription, event: Event, frame: Frame) -> Any:
        """Call one handler; its failure becomes an error that names it."""
        frame.subscription = sub
        frame.started_ns = started = self._now_ns()
        verdict = "ok"
        try:
            return await self._call(sub, event, frame)
        except Exception as error:
            verdict = f"error: {type(error).__name__}: {error}"
            raise self._broken(sub, error, frame) from error
        except asyncio.CancelledError as error:
            verdict = "cancelled"
            failure = judge_cancellation(error, sub, frame)
            verdict = f"error: {type(failure).__name__}: {failure}"
            raise self._broken(sub, failure, frame) from failure
        finally:
            self._note_call(sub, frame, started, verdict)

    def _note_call(self, sub: Subscription, frame: Frame, started: int, verdict: str) -> None:
        took = self._now_ns() - started
        sub.calls += 1
        sub.total_ns += took
        sub.max_ns = max(sub.max_ns, took)
        frame.subscription = None
        if frame.outcomes is not None:
            frame.outcomes.append((sub, verdict, took))

    def _broken(self, sub: Subscription, error: Exception, frame: Frame) -> HookError:
        sub.errors += 1
        sub.streak += 1
        sub.last_error = f"{type(error).__name__}: {error}"
        failure = as_plugin_error(sub, error, frame)
        if isinstance(failure, HookError):
            return failure
        return HookError(sub.owner.name, sub.name, type(frame.event).__name__, f"failed: {error}")

    # -- the verbs

    async def apply(self, event: Pipeline[T]) -> T:
        """Pass a value through every handler in plugin order and return the last one.

        Cancellation ends the running handler and is passed on; no later one is called.

        Raises:
            HookError: A handler failed, returned None or a value of another type.
            Reentrant: A handler of this event applied it again.
        """
        route, frame = self._request(event, Kind.PIPELINE)
        with self._answering(frame):
            value: T = event.value
            step: Any = event
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                result = await self._ask(sub, step, frame)
                check_step(sub, event, value, result)
                value = result
                step = replace(event, value=value)
        return value

    async def collect(self, event: Collector[T]) -> list[tuple[str, T]]:
        """Return the items of every handler as `(plugin, item)`, in plugin order.

        Cancellation ends the running handler and is passed on; no later one is called.

        Raises:
            HookError: A handler failed, or returned no list or tuple. Nothing is returned then:
                half a collection is worse than none.
            Reentrant: A handler of this event collected it again.
        """
        route, frame = self._request(event, Kind.COLLECTOR)
        items: list[tuple[str, T]] = []
        with self._answering(frame):
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                result = await self._ask(sub, event, frame)
                check_items(sub, event, result)
                items += [(sub.owner.name, item) for item in result or ()]
        return items

    async def first(self, event: First[T]) -> tuple[str, T]:
        """Return the first answer that is not None, and the plugin that gave it.

        Later handlers are not called. Cancellation ends the running handler and is passed on.

        Raises:
            HookError: A handler failed.
            NoHandler: Every handler returned None, or there is none.
            Reentrant: A handler of this event asked for it again.
        """
        route, frame = self._request(event, Kind.FIRST)
        with self._answering(frame):
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                result = await self._ask(sub, event, frame)
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
        route, frame = self._request(event, Kind.DECORATE)
        with self._answering(frame):
            wrapped: Any = fn
            for sub in reversed(route.subscriptions):
                if sub.skip:
                    continue
                started = self._now_ns()
                frame.subscription = sub
                verdict = "ok"
                try:
                    wrapped = sub.invoke(event, wrapped)
                    if not callable(wrapped):
                        raise refused(sub, event, f"returned {wrapped!r}, which cannot be called")
                except Exception as error:
                    verdict = f"error: {type(error).__name__}: {error}"
                    raise self._broken(sub, error, frame) from error
                finally:
                    self._note_call(sub, frame, started, verdict)
        result: F = wrapped
        return result

    def around(self, event: Around) -> AbstractAsyncContextManager[list[Any]]:
        """Enter the context manager of every handler in plugin order; exit them in reverse.

        The block gets the values that the managers gave on entering. If one fails on entering,
        those entered before it exit with that error. Every manager sees an error of the block,
        but none can swallow it unless the event class says `may_suppress`.

        Raises:
            HookError: A handler failed, or a manager did on entering or, where the block did not
                fail, on exiting. Where the block failed, that error goes on, with a note.
            Reentrant: A handler of this event wrapped it again.
        """
        return self._around(event)

    @asynccontextmanager
    async def _around(self, event: Around) -> AsyncIterator[list[Any]]:
        route, frame = self._request(event, Kind.AROUND)
        entered: list[tuple[Subscription, AbstractAsyncContextManager[Any]]] = []
        values: list[Any] = []
        try:
            with self._answering(frame):
                for sub in route.subscriptions:
                    if sub.skip:
                        continue
                    manager = await self._ask(sub, event, frame)
                    if not hasattr(manager, "__aenter__"):
                        raise refused(sub, event, f"returned {manager!r}, no async context manager")
                    values.append(await self._step(sub, frame, manager.__aenter__))
                    entered.append((sub, manager))
            yield values
        except BaseException as error:
            if await self._exit(event, entered, error):
                return
            raise
        else:
            await self._exit(event, entered, None)

    async def _step(
        self, sub: Subscription, frame: Frame, step: Callable[..., Any], *args: Any
    ) -> Any:
        """Call one method of a wrapper; its failure becomes an error that names it."""
        frame.subscription = sub
        frame.started_ns = self._now_ns()
        try:
            return await step(*args)
        except Exception as error:
            raise self._broken(sub, error, frame) from error
        except asyncio.CancelledError as error:
            failure = judge_cancellation(error, sub, frame)
            raise self._broken(sub, failure, frame) from failure
        finally:
            frame.subscription = None

    async def _exit(
        self,
        event: Around,
        entered: list[tuple[Subscription, AbstractAsyncContextManager[Any]]],
        error: BaseException | None,
    ) -> bool:
        """Exit the wrappers in reverse; return whether the error of the body was swallowed."""
        body, failures = error, []
        frame = Frame(self, event, asyncio.current_task(), type(event).deadline_s)
        before = CAUSE.get()
        self._active.add(frame)
        try:
            while entered:
                sub, manager = entered.pop()
                details = (type(body), body, body.__traceback__) if body else (None, None, None)
                try:
                    swallowed = await self._step(sub, frame, manager.__aexit__, *details)
                    if swallowed and event.may_suppress:
                        body = None
                except HookError as broken:
                    if broken.__cause__ is not body or body is None:
                        failures.append(broken)
        finally:
            self._active.discard(frame)
            CAUSE.set(before)
        if body is None and failures:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("wrappers failed", failures)
        for failure in failures:
            if body is not None:
                body.add_note(f"while this error left the wrappers: {failure}")
        return error is not None and body is None


def refused(sub: Subscription, event: Event, problem: str) -> HookError:
    """Return the error of a handler that returned what its kind of event has no use for."""
    return HookError(sub.owner.name, sub.name, type(event).__name__, problem)


def check_step(sub: Subscription, event: Event, value: object, result: object) -> None:
    """Refuse what is no next value of a pipeline.

    Raises:
        HookError: It is None, or of another type.
    """
    if result is None:
        raise refused(sub, event, "returned None; return the new value, or the old one unchanged")
    if not isinstance(result, type(value)) and not isinstance(value, type(result)):
        kind, wanted = type(result).__name__, type(value).__name__
        raise refused(sub, event, f"returned a {kind}; a {wanted} was expected")


def check_items(sub: Subscription, event: Event, result: object) -> None:
    """Refuse what is no list of items.

    Raises:
        HookError: It is not a list, a tuple or None.
    """
    if isinstance(result, str):
        raise refused(sub, event, f"returned a bare str; return [{result[:40]!r}]")
    if result is not None and not isinstance(result, (list, tuple)):
        kind = type(result).__name__
        raise refused(sub, event, f"returned a {kind}; a list or tuple was expected")
