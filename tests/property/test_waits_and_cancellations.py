"""Every public wait, cancelled in every way: it ends, the books are right, the next one works."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from runbus.bus._causality import CAUSE
from runbus.events import Around, Collector, First, Notify, Pipeline, Shutdown, Stream
from runbus.kernel import Kernel
from runbus.testing import FakePlugin, assert_no_leaks
from runbus.testing._waiting import until


class Fact(Notify, frozen=True):
    pass


class Awaited(Notify, frozen=True):
    depth: int = 0


class Tick(Stream, frozen=True):
    pass


class Total(Pipeline[int], frozen=True):
    pass


class Lines(Collector[str], frozen=True):
    pass


class Which(First[int], frozen=True):
    pass


class Wrap(Around, frozen=True):
    pass


class Stage:
    """A kernel in which everything waits until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = 0
        self.helper = FakePlugin(
            "helper",
            {
                Fact: self.answer,
                Total: self.add,
                Lines: self.list,
                Which: self.choose,
                Wrap: self.wrap,
            },
        )
        self.kernel = Kernel(plugins=[self.helper])

    async def answer(self, event: Any) -> None:
        await self.gate.wait()

    async def add(self, event: Total) -> int:
        await self.gate.wait()
        return event.value + 1

    async def list(self, event: Lines) -> list[str]:
        await self.gate.wait()
        return ["one"]

    async def choose(self, event: Which) -> int:
        await self.gate.wait()
        return 1

    @asynccontextmanager
    async def wrap(self, event: Wrap) -> Any:
        await self.gate.wait()
        self.entered += 1
        try:
            yield
        finally:
            self.entered -= 1
            await self.gate.wait()

    @asynccontextmanager
    async def held(self) -> Any:
        await self.gate.wait()
        yield


Wait = Callable[[Stage], Awaitable[object]]


async def publish(stage: Stage) -> None:
    assert (await stage.kernel.bus.publish(Fact())).handled == 1


async def apply(stage: Stage) -> None:
    assert await stage.kernel.bus.apply(Total(1)) == 2


async def collect(stage: Stage) -> None:
    assert await stage.kernel.bus.collect(Lines()) == [("helper", "one")]


async def first(stage: Stage) -> None:
    assert await stage.kernel.bus.first(Which()) == ("helper", 1)


async def around(stage: Stage) -> None:
    async with stage.kernel.bus.around(Wrap()):
        assert stage.entered == 1


async def emit(stage: Stage) -> None:
    async with stage.kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        await stage.kernel.bus.emit(Tick())
        reading = asyncio.create_task(read_once(stage, stream))
        try:
            await stage.kernel.bus.emit(Tick())
        finally:
            reading.cancel()
            books = stream.statistics()
            assert books.waiting_publishers == 0
            assert books.accepted == books.delivered + books.dropped + books.pending


async def read_once(stage: Stage, stream: Any) -> None:
    await stage.gate.wait()
    await anext(stream)


async def read(stage: Stage) -> None:
    await read_by(stage, lambda stream: anext(stream))


async def batch(stage: Stage) -> None:
    await read_by(stage, lambda stream: stream.batch())


async def read_by(stage: Stage, take: Callable[[Any], Awaitable[object]]) -> None:
    async with stage.kernel.bus.stream(Tick) as stream:
        emitting = asyncio.create_task(emit_later(stage))
        try:
            await take(stream)
        finally:
            books = stream.statistics()
            assert books.accepted == books.delivered + books.pending
            emitting.cancel()


async def emit_later(stage: Stage) -> None:
    await stage.gate.wait()
    await stage.kernel.bus.emit(Tick())


async def wait_for(stage: Stage) -> None:
    publishing = asyncio.create_task(publish_later(stage))
    try:
        await stage.kernel.bus.wait_for(Awaited)
    finally:
        publishing.cancel()


async def publish_later(stage: Stage) -> None:
    await stage.gate.wait()
    await stage.kernel.bus.publish(Awaited())


async def enter(stage: Stage) -> None:
    await stage.helper.scope.enter(stage.held())


async def receipt(stage: Stage) -> None:
    """Wait for an event that is dispatched once the handler that published it has returned."""
    receipts: asyncio.Queue[Any] = asyncio.Queue()

    async def again(event: Awaited) -> None:
        if event.depth == 0:
            await receipts.put(await stage.kernel.bus.publish(Awaited(1)))
            await stage.gate.wait()

    with stage.kernel.bus.on(Awaited, again):
        publishing = asyncio.create_task(stage.kernel.bus.publish(Awaited()))
        try:
            assert (await (await receipts.get())).handled == 1
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])


async def start_plugin(stage: Stage) -> None:
    await stage.kernel.start_plugin(FakePlugin("late", setup=stage.answer))
    await stage.kernel.stop_plugin("late")


async def stop_plugin(stage: Stage) -> None:
    async def held(scope: Any) -> None:
        await scope.enter(leaves_late(stage))

    await stage.kernel.start_plugin(FakePlugin("late", setup=held))
    await stage.kernel.stop_plugin("late")


@asynccontextmanager
async def leaves_late(stage: Stage) -> Any:
    yield
    await stage.gate.wait()


async def check_health(stage: Stage) -> None:
    plugin = FakePlugin("asked")
    plugin.health = lambda: healthy(stage)  # type: ignore[attr-defined]
    await stage.kernel.start_plugin(plugin)
    try:
        await stage.kernel.check_health()
    finally:
        await stage.kernel.stop_plugin("asked")


