"""Endings: every handler in reverse order, each with its share of what time is left."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runbus.bus._cancellation import leave_behind
from runbus.bus._causality import Frame, Place
from runbus.bus._checks import check_number
from runbus.bus._failures import CleanUp, as_plugin_error
from runbus.bus._foreign import exc_info, text_of
from runbus.bus._routing import APPLICATION
from runbus.bus._timers import wait_until
from runbus.errors import HandlerCancelled, HandlerTimeout, PluginStuck
from runbus.events import Kind

if TYPE_CHECKING:
    from runbus.bus._calls import Calls
    from runbus.bus._requests import Asking
    from runbus.bus._state import BusState
    from runbus.bus._subscription import Subscription
    from runbus.bus._taps import Taps
    from runbus.errors import PluginError
    from runbus.events import Teardown

__all__ = ["MIN_SLICE_S", "Teardowns"]

MIN_SLICE_S = 0.05
_GRACE_S = 1.0
_AGAIN_S = 0.25

logger = logging.getLogger("runbus.bus")


class Teardowns:
    """The verb `teardown`."""

    def __init__(self, state: BusState, asking: Asking, taps: Taps, calls: Calls) -> None:
        self._state = state
        self._asking = asking
        self._taps = taps
        self._calls = calls

    async def teardown(self, event: Teardown, budget_s: float) -> list[PluginError]:
        """Tell every handler about an end, in reverse plugin order; return what failed.

        Each handler gets an equal share of the time that is left, and at least 50 ms; one that
        takes longer is cancelled. If it ignores that for as long again, at most a second, it is
        left behind, and the next one is called. Each runs in a task of its own. Nothing that a
        handler raises keeps the others from being told, KeyboardInterrupt and SystemExit
        included: these are raised in the end.

        Cancellation is passed on at once, unless the caller shields this.

        Args:
            event: What ends.
            budget_s: How long all handlers together may take, in seconds.

        Raises:
            WrongKind: The event is no Teardown.
            BusClosed: The bus is not open.
            InvalidOption: The budget is not a number of seconds.
        """
        check_number(budget_s, APPLICATION, "budget_s", at_least=0)
        route, frame = self._asking.begin(event, Kind.TEARDOWN)
        failures: list[PluginError] = []
        clean_up = CleanUp()
        if self._taps.present:
            self._taps.intent(frame)
        now_ns = self._state.timers.monotonic_ns
        ends_ns = now_ns() + int(budget_s * 1e9)
        remaining = len(route.subscriptions)
        for sub in reversed(route.subscriptions):
            slice_s = max((ends_ns - now_ns()) / 1e9 / remaining, MIN_SLICE_S)
            remaining -= 1
            if not sub.closed:
                failures += await self._end_one(sub, frame, slice_s, clean_up)
        if frame.outcomes is not None:
            self._taps.end(frame, "error" if failures else "ok")
        if clean_up.error is not None:
            raise clean_up.error
        return failures

    async def _end_one(
        self, sub: Subscription, whole: Frame, slice_s: float, clean_up: CleanUp
    ) -> list[PluginError]:
        """Call one handler in a task of its own, which can be left behind if it never ends."""
        started = self._state.timers.monotonic()
        limit_s = min(slice_s, sub.timeout_s) if sub.timeout_s is not None else slice_s
        if sub.once:
            sub.close()
        task = asyncio.get_running_loop().create_task(
            self._end_in_task(sub, whole, clean_up), name=f"{sub.owner.name}: {sub.name}"
        )
        try:
            failure = await self._outcome_within(task, sub, whole, limit_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if failure is not None:
            sub.count_failure(text_of(failure))
            logger.error("%s", text_of(failure), exc_info=exc_info(failure.__cause__))
        else:
            sub.calls += 1.0
        verdict = "ok" if failure is None else f"error: {text_of(failure)}"
        self._calls.note(sub, whole, started, verdict)
        return [failure] if failure is not None else []

    async def _end_in_task(self, sub: Subscription, whole: Frame, clean_up: CleanUp) -> None:
        task = asyncio.current_task()
        frame = Frame(whole.seq, whole.event, task, self._state.active, float("inf"), [sub])
        frame.place = Place(whole.place.parent)
        try:
            with self._state.running(frame):
                await self._calls.call_unlimited(sub, whole.event)
        except (KeyboardInterrupt, SystemExit) as error:
            # Raised here, it would end the event loop before the others are told.
            clean_up.add(error)

    async def _outcome_within(
        self, task: asyncio.Task[None], sub: Subscription, whole: Frame, limit_s: float
    ) -> PluginError | None:
        """Wait for a handler, cancel it when its time is up, and leave it some time after that."""
        timers = self._state.timers
        name, label = sub.owner.name, type(whole.event).__name__
        if not await wait_until(task, limit_s, timers):
            grace_s = min(_GRACE_S, limit_s)
            ends_ns = timers.monotonic_ns() + int(grace_s * 1e9)
            while (left_s := (ends_ns - timers.monotonic_ns()) / 1e9) > 0:
                task.cancel()
                if await wait_until(task, min(_AGAIN_S, left_s), timers):
                    return HandlerTimeout(name, sub.name, label, limit_s)
            leave_behind(task)
            return PluginStuck(name, f"{sub.name} ignores its cancellation", limit_s + grace_s)
        if task.cancelled():
            return HandlerCancelled(name, sub.name, label)
        error = task.exception()
        return as_plugin_error(sub, error, whole.event) if error is not None else None
