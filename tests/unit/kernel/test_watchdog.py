from __future__ import annotations

import time

from runbus.events import Notify
from runbus.kernel import Kernel
from runbus.testing import FakePlugin


class Fact(Notify, frozen=True):
    pass


async def test_a_blocked_event_loop_is_told_with_the_plugin_and_its_stack(caplog):
    def blocks(event):
        ends = time.monotonic() + 20
        while "has blocked" not in caplog.text and time.monotonic() < ends:
            time.sleep(0.005)

    async with Kernel(plugins=[FakePlugin("rude", {Fact: blocks})]) as kernel:
        await kernel.bus.publish(Fact())
        blocked = kernel.health().loop_blocked

    assert blocked >= 1
    assert "plugin 'rude': " in caplog.text
    assert "in blocks" in caplog.text
