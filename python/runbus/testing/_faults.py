"""Faults on order: a handler that fails once, as if its own code did."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from runbus.bus import check_bus, is_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus import Bus, Subscription

__all__ = ["fail_next"]


def fail_next(bus: Bus, handler: Callable[..., Any], error: BaseException) -> None:
    """Let the next call of a subscribed handler raise `error` instead; the one after is normal.

    Ordered twice, the next two calls fail, in the order of the orders.

    Args:
        bus: The bus.
        handler: The function that was subscribed.
        error: What to raise.

    Raises:
        LookupError: No such handler is subscribed.
        TypeError: `bus` is not one, but perhaps the kernel itself.
    """
    check_bus(bus)
    found = [sub for sub in bus.registry.subscriptions() if is_same(sub.handler, handler)]
    if not found:
        raise LookupError(f"{handler!r} is not subscribed")
    for sub in found:
        failing = sub.invoke if isinstance(sub.invoke, _Failing) else _Failing(sub)
        failing.errors.append(error)
        sub.stand_in(failing)


class _Failing:
    """Stands in for a handler until it has raised every error that was ordered, one a call."""

    def __init__(self, sub: Subscription) -> None:
        self.errors: deque[BaseException] = deque()
        self._sub = sub

    def __call__(self, *_: Any) -> Any:
        error = self.errors.popleft()
        if not self.errors:
            self._sub.stand_in(self._sub.handler)
        if self._sub.is_async:
            return self._fail(error)
        raise error

    async def _fail(self, error: BaseException) -> None:
        raise error
