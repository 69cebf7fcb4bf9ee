"""A fault in any handler, of any kind, never corrupts the books of the bus."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runbus.bus._causality import CAUSE
from runbus.errors import HookError
from runbus.events import Collector, HandlerFailed, Notify, Pipeline
from runbus.kernel import Kernel
from runbus.testing import FakePlugin, leaks, record


class Fact(Notify, frozen=True):
    depth: int = 0


class Other(Notify, frozen=True):
    depth: int = 0


class Sum(Pipeline[int], frozen=True):
    pass


class Items(Collector[int], frozen=True):
    pass


FAULTS = ["fine", "raises", "stray", "group", "slow", "nested", "itself", "slow then raises"]


def handler(fault: str, box: dict[str, Any]) -> Any:
    """Return a handler with one fault, for every kind of event."""

    async def handle(event: Any) -> Any:
        if "slow" in fault:
            await asyncio.sleep(0)
        if "raises" in fault:
            raise ValueError("fault")
        if fault == "stray":
            raise asyncio.CancelledError
        if fault == "group":
            raise ExceptionGroup("faults", [ValueError("a"), KeyError("b")])
        if fault in ("nested", "itself") and getattr(event, "depth", 9) < 2:
            cls = Other if fault == "nested" else type(event)
            await box["bus"].publish(cls(event.depth + 1))
        if isinstance(event, Sum):
            return event.value + 1
        return [1] if isinstance(event, Items) else None

    return handle


async def run(plan: list[str], cancel_after: int | None) -> None:
    box: dict[str, Any] = {}
    plugins = [
        FakePlugin(
            f"p{n}", dict.fromkeys((Fact, Other, Sum, Items, HandlerFailed), handler(f, box))
        )
        for n, f in enumerate(plan)
    ]
    broken = [f for f in plan if f in ("raises", "stray", "group", "slow then raises")]
    async with Kernel(plugins=plugins) as kernel:
        bus = box["bus"] = kernel.bus
        with record(bus) as recording:
            task = asyncio.create_task(bus.publish(Fact()))
            for _ in range(cancel_after if cancel_after is not None else 200):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert bus.is_idle
            assert all(entry.outcome for entry in recording.entries)
        quarantined = any(host.owner.quarantined for host in kernel.hosts)
        if not task.cancelled() and not quarantined:
            assert len(task.result().errors) == len(broken)
            assert task.result().handled == len(plan) - len(broken)
        for request in (bus.apply(Sum(0)), bus.collect(Items())):
            try:
                answer = await request
                assert not broken
                assert answer in (len(plan), [(f"p{n}", 1) for n in range(len(plan))])
            except HookError:
                assert broken
        assert CAUSE.get() is None
        assert bus.is_idle
        this = asyncio.current_task()
        assert this is not None
        assert this.cancelling() == 0
    assert leaks(kernel) == []


@given(st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4), st.none() | st.integers(0, 6))
@settings(max_examples=200)
def test_the_books_are_in_order_after_any_fault_and_any_cancellation(plan, cancel_after):
    asyncio.run(run(plan, cancel_after))
