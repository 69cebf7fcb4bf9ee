"""Calling one handler, whatever it is: sync or async, in a thread, once, with its own limit."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import anyio

from runbus.bus._causality import CAUSE, origin_of
from runbus.bus._timers import CutOff
from runbus.bus._waiting import Waits
from runbus.errors import HandlerTimeout, HookError

if TYPE_CHECKING:
    from runbus.bus._causality import Frame
    from runbus.bus._subscription import Subscription
    from runbus.events import Event

__all__ = ["Calls"]

logger = logging.getLogger("runbus.bus")

SLOW_NS = 50_000_000
_WARN_EVERY_NS = 60_000_000_000


class Calls(Waits):
    """How handlers are called, and what the taps get to see of it."""

    async def _call(self, sub: Subscription, event: Event, frame: Frame) -> Any:
        """Call any handler and return what it returns.

        Raises:
            HandlerTimeout: It took longer than the limit it asked for.
        """
        if sub.once:
            sub.close()
        if sub.timeout_s is None:
            return await self._call_unlimited(sub, event)
        with CutOff(sub.timeout_s, self.timers) as limit:
            return await self._call_unlimited(sub, event)
        assert limit.fired
        raise HandlerTimeout(sub.owner.name, sub.name, type(event).__name__, sub.timeout_s)

    async def _call_unlimited(self, sub: Subscription, event: Event) -> Any:
        if sub.is_async:
            return await sub.invoke(event)
        if sub.thread:
            return await anyio.to_thread.run_sync(sub.invoke, event, abandon_on_cancel=True)
        started = self._now_ns()
        result = sub.invoke(event)
        took = self._now_ns() - started
        if took > SLOW_NS:
            self._note_slow(sub, took, started)
        if result is not None:
            refuse_awaitable(sub, event, result)
        return result

    def _note_slow(self, sub: Subscription, took_ns: int, now_ns: int) -> None:
        sub.slow += 1
        if sub.slow == 1 or now_ns - sub.warned_ns > _WARN_EVERY_NS:
            sub.warned_ns = now_ns
            logger.warning(
                "plugin %r: %s held the event loop for %.0f ms; make it async or use thread=True",
                sub.owner.name,
                sub.name,
                took_ns / 1e6,
            )

    # -- taps

    def _tap_intent(self, frame: Frame) -> None:
        frame.outcomes = []
        origin = origin_of(CAUSE.get() if frame.cause is None else frame.cause)
        for tap in self._taps:
            try:
                tap.intent(frame.seq, frame.parent, frame.event, origin)
            except Exception:
                logger.exception("a tap of the bus failed")

    def _tap_end(self, frame: Frame, status: str) -> None:
        outcomes = [
            (sub.owner.name, sub.name, verdict, took) for sub, verdict, took in frame.outcomes or ()
        ]
        for tap in self._taps:
            try:
                tap.outcome(frame.seq, status, outcomes)
            except Exception:
                logger.exception("a tap of the bus failed")


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
    raise HookError(
        sub.owner.name,
        sub.name,
        type(event).__name__,
        "is not async but returned an awaitable; define it with `async def` (a lambda cannot be)",
    )
