"""Notifications: every handler in order, one failing handler affects no other."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from runbus.bus._calls import SLOW_S, Calls
from runbus.bus._cancellation import cancels_seen, judge, take_back
from runbus.bus._causality import CAUSE, Frame, link, next_seq
from runbus.bus._failures import as_plugin_error, find_critical
from runbus.bus._foreign import describe, exc_info, is_torn_down, text_of
from runbus.bus._receipt import Receipt
from runbus.bus._state import BusState, current_task, get_ident
from runbus.errors import PluginError
from runbus.events import HandlerFailed, Kind, Notify, PluginQuarantined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.bus._routing import Route
    from runbus.bus._subscription import Owner, Subscription
    from runbus.bus._taps import Taps
    from runbus.bus._waiting import Waits

__all__ = ["QUARANTINE_AFTER", "Notifications"]

QUARANTINE_AFTER = 5

logger = logging.getLogger("runbus.bus")


class Notifications:
    """The verb `publish`, and the quarantine of plugins whose handlers keep failing.

    `publish` is one long function of four steps, because each further coroutine would cost a tenth
    of it. What is rare in a step is in a method.
    """

    def __init__(self, state: BusState, taps: Taps, waits: Waits, calls: Calls) -> None:
        self._state = state
        self._taps = taps
        self._waits = waits
        self._calls = calls
        # What `publish` uses for every event, one look-up away.
        self._routes = state.notify_routes
        self._active = state.active
        self._sweeper = state.sweeper
        self._now = state.timers.monotonic
        self._recent = waits.recent
        self._watchers = state.watchers

    async def publish(self, event: Notify) -> Receipt:  # noqa: C901 - see the class
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
            HookError: A handler of a critical plugin failed, for this event or for one that it
                caused; the others were called all the same.
        """
        # 1. May this be published here and now, and who gets it?
        state = self._state
        if get_ident() != state.thread_id or (task := current_task(state.loop)) is None:
            raise state.refusal("publish")
        try:
            route = self._routes[type(event)]
        except KeyError:
            route = state.find_route(event, Kind.NOTIFY, self._routes)
        # 2. What caused it? An event of a class that is being dispatched further out has to wait.
        active, monotonic = self._active, self._now
        seq = next_seq()
        now: list[Subscription | None] = [None]
        cancels = task.cancelling() and cancels_seen(task)
        frame = Frame(seq, event, task, active, route.limit_s, now, cancels)
        self._recent.append((seq, event))
        before = CAUSE.get()
        if before is not None:
            link(frame, before)
            if (queued := self._queue(frame)) is not None:
                return queued
        if self._watchers or route.boxes:
            self._announce(route, frame)
        subscriptions = route.subscriptions
        if not subscriptions and frame.outcomes is None:
            return Receipt(seq)
        # 3. The handlers, and after them what they published of the same class, in the same place.
        first, receipt = frame, None
        failures: Sequence[PluginError] = ()
        errors: Sequence[PluginError] = ()
        active.add(frame)
        if route.limit_s < self._sweeper.watches_s:
            self._sweeper.arm(route.limit_s)
        token = CAUSE.set(frame)
        try:
            while True:
                missed, errors = 0, ()
                began = monotonic()  # one look at the clock ends a call and begins the next
                for sub in subscriptions if frame.outcomes is None else self._noted(route, frame):
                    now[0] = sub
                    try:
                        if (invoke := sub.direct) is not None:
                            await invoke(event)
                        elif sub.skip:
                            missed += 1
                            continue
                        else:
                            await self._calls.call(sub, event)
                        sub.calls += 1.0
                    except (Exception, asyncio.CancelledError) as error:
                        missed += 1
                        errors = [*errors, *await self._failed(sub, error, frame)]
                    ended = monotonic()
                    took = ended - began
                    began = ended
                    sub.total_s += took
                    if took > sub.max_s:
                        sub.max_s = took
                        if took > SLOW_S:
                            sub.suspect()
                now[0] = None
                handled = len(subscriptions) - missed
                if receipt is None:
                    answer = Receipt(seq, handled, errors)
                else:
                    receipt.handled, receipt.errors = handled, errors
                if errors:
                    failures = [*failures, *errors]
                if not first.pending:
                    break
                self._end(route, frame, receipt, errors)
                route, frame, receipt = self._begin_pending(first)
                event, now = frame.event, frame.now  # type: ignore[assignment]
                subscriptions = route.subscriptions
        # 4. The end, however it came to that.
        finally:
            try:
                CAUSE.reset(token)
            except ValueError:
                pass  # an abandoned coroutine, closed from another context
            active.discard(frame)
            if frame.cuts or frame.outcomes is not None or first.pending is not None:
                self._end(route, frame, receipt, errors)
                self._drop_pending(first)
        if failures:
            self._raise_critical(failures)
        return answer

    def _noted(self, route: Route, frame: Frame) -> Iterator[Subscription]:
        """Yield who is to be called, and note for the taps how each call ended."""
        outcomes, monotonic = frame.outcomes, self._now
        assert outcomes is not None
        for sub in route.subscriptions:
            is_called, began = not sub.skip, monotonic()
            yield sub
            if is_called:
                took_ns = round((monotonic() - began) * 1e9)
                failing = sub.failures_in_a_row
                verdict = f"error: {sub.last_error}" if failing else "ok"
                outcomes.append((sub, verdict, took_ns))

    def _announce(self, route: Route, frame: Frame) -> None:
        """Tell everybody who does not take part in the dispatch."""
        item: Any = frame.event
        if self._taps.present:
            self._taps.intent(frame)
            item = frame.event, frame.seq
        for offer in route.offers:
            offer(item)
        if self._waits.present:
            self._waits.tell(frame.event)

    def _end(
        self,
        route: Route,
        frame: Frame,
        receipt: Receipt | None,
        errors: Sequence[PluginError],
    ) -> None:
        """Note that a dispatch ended, also one whose handlers were not all called."""
        self._active.discard(frame)
        take_back(frame)
        if frame.outcomes is not None:
            self._tell_end(route, frame, frame.outcomes, "error" if errors else "ok")
        frame.now[0] = None
        if receipt is not None:
            receipt.finish()

    def _tell_end(
        self,
        route: Route,
        frame: Frame,
        called: list[tuple[Subscription, str, int]],
        status: str,
    ) -> None:
        """Tell the taps, also of the handlers that were not called to their end."""
        verdict = "cancelled"
        if frame.subscription is not None:
            leaving = sys.exc_info()[1]
            if not (
                leaving is None
                or isinstance(leaving, asyncio.CancelledError)
                or is_torn_down(leaving, frame.task)
            ):
                verdict = f"error: {describe(leaving)}"
            status = verdict.partition(":")[0]
        done = {sub for sub, _, _ in called}
        called += [
            (sub, verdict if sub is frame.subscription else "skipped", 0)
            for sub in route.subscriptions
            if sub not in done
        ]
        self._taps.end(frame, status)

    # -- the same event again

    def _queue(self, frame: Frame) -> Receipt | None:
        """Let a running dispatch of the same event class end first, if there is one."""
        up = frame.place.up
        holder = up.holder(type(frame.event), self._active) if up is not None else None
        if holder is None:
            return None
        if holder.pending is None:
            holder.pending = deque()
        frame.place = replace(frame.place, up=holder)
        receipt = Receipt(frame.seq)
        receipt.queue(holder, asyncio.get_running_loop().create_future())
        holder.pending.append((frame, receipt))
        return receipt

    def _begin_pending(self, first: Frame) -> tuple[Route, Frame, Receipt]:
        """Begin with the next queued event, in the place and the task of the one that ended."""
        frame, receipt = first.pending.popleft()  # type: ignore[union-attr]
        frame.pending, frame.task = first.pending, first.task
        frame.cancels_before = first.cancels_before
        route = self._routes.get(type(frame.event))
        if route is None:
            route = self._state.registry.route(type(frame.event))
        if self._watchers or route.boxes:
            self._announce(route, frame)
        self._active.add(frame)
        CAUSE.set(frame)
        return route, frame, receipt

    def _drop_pending(self, first: Frame) -> None:
        while first.pending:
            frame, receipt = first.pending.popleft()
            receipt.finish()
            if self._taps.present:
                self._taps.intent(frame)
                self._taps.end(frame, "dropped")

    # -- failures

    async def _failed(
        self, sub: Subscription, error: BaseException, frame: Frame
    ) -> list[PluginError]:
        """Count a failure, tell of it and return it; a genuine cancellation is raised again."""
        if isinstance(error, asyncio.CancelledError):
            error = judge(error, sub, frame)
        failure = as_plugin_error(sub, error, frame.event)
        failures = [failure]
        sub.count_failure(describe(error))
        failing = sub.failures_in_a_row
        logger.error("%s", text_of(failure), exc_info=exc_info(error))
        owner = sub.owner
        told: dict[str, Any] = {
            "plugin": owner.name,
            "handler": sub.name,
            "error": sub.last_error,
            "failures": failing,
        }
        # What the bus tells of itself is no step of the causal chain: at its very end, too, the
        # failure must be told, and the other handlers called.
        place = frame.place
        frame.place = replace(place, depth=place.depth - 1)
        try:
            if frame.holder(HandlerFailed, self._active) is None:
                event = type(frame.event).__name__
                await self.publish(HandlerFailed(event=event, seq=frame.seq, **told))
            if failing >= QUARANTINE_AFTER and not (owner.quarantined or owner.critical):
                self.quarantine(sub)
                await self.publish(PluginQuarantined(**told))
        except PluginError as critical:
            # It reaches the publisher in the end, but not before the other handlers were called.
            failures.append(critical)
        finally:
            frame.place = place
        return failures

    def _raise_critical(self, failures: Sequence[PluginError]) -> None:
        """Raise the first failure of a critical plugin, if there is one."""
        critical = find_critical(failures, self._state.registry.owners)
        if critical is not None:
            raise critical

    def quarantine(self, failing: Subscription) -> None:
        """Skip the notification handlers of a plugin from now on, because one keeps failing.

        The application is not a plugin that could be meant as a whole: only its failing handler is
        skipped.
        """
        owner = failing.owner
        is_application = owner is self._state.registry.application
        logger.error(
            "plugin %r: %s failed %d times in a row; %s called no more until release(%r)",
            owner.name,
            failing.name,
            failing.failures_in_a_row,
            "it is" if is_application else "the plugin's handlers of notifications are",
            owner.name,
        )
        if is_application:
            failing.pass_over(True)
            return
        owner.quarantined = True
        for sub in owner.subscriptions:
            if sub.event.kind is Kind.NOTIFY:
                sub.pass_over(True)

    def release(self, owner: Owner) -> bool:
        """Call the handlers of a quarantined plugin again; return whether any was skipped."""
        was = any(sub.skip for sub in owner.subscriptions)
        owner.quarantined = False
        for sub in owner.subscriptions:
            sub.forgive()
            sub.pass_over(False)
        return was
