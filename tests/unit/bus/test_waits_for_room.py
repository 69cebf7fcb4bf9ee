"""Publishers that wait for room in full mailboxes, and never for themselves: §5.5."""

from __future__ import annotations

import asyncio

import pytest

from runbus.bus._backpressure import find_circle
from runbus.bus._overflow import BlockMailbox
from runbus.errors import BackpressureTimeout
from runbus.events import Stream
from runbus.testing import FakeClock


class Ping(Stream, frozen=True):
    number: int = 0


class Pong(Stream, frozen=True):
    number: int = 0


async def test_who_has_waited_is_not_taken_to_wait_still(kernel_factory):
    kernel = await kernel_factory()
    async with (
        kernel.bus.stream(Ping, maxsize=1, overflow="block") as pings,
        kernel.bus.stream(Pong, maxsize=1, overflow="block") as pongs,
    ):

        async def answer():
            got = [await anext(pings) for _ in range(3)]
            for number in range(3):
                await kernel.bus.emit(Pong(number))
            return [ping.number for ping in got]

        async def ask():
            await anext(pongs)  # this task reads them
            for number in range(3):  # which waits for the other
                await kernel.bus.emit(Ping(number))
            return [(await anext(pongs)).number for _ in range(3)]

        kernel.bus.emit_nowait(Pong(-1))
        assert [*await asyncio.gather(ask(), answer())] == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("is_read", [True, False], ids=["room in time", "no room"])
async def test_who_opened_a_mailbox_waits_behind_others_once_somebody_reads(
    kernel_factory, is_read
):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)

    async def publish(number):
        await kernel.bus.emit(Ping(number))

    async def open_and_publish(opened):
        async with kernel.bus.stream(Ping, maxsize=1, overflow="block") as stream:
            await publish(1)
            others = asyncio.create_task(publish(2))
            await asyncio.sleep(0)
            opened.set_result(stream)
            try:
                await publish(3)
            finally:
                await asyncio.wait([others])

    opened = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(open_and_publish(opened))
    stream = await opened
    await clock.advance(0.2)
    assert (await anext(stream)).number == 1
    await clock.advance(0.2)
    assert not waiting.done()
    assert stream.statistics().waiting_publishers == 1

    if is_read:
        assert (await anext(stream)).number == 2
        await clock.advance(0)
        await waiting
        assert stream.statistics().accepted == 3
    else:
        await clock.advance(4.5)
        assert not waiting.done()
        await clock.advance(0.15)  # 5.05 s in all
        assert waiting.done()
        with pytest.raises(BackpressureTimeout):
            await waiting


class Readers:
    """Tasks that read mailboxes, and what they wait for."""

    def __init__(self):
        self.boxes = {}
        self.blocked = {}

    def reads(self, name, task):
        box = self.boxes[name] = BlockMailbox(name, 1, None, sized=False)
        box.consumer = task
        return box

    def waits(self, task, *names):
        self.blocked[task] = [self.boxes[name] for name in names]

    def circle(self, task, *names):
        return find_circle(task, [self.boxes[name] for name in names], self.blocked)


@pytest.fixture
async def tasks():
    found = [asyncio.create_task(asyncio.sleep(0)) for _ in range(4)]
    await asyncio.wait(found)
    return found


async def test_a_circle_is_found_behind_mailboxes_that_lead_nowhere_and_those_that_were_seen(tasks):
    me, one, two, other = tasks
    readers = Readers()
    for name, task in zip(["mine", "one", "two", "nobody"], [me, one, two, None], strict=True):
        readers.reads(name, task)
    readers.waits(one, "mine")
    readers.waits(two, "nobody")

    # The last is looked at first.
    assert readers.circle(me, "one", "two") == ["one", "mine"]
    assert readers.circle(me, "one", "nobody", "nobody") == ["one", "mine"]
    assert readers.circle(me, "two", "nobody") is None
    assert readers.circle(other, "one", "two") is None


async def test_a_circle_of_others_is_followed_once(tasks):
    me, one, two, _ = tasks
    readers = Readers()
    readers.reads("one", one)
    readers.reads("two", two)
    readers.waits(one, "two")
    readers.waits(two, "one")

    assert readers.circle(me, "one") is None
