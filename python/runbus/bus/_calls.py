"""Calling one handler, whatever it is: sync or async, in a thread, once, with its own limit."""

from __future__ import annotations

import asyncio
import inspect
import logging
import types
from typing import TYPE_CHECKING, Any

import anyio

from runbus.bus._cancellation import judge
from runbus.bus._failures import as_plugin_error, refused
from runbus.bus._foreign import describe, is_torn_down, text_of
from runbus.bus._timers import CutOff
from runbus.errors import HandlerTimeout, HookError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from types import TracebackType

    from runbus.bus._causality import Frame
    from runbus.bus._subscription import Subscription
    from runbus.bus._timers import Timers
    from runbus.events import Event

__all__ = ["SLOW_S", "Calls", "refuse_awaitable"]

logger = logging.getLogger("runbus.bus")

SLOW_S = 0.05
_WARN_EVERY_S = 60.0


class Calls:
    """How handlers are called, what is counted of it, and what their errors become."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._now = timers.monotonic

    # -- one call

    async def call(self, sub: Subscription, event: Event) -> Any:
        """Call any handler and return what it returns.

        Raises:
            HandlerTimeout: It took longer than the limit it asked for.
        """
        if sub.once:
            sub.close()
        if sub.timeout_s is None:
            return await self.call_unlimited(sub, event)
        return await self.limited(sub, event, self.call_unlimited, sub, event)

    async def limited(
        self, sub: Subscription, event: Event, step: Callable[..., Awaitable[Any]], *args: Any
    ) -> Any:
        """Await one step of a handler, within the limit that it asked for when it subscribed.

        Raises:
            HandlerTimeout: It took longer.
        """
        if sub.timeout_s is None:
            return await step(*args)
        with CutOff(sub.timeout_s, self._timers) as limit:
            return await step(*args)
        assert limit.fired
        raise HandlerTimeout(sub.owner.name, sub.name, type(event).__name__, sub.timeout_s)

    async def call_unlimited(self, sub: Subscription, event: Event) -> Any:
        """Call any handler, as long as it takes."""
        if sub.is_async:
            return await self._stepwise(sub, sub.invoke(event))
        if sub.thread:
            return await anyio.to_thread.run_sync(sub.invoke, event, abandon_on_cancel=True)
        started = self._now()
        result = sub.invoke(event)
        self._note_held(sub, started)
        if result is not None:
            refuse_awaitable(sub, event, result)
        return result

    @types.coroutine
    def _stepwise(
        self, sub: Subscription, coroutine: Coroutine[Any, Any, Any]
    ) -> Generator[Any, Any, Any]:
        """Await a coroutine and see how long each of its steps holds the event loop."""
        sub.seen_stepwise()
        value: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                started = self._now()
                try:
                    waits = coroutine.send(value) if thrown is None else coroutine.throw(thrown)
                except StopIteration as end:
                    return end.value
                finally:
                    self._note_held(sub, started)
                value = thrown = None
                try:
                    value = yield waits
                except GeneratorExit:
                    raise
                except BaseException as error:
                    thrown = error
        finally:
            coroutine.close()

    def _note_held(self, sub: Subscription, started: float) -> None:
        now = self._now()
        took_s = now - started
        if took_s <= SLOW_S:
            return
        sub.slow += 1
        if now - sub.warned_at > _WARN_EVERY_S:
            sub.warned_at = now
            logger.warning(
                "plugin %r: %s held the event loop for %.0f ms; use thread=True or a thread",
                sub.owner.name,
                sub.name,
                took_s * 1e3,
            )

    # -- one call of a request: the caller needs the answer

    def counted(self, sub: Subscription, frame: Frame) -> Counted:
        """Return a block that is one call of a handler: its failure becomes a HookError."""
        return Counted(self, sub, frame, self._now())

    def note(self, sub: Subscription, frame: Frame, started: float, verdict: str) -> None:
        """Note how long a call took, and how it ended."""
        took = self._now() - started
        sub.took(took)
        if frame.outcomes is not None:
            frame.outcomes.append((sub, verdict, round(took * 1e9)))

    def broken(self, sub: Subscription, error: BaseException, frame: Frame) -> HookError:
        """Count a failure and return it as an error that names the handler.

        A genuine cancellation is raised again.
        """
        if isinstance(error, asyncio.CancelledError):
            error = judge(error, sub, frame)
        sub.count_failure(describe(error))
        failure = as_plugin_error(sub, error, frame.event)
        if not isinstance(failure, HookError):
            failure = refused(sub, frame.event, f"failed: {text_of(failure)}")
            failure.__cause__ = error
        return failure


class Counted:
    """A block that counts as one call of a handler, whose failure ends the request."""

    __slots__ = ("_calls", "_frame", "_started", "_sub")

    def __init__(self, calls: Calls, sub: Subscription, frame: Frame, started: float) -> None:
        self._calls = calls
        self._sub = sub
        self._frame = frame
        self._started = started

    def __enter__(self) -> None:
        self._frame.now[0] = self._sub

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sub, verdict = self._sub, "cancelled"
        try:
            if exc is None:
                verdict = "ok"
                sub.calls += 1.0
            elif isinstance(exc, (Exception, asyncio.CancelledError)):
                failure = self._calls.broken(sub, exc, self._frame)
                verdict = f"error: {sub.last_error}"
                raise failure from failure.__cause__
            elif not is_torn_down(exc, self._frame.task):
                # It passes through everything, but the one to blame is named.
                sub.count_failure(describe(exc))
                verdict = f"error: {sub.last_error}"
        finally:
            if verdict == "cancelled":
                sub.count_cancelled()
            self._frame.now[0] = None
            self._calls.note(sub, self._frame, self._started, verdict)


def refuse_awaitable(sub: Subscription, event: Event, result: object) -> None:
    """Refuse a coroutine from a handler that is not async: nobody would have awaited it.

    Raises:
        HookError: It is an awaitable.
    """
    if not inspect.isawaitable(result):
        return
    close = getattr(result, "close", None)
    if close is not None:
        close()
    raise refused(
        sub,
        event,
        "is not async but returned an awaitable; define it with `async def` (a lambda cannot be)",
    )
