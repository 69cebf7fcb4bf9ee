"""What tests rely on in their tests: the kit itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from runbus.events import Notify, Stream
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, assert_no_leaks, fail_next, leaks
from runbus.testing.conformance import _plugins


class Fact(Notify, frozen=True):
    pass


class Tick(Stream, frozen=True):
    pass


async def forever():
    await asyncio.Event().wait()


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_told_twice_to_fail_fails_twice_in_that_order(is_async):
    calls: list[Any] = []

    def sync_handler(event):
        calls.append(event)

    async def async_handler(event):
        calls.append(event)

    handler = async_handler if is_async else sync_handler
    async with Kernel() as kernel:
        kernel.bus.on(Fact, handler)
        fail_next(kernel.bus, handler, ValueError("one"))
        fail_next(kernel.bus, handler, KeyError("two"))
        errors = [(await kernel.bus.publish(Fact())).errors for _ in range(3)]

    assert [type(error.__cause__) for one in errors for error in one] == [ValueError, KeyError]
    assert len(calls) == 1


async def test_each_kind_of_thing_that_a_kernel_holds_is_seen_as_a_leak():
    async def setup(scope):
        scope.on(Fact, print)
        scope.start(forever, name="pump")
        scope.stream(Tick)

    async with Kernel(plugins=[FakePlugin("p", setup=setup)]) as kernel:
        wait = asyncio.ensure_future(kernel.bus.wait_for(Fact))
        await asyncio.sleep(0)
        found = leaks(kernel)
        with pytest.raises(AssertionError, match="subscription of p: print"):
            assert_no_leaks(kernel)
        wait.cancel()

    assert found == [
        "subscription of p: print",
        "mailbox of p",
        "a wait for an event (1)",
        "the task of plugin p",
        "task p: pump",
    ]
    assert leaks(kernel) == []


async def test_a_plugin_that_was_left_behind_in_its_start_is_a_leak():
    clock = FakeClock()
    free = asyncio.Event()

    async def ignores(scope):
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    async with Kernel(timers=clock) as kernel:
        starting = asyncio.create_task(kernel.start_plugin(FakePlugin("rock", setup=ignores)))
        for _ in range(130):
            await clock.advance(0.25)
        assert starting.done()
        found = leaks(kernel)
        free.set()
        await asyncio.wait([starting])

    assert starting.exception() is not None
    assert found == ["the task of plugin rock"]


async def test_what_the_application_listens_to_is_its_own_affair():
    async with Kernel() as kernel:
        kernel.bus.on(Fact, print)
        assert leaks(kernel) == []


@pytest.mark.parametrize("given_to_others", [True, False])
async def test_a_loop_that_waits_for_a_processor_is_not_held_up(given_to_others):
    # As if others had run all the time, or never.
    async with _plugins.LoopWatch(time.monotonic if given_to_others else lambda: 0.0) as watch:
        await asyncio.sleep(0.01)
        time.sleep(0.5)  # noqa: ASYNC251 - nothing else runs meanwhile

    assert (watch.longest_s < 0.4) is given_to_others
