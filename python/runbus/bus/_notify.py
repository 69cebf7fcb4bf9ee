"""Notifications: every handler in order, one failing handler hurts nobody."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from runbus.bus._calls import Calls
from runbus.bus._causality import CAUSE, Frame, link
from runbus.bus._deadlines import judge_cancellation, take_back
from runbus.bus._receipt import Receipt
from runbus.bus._state import current_task, get_ident
from runbus.errors import HookError, PluginError
from runbus.events import HandlerFailed, Kind, Notify, PluginQuarantined

if TYPE_CHECKING:
    from runbus.bus._routing import Route
    from runbus.bus._subscription import Owner, Subscription

__all__ = ["QUARANTINE_AFTER", "Notifications"]

QUARANTINE_AFTER = 5

logger = logging.getLogger("runbus.bus")


class Notifications(Calls):
    """The verb `publish`."""

    async def publish(self, event: Notify) -> Receipt:
        """Tell every handler about a fact, one after another in plugin order, and wait for them.

        The loop is not yielded to unless a handler waits. An event published by a handler of the
        same event class is queued: it is dispatched after the current one, before the outermost
        `publish` returns. Publishes `HandlerFailed` and `PluginQuarantined` when handlers fail.

        If the caller is cancelled, the running handler is cancelled, those not yet reached are not
        called, and queued events are dropped.

        Raises:
            WrongKind: The event is no Notify.
            BusClosed: The bus is not open.
            RecursionLimit: More than 16 events caused one another.
            HookError: A handler of a critical plugin failed; the others were called all the same.
        """
        if get_ident() != self._thread_id or (task := current_task(self._loop)) is None:
            raise self._refuse("publish")
        route = self._notify_routes.get(type(event))
        if route is None:
            route = self._find_route(event, Kind.NOTIFY, self._notify_routes)
        frame = Frame(self, event, task, route.limit_s)
        receipt = Receipt(frame.seq)
        self._recent.append((frame.seq, event))
        before = CAUSE.get()
        if before is not None:
            link(frame, before)
            holder = frame.up.holder(type(event)) if frame.up is not None else None
            if holder is not None:
                self._queue(holder, frame, receipt)
                return receipt
        if route.boxes or self._taps or self._waiters:
            self._announce(route, frame)
        if not (route.subscriptions or frame.outcomes is not None):
            return receipt
        try:
            CAUSE.set(frame)
            await self._call_all(route, frame, receipt)
            if frame.pending is not None:
                await self._drain_pending(frame)
        finally:
            CAUSE.set(before)
            if frame.pending:
                self._drop_pending(frame)
        if receipt.errors:
            raise_critical(receipt, self.registry.owners)
        return receipt

    def _announce(self, route: Route, frame: Frame) -> None:
        """Tell everybody who does not take part in the dispatch."""
        if self._taps:
            self._tap_intent(frame)
        item = (frame.event, frame.seq)
        for offer in route.offers:
            offer(item)
        if self._waiters:
            self._tell_waiters(frame.event)

    async def _call_all(self, route: Route, frame: Frame, receipt: Receipt) -> None:
        event = frame.event
        now_ns = self._now_ns
        active = self._active
        active.add(frame)
        if not self._sweeper.armed or frame.limit_s < self._sweeper.shortest_s:
            self._sweeper.arm(frame.limit_s)
        frame.started_ns = started = now_ns()
        status = "cancelled"
        try:
            for sub in route.subscriptions:
                if sub.skip:
                    continue
                frame.subscription = sub
                try:
                    if sub.plain:
                        await sub.invoke(event)
                    else:
                        await self._call(sub, event, frame)
                    sub.streak = 0
                    receipt.handled += 1
                except (Exception, asyncio.CancelledError) as error:
                    await self._failed(sub, error, frame, receipt)
                ended = now_ns()
                took = ended - started
                frame.started_ns = started = ended
                sub.calls += 1
                sub.total_ns += took
                if took > sub.max_ns:
                    sub.max_ns = took
                if frame.outcomes is not None:
                    verdict = f"error: {sub.last_error}" if sub.streak else "ok"
                    frame.outcomes.append((sub, verdict, took))
            status = "error" if receipt.errors else "ok"
            frame.subscription = None
        finally:
            active.discard(frame)
            if frame.cancels:
                take_back(frame)
            if frame.outcomes is not None:
                self._tap_all(route, frame, status)
            frame.subscription = None

    def _tap_all(self, route: Route, frame: Frame, status: str) -> None:
        """Tell the taps how it ended, also of the handlers that were not called to the end."""
        called = frame.outcomes
        assert called is not None
        done = {sub for sub, _, _ in called}
        for sub in route.subscriptions:
            if sub not in done:
                called.append((sub, "cancelled" if sub is frame.subscription else "skipped", 0))
        self._tap_end(frame, status)

    # -- the same event again

    def _queue(self, holder: Frame, frame: Frame, receipt: Receipt) -> None:
        if holder.pending is None:
            holder.pending = deque()
        frame.up = holder
        receipt.queue(holder, asyncio.get_running_loop().create_future())
        holder.pending.append((frame, receipt))

    async def _drain_pending(self, holder: Frame) -> None:
        pending = holder.pending
        while pending:
            frame, receipt = pending.popleft()
            frame.pending = pending
            try:
                route = self._find_route(frame.event, Kind.NOTIFY, self._notify_routes)
                if route.boxes or self._taps or self._waiters:
                    self._announce(route, frame)
                CAUSE.set(frame)
                await self._call_all(route, frame, receipt)
            finally:
                receipt.finish()

    def _drop_pending(self, holder: Frame) -> None:
        while holder.pending:
            frame, receipt = holder.pending.popleft()
            receipt.finish()
            if self._taps:
                self._tap_intent(frame)
                self._tap_end(frame, "dropped")

    # -- failures

    async def _failed(
        self, sub: Subscription, error: BaseException, frame: Frame, receipt: Receipt
    ) -> None:
        """Count a failure, and tell of it; a genuine cancellation is raised again."""
        if isinstance(error, asyncio.CancelledError):
            error = judge_cancellation(error, sub, frame)
        assert isinstance(error, Exception)
        failure = as_plugin_error(sub, error, frame)
        receipt.errors = [*receipt.errors, failure]
        sub.errors += 1
        sub.streak += 1
        sub.last_error = f"{type(error).__name__}: {error}"
        logger.error("%s", failure, exc_info=error)
        owner = sub.owner
        told: dict[str, Any] = {
            "plugin": owner.name,
            "handler": sub.name,
            "error": sub.last_error,
            "failures": sub.streak,
        }
        # What the bus tells of itself is no step of the causal chain: at its very end, too, the
        # failure must be told, and the other handlers called.
        frame.depth -= 1
        try:
            if frame.holder(HandlerFailed) is None:
                event = type(frame.event).__name__
                await self.publish(HandlerFailed(event=event, seq=frame.seq, **told))
            if sub.streak >= QUARANTINE_AFTER and not (owner.quarantined or owner.critical):
                self.quarantine(sub)
                await self.publish(PluginQuarantined(**told))
        except PluginError as critical:
            # It reaches the publisher in the end, but not before the other handlers were called.
            receipt.errors = [*receipt.errors, critical]
        finally:
            frame.depth += 1

    def quarantine(self, failing: Subscription) -> None:
        """Skip the notification handlers of a plugin from now on, because one keeps failing.

        The application is no plugin that could be meant as a whole: only its failing handler is
        skipped.
        """
        owner = failing.owner
        is_application = owner is self.registry.application
        logger.error(
            "plugin %r: %s failed %d times in a row; %s called no more until release(%r)",
            owner.name,
            failing.name,
            failing.streak,
            "it is" if is_application else "the plugin's handlers of notifications are",
            owner.name,
        )
        if is_application:
            failing.skip = True
            return
        owner.quarantined = True
        for sub in owner.subscriptions:
            if sub.event.kind is Kind.NOTIFY:
                sub.skip = True

    def release(self, owner: Owner) -> bool:
        """Call the handlers of a quarantined plugin again; return whether any was skipped."""
        was = any(sub.skip for sub in owner.subscriptions)
        owner.quarantined = False
        for sub in owner.subscriptions:
            sub.streak = 0
            sub.skip = sub.closed
        return was


def as_plugin_error(sub: Subscription, error: Exception, frame: Frame) -> PluginError:
    """Return the error of a handler as one that names the plugin, the handler and the event."""
    if isinstance(error, PluginError) and getattr(error, "plugin", None) == sub.owner.name:
        return error
    problem = f"raised {type(error).__name__}: {error}"
    failure = HookError(sub.owner.name, sub.name, type(frame.event).__name__, problem)
    failure.__cause__ = error
    return failure


def raise_critical(receipt: Receipt, owners: dict[str, Owner]) -> None:
    """Raise the first failure of a critical plugin, if there is one."""
    for failure in receipt.errors:
        owner = owners.get(getattr(failure, "plugin", ""))
        if owner is not None and owner.critical:
            raise failure
