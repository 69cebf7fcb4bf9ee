"""The bus and the kernel: CPU time, median of five, beside rivals and the limit of the language.

The limits were set where a direct `await` of one empty handler costs 0.09 µs and a deque append
with its share of a wake-up 0.12 µs. Both are measured first, and the limits scale with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import statistics
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread

from benches.row import Row
from runbus.events import Notify, Stream
from runbus.kernel import Kernel

ROUNDS = 5
BURST = 500
_DIRECT_US = 0.09
_APPEND_US = 0.12

Work = Callable[[int], Awaitable[object]]


class Happened(Notify, frozen=True, gc=False):
    """A fact."""

    number: int


class Tick(Stream, frozen=True, gc=False):
    """One of many facts."""

    number: int


class Plugin:
    """Does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def setup(self, scope: Any) -> None:
        """Do nothing."""


async def us_per(work: Work, calls: int) -> float:
    """Return the CPU time of one of `calls` calls in µs, median of five."""
    await work(max(calls // 10, 1))
    spans = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.process_time()
        await work(calls)
        spans.append((time.process_time() - began) / calls * 1e6)
    return statistics.median(spans)


def handler() -> Callable[[Any], Awaitable[None]]:
    async def handle(event: Any) -> None:
        pass

    return handle


# -- publish


async def direct(handlers: int) -> float:
    called = [handler() for _ in range(handlers)]

    async def work(calls: int) -> None:
        for _ in range(calls):
            for handle in called:
                await handle(None)

    return await us_per(work, 100_000 // handlers)


async def ours_publish(handlers: int) -> float:
    async with Kernel() as kernel:
        for _ in range(handlers):
            kernel.bus.on(Happened, handler())
        publish, event = kernel.bus.publish, Happened(1)

        async def work(calls: int) -> None:
            for _ in range(calls):
                await publish(event)

        value = await us_per(work, 30_000 // handlers)
    return value


async def pluggy_publish(handlers: int) -> float:
    import pluggy

    class Spec:
        @pluggy.HookspecMarker("bench")
        def happened(self, event: object) -> None: ...

    class Hooked:
        @pluggy.HookimplMarker("bench")
        async def happened(self, event: object) -> None:
            pass

    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(Spec)
    for _ in range(handlers):
        manager.register(Hooked())

    async def work(calls: int) -> None:
        for _ in range(calls):
            for coroutine in manager.hook.happened(event=1):
                await coroutine

    return await us_per(work, 20_000 // handlers)


async def blinker_publish(handlers: int) -> float:
    from blinker import Signal

    signal = Signal()
    kept = []
    for _ in range(handlers):

        async def handle(sender: object, **_: object) -> None:
            pass

        kept.append(handle)
        signal.connect(handle)

    async def work(calls: int) -> None:
        for _ in range(calls):
            await signal.send_async("sender", event=1)

    return await us_per(work, 20_000 // handlers)


async def pyee_publish(handlers: int) -> float:
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter()
    for _ in range(handlers):
        emitter.add_listener("happened", handler())

    async def work(calls: int) -> None:
        for _ in range(calls):
            emitter.emit("happened", 1)
            await emitter.wait_for_complete()

    return await us_per(work, 2_000 // handlers)


async def psygnal_publish(handlers: int) -> float:
    from psygnal import Signal

    class Source:
        happened = Signal(int)

    source = Source()
    for _ in range(handlers):
        source.happened.connect(lambda number: None)

    async def work(calls: int) -> None:
        for _ in range(calls):
            source.happened.emit(1)

    return await us_per(work, 20_000 // handlers)


async def bubus_publish(handlers: int) -> float:
    bubus = importlib.import_module("bubus")
    heard: Any = type("Heard", (bubus.BaseEvent,), {"__module__": __name__})
    bus = bubus.EventBus()
    for number in range(handlers):
        handle = handler()
        handle.__name__ = f"handle_{number}"
        bus.on(heard, handle)

    async def work(calls: int) -> None:
        for _ in range(calls):
            await bus.dispatch(heard())

    try:
        return await us_per(work, 100)
    finally:
        await bus.stop()


RIVALS: dict[str, tuple[str, Callable[[int], Awaitable[float]]]] = {
    "pluggy, coroutines awaited one by one": ("pluggy", pluggy_publish),
    "blinker send_async": ("blinker", blinker_publish),
    "pyee emit + wait_for_complete": ("pyee", pyee_publish),
    "psygnal emit (sync handlers)": ("psygnal", psygnal_publish),
    "bubus dispatch": ("bubus", bubus_publish),
}


async def publish_row(handlers: int, limit_us: float, scale: float) -> Row:
    beside = {"direct await loop": await direct(handlers)}
    for name, (module, rival) in RIVALS.items():
        if importlib.util.find_spec(module) is not None:
            beside[name] = await rival(handlers)
    value = await ours_publish(handlers)
    return Row(f"publish to {handlers}", value, "µs", limit_us * scale, beside)


# -- emit


class Readers:
    """Tasks that read until they have seen a number of events; the last one tells."""

    def __init__(self, count: int) -> None:
        self.left = 0
        self.done = asyncio.Event()
        self.count = count

    def saw(self, count: int = 1) -> None:
        """Count events."""
        self.left -= count
        if not self.left:
            self.done.set()

    async def bursts(self, calls: int, put: Callable[[], Awaitable[None] | None]) -> None:
        """Put `calls` events in bursts, and wait for every reader after each."""
        for _ in range(max(calls // BURST, 1)):
            self.left = BURST * self.count
            self.done.clear()
            for _ in range(BURST):
                waiting = put()
                if waiting is not None:
                    await waiting
            await self.done.wait()


async def measured(
    readers: Readers, tasks: list[asyncio.Task[None]], put: Callable[[], Any]
) -> float:
    await asyncio.sleep(0)
    try:
        return await us_per(
            lambda calls: readers.bursts(calls, put), max(20_000 // readers.count, BURST)
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def ours_emit(boxes: int, *, batches: bool = False) -> float:
    readers = Readers(boxes)

    async def read(stream: Any) -> None:
        if batches:
            while batch := await stream.batch():
                readers.saw(len(batch))
        async for _ in stream:
            readers.saw()

    async with Kernel() as kernel:
        streams = [kernel.bus.stream(Tick, maxsize=1024).open() for _ in range(boxes)]
        tasks = [asyncio.create_task(read(stream)) for stream in streams]
        emit, event = kernel.bus.emit, Tick(1)
        value = await measured(readers, tasks, lambda: emit(event))
        for stream in streams:
            stream.close()
    return value


class Ring:
    """The limit: a bounded deque and one future, drained a burst at a time."""

    def __init__(self, size: int) -> None:
        self.items: deque[Any] = deque()
        self.size = size
        self.wake: asyncio.Future[None] | None = None

    def put(self, item: object) -> None:
        """Append an item, at the price of the oldest one if need be, and wake the reader."""
        items = self.items
        if len(items) >= self.size:
            items.popleft()
        items.append(item)
        wake = self.wake
        if wake is not None:
            self.wake = None
            if not wake.done():
                wake.set_result(None)

    async def drain(self) -> list[Any]:
        """Wait for an item and return all there are."""
        while not self.items:
            self.wake = asyncio.get_running_loop().create_future()
            await self.wake
        items = list(self.items)
        self.items.clear()
        return items


async def deque_emit(boxes: int) -> float:
    readers = Readers(boxes)
    rings = [Ring(1024) for _ in range(boxes)]

    async def read(ring: Ring) -> None:
        while batch := await ring.drain():
            readers.saw(len(batch))

    def put() -> None:
        for ring in rings:
            ring.put(1)

    return await measured(readers, [asyncio.create_task(read(ring)) for ring in rings], put)


async def queue_emit(boxes: int) -> float:
    readers = Readers(boxes)
    queues: list[asyncio.Queue[Any]] = [asyncio.Queue(1024) for _ in range(boxes)]

    async def read(queue: asyncio.Queue[Any]) -> None:
        while True:
            await queue.get()
            readers.saw()

    def put() -> None:
        for queue in queues:
            queue.put_nowait(1)

    return await measured(readers, [asyncio.create_task(read(q)) for q in queues], put)


async def anyio_emit(boxes: int) -> float:
    readers = Readers(boxes)
    pairs = [anyio.create_memory_object_stream[int](1024) for _ in range(boxes)]

    async def read(receive: Any) -> None:
        async for _ in receive:
            readers.saw()

    def put() -> None:
        for send, _ in pairs:
            send.send_nowait(1)

    tasks = [asyncio.create_task(read(receive)) for _, receive in pairs]
    try:
        return await measured(readers, tasks, put)
    finally:
        for send, receive in pairs:
            send.close()
            receive.close()


async def emit_row(boxes: int, limit_us: float, scale: float) -> Row:
    beside = {
        "deque append + wake-up, drained": await deque_emit(boxes),
        "ours, read with batch()": await ours_emit(boxes, batches=True),
        "asyncio.Queue put_nowait": await queue_emit(boxes),
        "anyio memory streams send_nowait": await anyio_emit(boxes),
    }
    value = await ours_emit(boxes)
    return Row(f"emit to {boxes}, bursts of {BURST}", value, "µs", limit_us * scale, beside)


# -- threads


async def from_a_thread(send: Callable[[int], object], calls: int) -> float:
    """Return the CPU time of one call of `send` made by another thread, handled included."""

    async def work(count: int) -> None:
        thread = threading.Thread(target=lambda: [send(number) for number in range(count)])
        thread.start()
        while thread.is_alive():  # noqa: ASYNC110 - the thread cannot set an event for free
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.002)

    return await us_per(work, calls)


async def threads_row(scale: float) -> Row:
    loop = asyncio.get_running_loop()
    seen = 0

    def note(_: int = 0) -> None:
        nonlocal seen
        seen += 1

    async def threadsafe(calls: int) -> float:
        return await from_a_thread(lambda n: loop.call_soon_threadsafe(note), calls)

    async def portal() -> float:
        async def work(count: int) -> None:
            await anyio.to_thread.run_sync(
                lambda: [anyio.from_thread.run_sync(note) for _ in range(count)]
            )

        return await us_per(work, 2_000)

    beside = {
        "call_soon_threadsafe": await threadsafe(5_000),
        "anyio from_thread.run_sync": await portal(),
    }
    async with Kernel() as kernel, kernel.bus.stream(Tick, maxsize=20_000) as stream:

        async def read() -> None:
            while batch := await stream.batch():
                note(len(batch))

        reader = asyncio.create_task(read())
        events = [Tick(number) for number in range(5_000)]
        send = kernel.bus.publish_from_thread
        value = await from_a_thread(lambda n: send(events[n]), 5_000)
        reader.cancel()
        await asyncio.wait([reader])
    return Row("publish_from_thread to a stream", value, "µs", 2.0 * scale, beside)


# -- the kernel


async def kernel_row(scale: float) -> Row:
    async def work(calls: int) -> None:
        for _ in range(calls):
            async with Kernel(plugins=[Plugin(f"p{number}") for number in range(100)]):
                pass

    beside = {}
    if importlib.util.find_spec("asphalt") is not None:
        with contextlib.suppress(ImportError):
            beside["asphalt, 100 components"] = await asphalt_ms()
    value = await us_per(work, 10) / 1000
    return Row("start + stop of 100 no-op plugins", value, "ms", 20.0 * scale, beside)


async def asphalt_ms() -> float:
    core = importlib.import_module("asphalt.core")

    async def start(self: Any, ctx: Any) -> None:
        pass

    nothing = type("Nothing", (core.Component,), {"start": start})

    async def work(calls: int) -> None:
        for _ in range(calls):
            root = core.ContainerComponent()
            for number in range(100):
                root.add_component(f"p{number}", nothing)
            async with core.Context() as context:
                await root.start(context)

    return await us_per(work, 10) / 1000


def resident_mb() -> float:
    """Return the resident memory of this process in MB."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1000


async def memory_row(turns: int = 10_000) -> Row:
    """Send ten million events through one kernel, half as facts and half into a mailbox."""
    seen = 0

    async def read(stream: Any) -> None:
        nonlocal seen
        while batch := await stream.batch():
            seen += len(batch)

    async with Kernel() as kernel:
        kernel.bus.on(Happened, handler())
        stream = kernel.bus.stream(Tick, maxsize=1024).open()
        reader = asyncio.create_task(read(stream))
        began = 0.0
        for turn in range(turns):
            for number in range(BURST):
                await kernel.bus.publish(Happened(number))
                await kernel.bus.emit(Tick(number))
            await asyncio.sleep(0)
            if turn == 500:
                gc.collect()
                began = resident_mb()
        gc.collect()
        grown = resident_mb() - began
        reader.cancel()
        await asyncio.wait([reader])
        stream.close()
    return Row("memory grown by 10 million events", grown, "MB", 5.0)


async def rows() -> list[Row]:
    direct_us, append_us = await direct(1), await deque_emit(1)
    publish, emit = direct_us / _DIRECT_US, append_us / _APPEND_US
    return [
        Row(
            "direct await of one handler", direct_us, "µs", note=f"scales publish by {publish:.2f}"
        ),
        Row("deque append and wake-up", append_us, "µs", note=f"scales emit by {emit:.2f}"),
        await publish_row(1, 3.0, publish),
        await publish_row(10, 10.0, publish),
        await emit_row(1, 1.5, emit),
        await emit_row(10, 6.0, emit),
        await emit_row(100, 45.0, emit),
        await threads_row(emit),
        await kernel_row(publish),
        await memory_row(),
    ]


def main() -> list[Row]:
    """Return the figures of the bus and the kernel."""
    return asyncio.run(rows())
