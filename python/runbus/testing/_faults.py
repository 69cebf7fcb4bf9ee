"""Faults on order: a handler that fails once, as if its own code did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runbus.bus._bus import check_bus

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.bus import Bus

__all__ = ["fail_next"]


def fail_next(bus: Bus, handler: Callable[..., Any], error: BaseException) -> None:
    """Let the next call of a subscribed handler raise `error` instead; the one after is normal.

    Args:
        bus: The bus.
        handler: The function that was subscribed.
        error: What to raise.

    Raises:
        LookupError: No such handler is subscribed.
        TypeError: `bus` is none, but perhaps the kernel itself.
    """
    check_bus(bus)
    found = [sub for sub in bus.registry.subscriptions() if sub.handler == handler]
    if not found:
        raise LookupError(f"{handler!r} is not subscribed")
    for sub in found:

        def restore(sub: Any = sub) -> None:
            sub.invoke = sub.handler

        async def fail(*_: Any, restore: Callable[[], None] = restore) -> Any:
            restore()
            raise error

        def fail_now(*_: Any, restore: Callable[[], None] = restore) -> Any:
            restore()
            raise error

        sub.invoke = fail if sub.is_async else fail_now
