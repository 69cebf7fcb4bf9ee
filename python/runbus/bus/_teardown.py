"""Endings: every handler in reverse order, each with its share of what time is left."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, Frame, link_request
from runbus.bus._notify import as_plugin_error
from runbus.bus._timers import wait_until
from runbus.errors import HandlerCancelled, HandlerTimeout, PluginStuck
from runbus.events import Kind

if TYPE_CHECKING:
    from runbus.bus._subscription import Subscription
    from runbus.errors import PluginError
    from runbus.events import Teardown

__all__ = ["MIN_SLICE_S", "Teardowns"]

MIN_SLICE_S = 0.05
_GRACE_S = 1.0
_AGAIN_S = 0.25

logger = logging.getLogger("runbus.bus")


class Teardowns(Calls):
    """The verb `teardown`."""

    async def teardown(self, event: Teardown, budget_s: float) -> list[PluginError]:
        """Tell every handler about an end, in reverse plugin order; return what failed.

        Each handler gets an equal share of the time that is left, and at least 50 ms; one that
        takes longer is cancelled, a second later it is left behind, and the next one is called.
        Each runs in a task of its own. Nothing stops the rest.

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
        for sub in reversed(route.subscriptions):
            left_s = (ends_ns - self._now_ns()) / 1e9
            slice_s = max(left_s / remaining, MIN_SLICE_S)
            remaining -= 1
            if not sub.closed:
                failures += await self._end_one(sub, frame, slice_s)
        if frame.outcomes is not None:
            self._tap_end(frame, "error" if failures else "ok")
        return failures

    async def _end_one(self, sub: Subscription, whole: Frame, slice_s: float) -> list[PluginError]:
        """Call one handler in a task of its own, which can be left behind if it never ends."""
        started = self._now_ns()
        limit_s = min(slice_s, sub.timeout_s) if sub.timeout_s is not None else slice_s
        if sub.once:
            sub.close()
        task = asyncio.get_running_loop().create_task(
            self._end_in_task(sub, whole), name=f"{sub.owner.name}: {sub.name}"
        )
        try:
            failure = await self._outcome_within(task, sub, whole, limit_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        took = self._now_ns() - started
        sub.calls += 1
        sub.total_ns += took
        sub.max_ns = max(sub.max_ns, took)
        if failure is not None:
            sub.errors += 1
            sub.last_error = str(failure)
            logger.error("%s", failure, exc_info=failure.__cause__)
        if whole.outcomes is not None:
            verdict = f"error: {failure}" if failure is not None else "ok"
            whole.outcomes.append((sub, verdict, took))
        return [failure] if failure is not None else []

    async def _end_in_task(self, sub: Subscription, whole: Frame) -> None:
        frame = Frame(self, whole.event, asyncio.current_task(), whole.limit_s)
        frame.seq, frame.parent, frame.subscription = whole.seq, whole.parent, sub
        CAUSE.set(frame)
        await self._call_unlimited(sub, whole.event)

    async def _outcome_within(
        self, task: asyncio.Task[None], sub: Subscription, whole: Frame, limit_s: float
    ) -> PluginError | None:
        """Wait for a handler, cancel it when its time is up, and leave it a second after that."""
        name, label = sub.owner.name, type(whole.event).__name__
        if not await wait_until(task, limit_s, self.timers):
            for _ in range(round(_GRACE_S / _AGAIN_S)):
                task.cancel()
                if await wait_until(task, _AGAIN_S, self.timers):
                    return HandlerTimeout(name, sub.name, label, limit_s)
            return PluginStuck(name, f"{sub.name} ignores its cancellation", limit_s + _GRACE_S)
        if task.cancelled():
            return HandlerCancelled(name, sub.name, label)
        error = task.exception()
        if error is None:
            return None
        if not isinstance(error, Exception):
            raise error
        return as_plugin_error(sub, error, whole)
