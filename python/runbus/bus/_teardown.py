"""Endings: every handler in reverse order, each with its share of what time is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, Frame, link_request
from runbus.bus._deadlines import is_cancelled
from runbus.bus._notify import as_plugin_error
from runbus.bus._timers import CutOff
from runbus.errors import HandlerCancelled, HandlerTimeout
from runbus.events import Kind

if TYPE_CHECKING:
    from runbus.bus._subscription import Subscription
    from runbus.errors import PluginError
    from runbus.events import Teardown

__all__ = ["MIN_SLICE_S", "Teardowns"]

MIN_SLICE_S = 0.05


class Teardowns(Calls):
    """The verb `teardown`."""

    async def teardown(self, event: Teardown, budget_s: float) -> list[PluginError]:
        """Tell every handler about an end, in reverse plugin order; return what failed.

        Each handler gets an equal share of the time that is left, and at least 50 ms; one that
        takes longer is cancelled and the next one is called. Nothing stops the rest.

        Cancellation is passed on at once, unless the caller shields this.

        Args:
            event: What ends.
            budget_s: How long all handlers together may take, in seconds.

        Raises:
            WrongKind: The event is no Teardown.
            BusClosed: The bus is not open.
        """
        self._check_loop("teardown")
        route = self._find_route(event, Kind.TEARDOWN, self._request_routes)
        before = CAUSE.get()
        frame = Frame(self, event, asyncio.current_task(), budget_s)
        if before is not None:
            link_request(frame, before)
        failures: list[PluginError] = []
        if self._taps:
            self._tap_intent(frame)
        ends_ns = self._now_ns() + int(budget_s * 1e9)
        remaining = len(route.subscriptions)
        CAUSE.set(frame)
        try:
            for sub in reversed(route.subscriptions):
                left_s = (ends_ns - self._now_ns()) / 1e9
                slice_s = max(left_s / remaining, MIN_SLICE_S)
                remaining -= 1
                if sub.closed:
                    continue
                failure = await self._end_one(sub, event, frame, slice_s)
                if failure is not None:
                    failures.append(failure)
        finally:
            CAUSE.set(before)
            if frame.outcomes is not None:
                self._tap_end(frame, "error" if failures else "ok")
        return failures

    async def _end_one(
        self, sub: Subscription, event: Teardown, frame: Frame, slice_s: float
    ) -> PluginError | None:
        started = self._now_ns()
        name, label = sub.owner.name, type(event).__name__
        limit_s = min(slice_s, sub.timeout_s) if sub.timeout_s is not None else slice_s
        failure: PluginError | None = None
        frame.subscription = sub
        try:
            with CutOff(limit_s, self.timers) as limit:
                if sub.once:
                    sub.close()
                await self._call_unlimited(sub, event)
            if limit.fired:
                failure = HandlerTimeout(name, sub.name, label, limit_s)
        except Exception as error:
            failure = as_plugin_error(sub, error, frame)
        except asyncio.CancelledError:
            if is_cancelled(frame.task):
                raise
            failure = HandlerCancelled(name, sub.name, label)
        finally:
            frame.subscription = None
        took = self._now_ns() - started
        sub.calls += 1
        sub.total_ns += took
        sub.max_ns = max(sub.max_ns, took)
        if failure is not None:
            sub.errors += 1
            sub.last_error = str(failure)
        if frame.outcomes is not None:
            verdict = f"error: {failure}" if failure is not None else "ok"
            frame.outcomes.append((name, sub.name, verdict, took))
        return failure
