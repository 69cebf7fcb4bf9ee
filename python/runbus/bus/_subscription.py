"""A handler that listens to a class of events, and what is known of how it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runbus.bus._checks import (
    check_callable,
    check_flag,
    check_number,
    is_coroutine_function,
    name_of,
)
from runbus.bus._foreign import describe
from runbus.errors import HookError, InvalidHandler
from runbus.events import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from runbus.events import Event

__all__ = ["HandlerStatistics", "Owner", "Subscription"]

_TRIAL = 8


class Owner:
    """Who subscribes: a plugin, or the application itself.

    Attributes:
        name: The plugin's name.
        rank: Its place in the plugin order.
        critical: Whether a failure of its handlers reaches the publisher.
        quarantined: Whether its notification handlers are skipped.
        closed: Whether it may subscribe no more.
        contains_exits: Whether a `SystemExit` of its handlers is a failure like others.
    """

    __slots__ = (
        "closed",
        "contains_exits",
        "critical",
        "name",
        "quarantined",
        "rank",
        "subscriptions",
    )

    def __init__(self, name: str, rank: float, *, critical: bool = False) -> None:
        self.name = name
        self.rank = rank
        self.critical = critical
        self.quarantined = False
        self.closed = False
        self.contains_exits = False
        self.subscriptions: list[Subscription] = []


class HandlerStatistics(msgspec.Struct, frozen=True):
    """How a handler does.

    Attributes:
        plugin: Whose it is.
        handler: Its name.
        event: Name of the event class it listens to.
        calls: How often it was called.
        errors: How often it failed.
        failures_in_a_row: How often it failed since it last succeeded.
        slow: How often it held the event loop for more than 50 ms. The steps of an async handler
            are only watched in its first calls, and from its first call on that took that long.
        mean_ms: Mean time of a call, in milliseconds.
        max_ms: Longest time of a call, in milliseconds.
        last_error: Its last error, as `Type: text`; empty for none.
    """

    plugin: str
    handler: str
    event: str
    calls: int
    errors: int
    failures_in_a_row: int
    slow: int
    mean_ms: float
    max_ms: float
    last_error: str


class Subscription:
    """A handle on one subscribed handler; close it, or use it as a context manager, to end it.

    Attributes:
        owner: Who subscribed.
        event: The class of events it listens to, subclasses included.
        handler: What was subscribed.
        name: How messages call the handler.
        is_async: Whether calling it gives a coroutine.
        invoke: What is called: the handler, or a stand-in of a test.
        direct: The same, if it is async without limits of its own, not slow so far and not to be
            skipped: then `publish` may await it without anything around; else None.
        skip: Closed, or its owner is quarantined; looked at before each call.
        calls: How often it was called, as a float: to add to one takes half the time of an int.
    """

    __slots__ = (
        "_failed_until",
        "_is_plain",
        "_streak",
        "_trial",
        "calls",
        "closed",
        "direct",
        "errors",
        "event",
        "handler",
        "invoke",
        "is_async",
        "last_error",
        "max_s",
        "name",
        "on_close",
        "once",
        "order",
        "owner",
        "skip",
        "slow",
        "thread",
        "timeout_s",
        "total_s",
        "warned_at",
    )

    def __init__(
        self,
        owner: Owner,
        event: type[Event],
        handler: Callable[..., Any],
        *,
        order: int,
        on_close: Callable[[Subscription], None],
        once: bool = False,
        timeout_s: float | None = None,
        thread: bool = False,
    ) -> None:
        self.owner = owner
        self.event = event
        self.handler = handler
        self.name = name_of(handler)
        self.order = order
        self.on_close = on_close
        self.once = once
        self.timeout_s = timeout_s
        self.thread = thread
        self.is_async = is_coroutine_function(handler)
        check_handler(self)
        self.invoke = _contained(self) if owner.contains_exits else handler
        self.direct: Callable[..., Any] | None = None
        self._is_plain = False
        self._trial = _TRIAL
        self.closed = False
        self.skip = owner.quarantined and event.kind is Kind.NOTIFY
        self.calls = 0.0
        self.errors = 0
        self._streak = 0
        self._failed_until = 0.0
        self.slow = 0
        self.total_s = 0.0
        self.max_s = 0.0
        self.warned_at = float("-inf")
        self.last_error = ""

    def close(self) -> None:
        """Listen no more, also not to an event being dispatched now; twice is safe."""
        if not self.closed:
            self.closed = True
            self.pass_over(True)
            self.on_close(self)

    # -- how it is called

    def pass_over(self, skip: bool) -> None:
        """Call the handler no more, or again; a closed one is never called again."""
        self.skip = skip or self.closed
        self._decide()

    def stand_in(self, invoke: Callable[..., Any]) -> None:
        """Call something else in the place of the handler."""
        self.invoke = invoke
        self._decide()

    def seen_stepwise(self) -> None:
        """Note a call whose steps were watched: after a few of them it needs no more watching."""
        self._trial -= 1
        if self._trial == 0 and not self.slow:
            self._is_plain = self.is_async and not self.once and self.timeout_s is None
            self._decide()

    def suspect(self) -> None:
        """Watch every step from now on: a call took so long that one step may have."""
        self._is_plain = False
        self._decide()

    def _decide(self) -> None:
        self.direct = self.invoke if self._is_plain and not self.skip else None

    # -- how it does; `publish` counts a success by itself

    @property
    def failures_in_a_row(self) -> int:
        """How often it failed since it last succeeded: calls that were only counted succeeded."""
        return self._streak if self._failed_until == self.calls else 0

    def count_failure(self, last_error: str) -> None:
        """Count a call that failed."""
        self._streak = self.failures_in_a_row + 1
        self.calls += 1.0
        self.errors += 1
        self._failed_until = self.calls
        self.last_error = last_error

    def count_cancelled(self) -> None:
        """Count a call that neither succeeded nor failed."""
        failing = self.failures_in_a_row
        self.calls += 1.0
        if failing:
            self._failed_until = self.calls

    def forgive(self) -> None:
        """Begin to count the failures in a row anew."""
        self._streak = 0

    def took(self, seconds: float) -> None:
        """Note how long a call took."""
        self.total_s += seconds
        self.max_s = max(self.max_s, seconds)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<Subscription {self.owner.name}: {self.name} for {self.event.__name__}{state}>"

    def statistics(self) -> HandlerStatistics:
        """Return how the handler does."""
        return HandlerStatistics(
            plugin=self.owner.name,
            handler=self.name,
            event=self.event.__name__,
            calls=int(self.calls),
            errors=self.errors,
            failures_in_a_row=self.failures_in_a_row,
            slow=self.slow,
            mean_ms=self.total_s / self.calls * 1e3 if self.calls else 0.0,
            max_ms=self.max_s * 1e3,
            last_error=self.last_error,
        )


def check_handler(subscription: Subscription) -> None:
    """Refuse what can never work.

    Raises:
        InvalidHandler: It cannot be called with what this kind of event passes, is a generator,
            or asks for what its kind cannot give.
        InvalidOption: An option has no value that makes sense.
    """
    kind = subscription.event.kind
    owner, event = subscription.owner.name, subscription.event.__name__

    def refuse(problem: str, fix: str) -> InvalidHandler:
        return InvalidHandler(owner, subscription.name, event, problem, fix)

    passed = ("event", "fn") if kind is Kind.DECORATE else ("event",)
    check_callable(subscription.handler, owner, event, *passed, yields=kind is Kind.AROUND)
    where = f"plugin {owner!r}: {subscription.name} for {event}"
    check_flag(subscription.once, where, "once")
    check_flag(subscription.thread, where, "thread")
    if subscription.timeout_s is not None:
        check_number(subscription.timeout_s, where, "timeout", above=0)
    if kind is Kind.DECORATE:
        if subscription.is_async:
            raise refuse("is async", "decorate() does not await; define it with `def`")
        if subscription.thread or subscription.timeout_s is not None:
            raise refuse("cannot be called in a thread or with a limit", "decorate() never waits")
    if subscription.thread and subscription.is_async:
        raise refuse("is async and cannot run in a thread", "leave out thread=True")


def _contained(sub: Subscription) -> Callable[..., Any]:
    """Return what calls a handler and makes a `HookError` of a `SystemExit`."""
    handler = sub.handler

    def failure(args: tuple[Any, ...], error: SystemExit) -> HookError:
        problem = f"raised {describe(error)}"
        return HookError(sub.owner.name, sub.name, type(args[0]).__name__, problem)

    async def call_async(*args: Any) -> Any:
        try:
            return await handler(*args)
        except SystemExit as error:
            raise failure(args, error) from error

    def call(*args: Any) -> Any:
        try:
            return handler(*args)
        except SystemExit as error:
            raise failure(args, error) from error

    return call_async if sub.is_async else call
