from __future__ import annotations

import asyncio
import threading
import time

from runbus.bus import Bus
from runbus.events import Notify
from runbus.kernel import Kernel
from runbus.kernel._watchdog import LagWatchdog
from runbus.testing import FakePlugin
from runbus.testing._waiting import wait_until


class Fact(Notify, frozen=True):
    pass


async def test_a_blocked_event_loop_is_told_with_the_plugin_and_its_stack(caplog):
    def blocks(event):
        ends = time.monotonic() + 5
        while "plugin 'rude': " not in caplog.text and time.monotonic() < ends:
            time.sleep(0.005)

    async with Kernel(plugins=[FakePlugin("rude", {Fact: blocks})]) as kernel:
        # A block is told of once: one of the machine, before, may go on into the first of these.
        for _ in range(5):
            await kernel.bus.publish(Fact())
        blocked = kernel.health().loop_blocked

    assert blocked >= 1
    assert "plugin 'rude': " in caplog.text
    assert "in blocks" in caplog.text


def test_the_watchdog_ends_with_an_event_loop_that_never_answers_it(caplog):
    async def begin() -> threading.Thread:
        before = set(threading.enumerate())
        LagWatchdog(Bus(), limit_s=0.01).open()
        (thread,) = (
            one for one in set(threading.enumerate()) - before if one.name == "runbus watchdog"
        )
        return thread

    loop = asyncio.new_event_loop()
    thread = loop.run_until_complete(begin())
    wait_until(lambda: "has blocked" in caplog.text)
    loop.close()
    thread.join(20)
    assert not thread.is_alive()
