"""A handler that listens to a class of events, and what is known of how it does."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from runbus.errors import InvalidHandler
from runbus.events import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from runbus.bus._routing import Registry
    from runbus.events import Event

__all__ = ["HandlerStatistics", "Owner", "Subscription", "name_of"]


class Owner:
    """Who subscribes: a plugin, or the application itself.

    Attributes:
        name: The plugin's name.
        rank: Its place in the plugin order.
        critical: Whether a failure of its handlers reaches the publisher.
        quarantined: Whether its notification handlers are skipped.
        closed: Whether it may subscribe no more.
    """

    __slots__ = ("closed", "critical", "name", "quarantined", "rank", "subscriptions")

    def __init__(self, name: str, rank: float, *, critical: bool = False) -> None:
        self.name = name
        self.rank = rank
        self.critical = critical
        self.quarantined = False
        self.closed = False
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
        slow: How often it held the event loop for more than 50 ms.
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
        plain: An async handler without limits of its own: the bus may await it directly.
        skip: Closed, or its owner is quarantined; looked at before each call.
    """

    __slots__ = (
        "calls",
        "closed",
        "errors",
        "event",
        "handler",
        "invoke",
        "is_async",
        "last_error",
        "max_ns",
        "name",
        "once",
        "order",
        "owner",
        "plain",
        "registry",
        "skip",
        "slow",
        "streak",
        "thread",
        "timeout_s",
        "total_ns",
        "warned_ns",
    )

    def __init__(
        self,
        registry: Registry,
        owner: Owner,
        event: type[Event],
        handler: Callable[..., Any],
        *,
        order: int,
        once: bool = False,
        timeout_s: float | None = None,
        thread: bool = False,
    ) -> None:
        self.registry = registry
        self.owner = owner
        self.event = event
        self.handler = handler
        self.name = name_of(handler)
        self.order = order
        self.once = once
        self.timeout_s = timeout_s
        self.thread = thread
        self.is_async = is_coroutine_function(handler)
        check_handler(self)
        self.invoke = handler
        self.plain = self.is_async and not once and timeout_s is None and not thread
        self.closed = False
        self.skip = owner.quarantined and event.kind is Kind.NOTIFY
        self.calls = 0
        self.errors = 0
        self.streak = 0
        self.slow = 0
        self.total_ns = 0
        self.max_ns = 0
        self.warned_ns = 0
        self.last_error = ""

    def close(self) -> None:
        """Listen no more, also not to an event being dispatched now; twice is safe."""
        if not self.closed:
            self.closed = True
            self.skip = True
            self.registry.remove(self)

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
            calls=self.calls,
            errors=self.errors,
            failures_in_a_row=self.streak,
            slow=self.slow,
            mean_ms=self.total_ns / self.calls / 1e6 if self.calls else 0.0,
            max_ms=self.max_ns / 1e6,
            last_error=self.last_error,
        )


def name_of(handler: object) -> str:
    """Return how to call a handler in messages."""
    while isinstance(handler, partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return str(name).replace("<locals>.", "")


def is_coroutine_function(handler: object) -> bool:
    """Tell whether calling `handler` gives a coroutine; sees through partials and `__call__`."""
    while isinstance(handler, partial):
        handler = handler.func
    if inspect.iscoroutinefunction(handler):
        return True
    call = getattr(type(handler), "__call__", None)  # noqa: B004 - the method, not whether it is one
    return not inspect.isroutine(handler) and inspect.iscoroutinefunction(call)


def check_handler(subscription: Subscription) -> None:
    """Refuse what can never work.

    Raises:
        InvalidHandler: It cannot be called with what this kind of event passes, is a generator,
            or is to run in a thread although it is async.
    """
    handler = subscription.handler
    kind = subscription.event.kind
    passed = ("event", "fn") if kind is Kind.DECORATE else ("event",)

    def refuse(problem: str, fix: str) -> InvalidHandler:
        return InvalidHandler(
            subscription.owner.name,
            subscription.name,
            subscription.event.__name__,
            problem,
            fix,
        )

    if not callable(handler):
        raise refuse("cannot be called", "pass a function")
    if isinstance(handler, type):
        raise refuse("is a class", "pass an instance with __call__, or a function")
    if not takes(handler, len(passed)):
        raise refuse(
            f"cannot be called with {len(passed)} positional argument(s)",
            f"define it as ({', '.join(passed)})",
        )
    if kind is not Kind.AROUND and (
        inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)
    ):
        raise refuse("is a generator function", "return the value instead of yielding it")
    if kind is Kind.AROUND and inspect.isasyncgenfunction(handler):
        raise refuse("is an async generator function", "decorate it with @asynccontextmanager")
    if kind is Kind.DECORATE and subscription.is_async:
        raise refuse("is async", "decorate() does not await; define it with `def`")
    if subscription.thread and subscription.is_async:
        raise refuse("is async and cannot run in a thread", "leave out thread=True")


def takes(handler: Callable[..., Any], count: int) -> bool:
    """Tell whether `handler` can be called with `count` positional arguments."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return True  # some builtins do not tell; the first call will
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