async def healthy(stage: Stage) -> Any:
    await stage.gate.wait()
    return True, {}


WAITS: list[Wait] = [
    publish,
    apply,
    collect,
    first,
    around,
    emit,
    read,
    batch,
    wait_for,
    receipt,
    enter,
    start_plugin,
    stop_plugin,
    check_health,
]


async def turns(count: int = 12) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def before_it_begins(work: asyncio.Task[Any], stage: Stage) -> None:
    work.cancel()


async def while_it_waits(work: asyncio.Task[Any], stage: Stage) -> None:
    await turns()
    work.cancel()


async def twice_at_once(work: asyncio.Task[Any], stage: Stage) -> None:
    await turns()
    work.cancel()
    work.cancel()


async def twice_a_turn_apart(work: asyncio.Task[Any], stage: Stage) -> None:
    await turns()
    work.cancel()
    await asyncio.sleep(0)
    work.cancel()


async def as_it_may_go_on(work: asyncio.Task[Any], stage: Stage) -> None:
    await turns()
    stage.gate.set()
    work.cancel()


async def a_turn_after_it_may_go_on(work: asyncio.Task[Any], stage: Stage) -> None:
    await turns()
    stage.gate.set()
    await asyncio.sleep(0)
    work.cancel()


async def after_it_ended(work: asyncio.Task[Any], stage: Stage) -> None:
    stage.gate.set()
    await work
    assert not work.cancel()


async def bare(wait: Wait, stage: Stage) -> None:
    await wait(stage)


async def in_a_scope(wait: Wait, stage: Stage) -> None:
    """A cancel scope cancels every await anew, and must not be told of outside."""
    with anyio.move_on_after(0.005):
        await wait(stage)


async def in_a_scope_that_is_over(wait: Wait, stage: Stage) -> None:
    with anyio.move_on_after(0):
        await wait(stage)


async def in_a_timeout(wait: Wait, stage: Stage) -> None:
    try:
        async with asyncio.timeout(0.005):
            await wait(stage)
    except TimeoutError:
        pass


CANCELS = [
    before_it_begins,
    while_it_waits,
    twice_at_once,
    twice_a_turn_apart,
    as_it_may_go_on,
    a_turn_after_it_may_go_on,
    after_it_ended,
]


async def check(stage: Stage) -> None:
    """The books are in order, and everything works as if nothing had been cancelled."""
    stage.gate.set()
    bus = stage.kernel.bus
    await until(lambda: bus.is_idle and not bus.waiting and len(stage.kernel.hosts) == 1)
    assert [plugin.name for plugin in stage.kernel.hosts] == ["helper"]
    assert CAUSE.get() is None
    for wait in WAITS:
        await asyncio.wait_for(wait(stage), 120)
    assert stage.kernel.health().plugins["helper"].healthy


@pytest.mark.parametrize("cancel", CANCELS)
@pytest.mark.parametrize("wait", WAITS)
async def test_a_wait_that_is_cancelled_leaves_nothing(wait: Wait, cancel: Any) -> None:
    stage = Stage()
    async with stage.kernel:
        work = asyncio.create_task(bare(wait, stage))
        await cancel(work, stage)
        ended = asyncio.create_task(open_later(stage))
        await asyncio.wait([work], timeout=120)
        assert work.done()
        if cancel in (before_it_begins, while_it_waits, twice_at_once, twice_a_turn_apart):
            assert work.cancelled()
        elif not work.cancelled():
            work.result()
        await ended
        await check(stage)
    assert_no_leaks(stage.kernel)


async def open_later(stage: Stage) -> None:
    """What has a clean-up that waits for the gate gets it; a cancellation must not need it."""
    await asyncio.sleep(0.01)
    stage.gate.set()


@pytest.mark.parametrize("cancel", CANCELS)
async def test_a_stop_goes_on_whoever_waits_for_it_is_cancelled(cancel: Any) -> None:
    stage = Stage()
    stage.helper = FakePlugin("helper", {Shutdown: stage.answer})
    stage.kernel = Kernel(plugins=[stage.helper])

    async def runs() -> None:
        async with stage.kernel:
            await asyncio.Event().wait()

    async def stop() -> None:
        await stage.kernel.stop()

    running = asyncio.create_task(runs())
    await turns()
    stopping = asyncio.create_task(stop())
    await cancel(stopping, stage)
    stage.kernel.stop()
    stage.gate.set()
    await asyncio.wait([stopping, running], timeout=120)
    assert (stopping.done(), running.done()) == (True, True)
    running.result()
    assert_no_leaks(stage.kernel)


@pytest.mark.parametrize("limit", [in_a_scope, in_a_scope_that_is_over, in_a_timeout])
@pytest.mark.parametrize("wait", WAITS)
async def test_a_wait_that_runs_out_of_time_leaves_nothing(wait: Wait, limit: Any) -> None:
    stage = Stage()
    async with stage.kernel:
        work = asyncio.create_task(limit(wait, stage))
        ended = asyncio.create_task(open_later(stage))
        await asyncio.wait([work], timeout=120)
        assert work.done()
        work.result()
        assert work.cancelling() == 0
        await ended
        await check(stage)
    assert_no_leaks(stage.kernel)
