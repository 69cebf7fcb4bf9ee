"""A plugin that is stopped alone reads what waits for it before it is closed, within its time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runbus.errors import BusClosed, MissingPlugin
from runbus.events import Stream
from runbus.testing import FakeClock, FakePlugin


class Tick(Stream, frozen=True):
    number: int = 0


class Other(Stream, frozen=True):
    pass


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


class Reader(FakePlugin):
    """Reads in a task of its own, one event for each time that `go` is released; then writes."""

    def __init__(self, name: str = "sink", **options: Any) -> None:
        super().__init__(name, setup=self._begin, **options)
        self.go = asyncio.Semaphore(0)
        self.written = asyncio.Event()
        self.got: list[Any] = []

    async def _begin(self, scope: Any) -> None:
        scope.start(self._read, scope.stream(Tick))

    async def _read(self, stream: Any) -> None:
        async for tick in stream:
            self.got.append(tick.number)
            await self.go.acquire()
        await self.written.wait()
        self.log.append(f"{self.name}: written")


def is_open(plugin: FakePlugin) -> bool:
    """Tell whether the plugin may still subscribe: it is not being closed."""
    try:
        plugin.scope.stream(Other).close()
    except BusClosed:
        return False
    return True


async def until_idle(clock: FakeClock) -> None:
    await clock.advance(0)


async def test_what_waits_is_read_and_written_before_the_plugin_is_closed(kernel_factory):
    sink = Reader()
    clock = FakeClock()
    kernel = await kernel_factory(sink, timers=clock)
    for number in range(3):
        await kernel.bus.emit(Tick(number))
    stopping = asyncio.create_task(kernel.stop_plugin("sink"))
    await until_idle(clock)
    await kernel.bus.emit(Tick(3))  # too late for it
    assert "nobody listens" in str(kernel.plan(Tick))
    for _ in range(3):
        assert is_open(sink)
        sink.go.release()
        await until_idle(clock)
    assert sink.log == ["sink: setup"]
    sink.written.set()
    await stopping

    assert sink.got == [0, 1, 2]
    assert sink.log == ["sink: setup", "sink: written", "sink: closed"]


@pytest.mark.parametrize("reads", [0, 2], ids=["never reads on", "never writes"])
async def test_a_plugin_that_does_not_read_on_has_five_seconds(kernel_factory, reads):
    sink = Reader()
    clock = FakeClock()
    kernel = await kernel_factory(sink, timers=clock)
    for number in range(2):
        await kernel.bus.emit(Tick(number))
    stopping = asyncio.create_task(kernel.stop_plugin("sink"))
    for _ in range(reads):
        sink.go.release()
    await clock.advance(4.9)
    assert not stopping.done()
    assert is_open(sink)
    await clock.advance(0.2)
    await stopping

    assert sink.log == ["sink: setup", "sink: closed"]
    assert kernel.hosts == ()


async def test_time_that_one_stream_took_is_not_there_for_the_next(kernel_factory):
    async def reads_two(scope):
        for _ in range(2):
            stream = scope.stream(Tick)
            scope.start(read_one, stream)

    async def read_one(stream):
        await anext(stream)
        await forever()

    clock = FakeClock()
    kernel = await kernel_factory(FakePlugin("p", setup=reads_two), timers=clock)
    await until_idle(clock)
    await kernel.bus.emit(Tick())
    stopping = asyncio.create_task(kernel.stop_plugin("p"))
    await clock.advance(5.1)

    assert stopping.done()


async def test_only_what_the_plugin_reads_of_its_own_is_waited_for(kernel_factory):
    clock = FakeClock()
    theirs: list[Any] = []

    async def lends(scope):
        lent.append(scope.stream(Tick))

    async def reads(stream):
        async for tick in stream:
            theirs.append(tick.number)
            await forever()

    lent: list[Any] = []
    plugin = FakePlugin("p", setup=lends)
    kernel = await kernel_factory(plugin, timers=clock)
    ours = kernel.bus.stream(Tick).open()
    reading = asyncio.create_task(reads(lent[0]))
    plugin.scope.start(reads, ours)
    await until_idle(clock)
    await kernel.bus.emit(Tick(1))
    await until_idle(clock)
    await kernel.stop_plugin("p")
    await kernel.bus.emit(Tick(2))

    assert clock.monotonic_ns() == 0
    assert theirs == [1, 1]
    assert await anext(ours) == Tick(2)
    ours.close()
    reading.cancel()


async def test_nobody_comes_to_rely_on_a_plugin_that_is_being_read_out(kernel_factory):
    sink = Reader()
    clock = FakeClock()
    kernel = await kernel_factory(sink, timers=clock)
    await kernel.bus.emit(Tick())
    await until_idle(clock)
    stopping = asyncio.create_task(kernel.stop_plugin("sink"))
    await until_idle(clock)
    assert sink.scope.stopping
    with pytest.raises(MissingPlugin) as caught:
        await kernel.start_plugin(FakePlugin("on", requires=("sink",)))
    assert (caught.value.plugin, caught.value.required) == ("on", "sink")
    sink.go.release()
    sink.written.set()
    await stopping

    assert kernel.hosts == ()
