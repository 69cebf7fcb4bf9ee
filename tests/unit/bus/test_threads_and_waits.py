"""Other threads, other processes, and waiting for one event: §5.9, §6."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from contextvars import copy_context
from typing import Any

import pytest

from runbus.bus import Bus
from runbus.bus._threads import INBOX_LIMIT
from runbus.errors import BusClosed, HookError, InvalidOption, WouldDeadlock, WrongKind, WrongLoop
from runbus.events import Notify, Pipeline, Stream
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, idle, record


class Fact(Notify, frozen=True):
    number: int = 0


class Tick(Stream, frozen=True):
    number: int = 0


class Ask(Pipeline[int], frozen=True):
    pass


async def test_events_of_a_thread_arrive_in_their_order(kernel_factory):
    seen = FakePlugin("seen", {Fact: None})
    kernel = await kernel_factory(seen)

    def work():
        return [kernel.bus.publish_from_thread(Fact(number)) for number in range(500)]

    async with kernel.bus.stream(Tick, maxsize=10):
        assert all(await asyncio.to_thread(work))
        await idle(kernel.bus)

    assert seen.seen == [Fact(number) for number in range(500)]


async def test_streams_and_facts_of_several_threads_all_arrive(kernel_factory):
    kernel = await kernel_factory()

    def work():
        for number in range(300):
            assert kernel.bus.publish_from_thread(Tick(number), timeout=120)

    async with kernel.bus.stream(Tick, maxsize=2000) as stream:
        await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
        await asyncio.sleep(0)
        got = await stream.batch()
        while len(got) < 1200:
            got += await stream.batch()

    assert len(got) == 1200


async def test_a_full_inbox_makes_the_thread_wait_and_then_says_no(kernel_factory):
    kernel = await kernel_factory()
    results: list[Any] = []

    def work():
        results.extend(
            kernel.bus.publish_from_thread(Fact(n), timeout=0.01) for n in range(INBOX_LIMIT + 1)
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # which blocks the event loop, so nothing is pumped

    assert results == [True] * INBOX_LIMIT + [False]
    assert kernel.health().inbox_refused == 1
    await idle(kernel.bus)
    assert await asyncio.to_thread(kernel.bus.publish_from_thread, Fact(5))


async def test_a_thread_that_waits_for_room_goes_on_when_there_is_some(kernel_factory):
    count = INBOX_LIMIT + 2_000
    seen = FakePlugin("seen", {Fact: None})
    kernel = await kernel_factory(seen)

    def work():
        return [kernel.bus.publish_from_thread(Fact(n), timeout=120) for n in range(count)]

    assert all(await asyncio.to_thread(work))
    await idle(kernel.bus)
    assert len(seen.seen) == count


async def test_an_event_published_while_the_loop_is_blocked_is_delivered_later(kernel_factory):
    seen = FakePlugin("seen", {Fact: None})
    kernel = await kernel_factory(seen)
    thread = threading.Thread(target=kernel.bus.publish_from_thread, args=[Fact(1)])
    thread.start()
    thread.join()

    assert seen.seen == []
    await idle(kernel.bus)
    assert seen.seen == [Fact(1)]


async def test_other_threads_cannot_subscribe_while_the_bus_runs(kernel_factory):
    bus = Kernel().bus
    await asyncio.to_thread(bus.on, Fact, print)

    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    before = list(kernel.bus.registry.subscriptions())
    for subscribe in (
        lambda: kernel.bus.on(Fact, print),
        lambda: kernel.bus.stream(Tick).open(),
        lambda: plugin.scope.on(Fact, print),
        lambda: plugin.scope.stream(Tick),
        lambda: kernel.bus.wait_for(Fact),
    ):
        with pytest.raises(WrongLoop) as caught:
            await asyncio.to_thread(subscribe)
        assert "call_soon_threadsafe" in str(caught.value.hint)
    assert list(kernel.bus.registry.subscriptions()) == before


async def test_the_thread_of_the_event_loop_is_refused(kernel_factory):
    kernel = await kernel_factory()

    with pytest.raises(WouldDeadlock):
        kernel.bus.publish_from_thread(Fact())


async def test_requests_cannot_come_from_threads(kernel_factory):
    kernel = await kernel_factory()

    with pytest.raises(WrongKind):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Ask(1))


async def test_other_verbs_from_a_thread_name_the_right_one(kernel_factory):
    kernel = await kernel_factory()

    with pytest.raises(WrongLoop) as caught:
        await asyncio.to_thread(kernel.bus.emit_nowait, Tick())
    assert "publish_from_thread" in str(caught.value.hint)
    assert (caught.value.verb, caught.value.where) == ("emit_nowait", "thread")
    with pytest.raises(WrongLoop) as caught:
        await asyncio.to_thread(lambda: asyncio.run(kernel.bus.publish(Fact())))
    assert (caught.value.verb, caught.value.where) == ("publish", "thread")


@pytest.mark.parametrize(
    ("verb", "event"),
    [("publish", Fact()), ("emit", Tick()), ("emit_nowait", Tick()), ("apply", Ask(1))],
)
def test_a_bus_belongs_to_one_loop_and_is_used_once_it_is_open(verb: str, event: Any) -> None:
    bus = Bus()

    async def use() -> None:
        if (asked := getattr(bus, verb)(event)) is not None:
            await asked

    async def begin() -> None:
        bus.open()

    with pytest.raises(BusClosed) as new:
        asyncio.run(use())
    assert (new.value.verb, new.value.state) == (verb, "new")
    asyncio.run(begin())
    with pytest.raises(WrongLoop) as caught:
        asyncio.run(use())
    assert (caught.value.verb, caught.value.where) == (verb, "loop")


async def test_threads_are_refused_before_and_after():
    kernel = Kernel()
    with pytest.raises(BusClosed, match="new"):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
    async with kernel:
        pass
    with pytest.raises(BusClosed, match="closed"):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())


async def test_what_a_thread_published_last_is_pumped_before_the_end():
    seen = FakePlugin("seen", {Fact: None})
    async with Kernel(plugins=[seen]) as kernel:
        thread = threading.Thread(target=kernel.bus.publish_from_thread, args=[Fact(1)])
        thread.start()
        thread.join()

    assert seen.seen == [Fact(1)]


class Odd(BaseException):
    """As what `pytest.fail` raises."""


@pytest.mark.parametrize("error", [ValueError("no"), Odd("no")])
async def test_a_failing_dispatch_does_not_stop_the_inbox(kernel_factory, error):
    seen = FakePlugin("seen", {Fact: None})

    def breaks(event):
        raise error

    kernel = await kernel_factory(seen, FakePlugin("odd", {Fact: breaks}))
    for number in range(3):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact(number))
    await idle(kernel.bus)

    assert len(seen.seen) == 3


async def test_a_critical_failure_in_an_event_of_a_thread_stops_the_kernel():
    def breaks(event):
        raise ValueError("no")

    seen = FakePlugin("seen", {Fact: None})
    vital = FakePlugin("vital", {Fact: breaks}, critical=True)

    async def live():
        async with Kernel([vital, seen]) as kernel:
            await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
            await asyncio.Event().wait()

    with pytest.raises(HookError, match="plugin 'vital'"):
        await live()

    assert seen.seen == [Fact()]


async def test_a_forked_child_is_refused_and_the_parent_goes_on(kernel_factory):
    kernel = await kernel_factory()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        told = b""
        for call in (
            lambda: kernel.bus.publish_from_thread(Fact()),
            lambda: kernel.bus.emit_nowait(Tick()),
            lambda: kernel.bus.publish(Fact()).send(None),
        ):
            try:
                call()
            except WrongLoop as error:
                told += f"{error.verb}:{error.where} ".encode()
        os.write(write_end, told)
        os._exit(0)
    os.close(write_end)
    told = await asyncio.to_thread(os.read, read_end, 100)
    os.close(read_end)
    await asyncio.to_thread(os.waitpid, child, 0)

    assert told == b"publish_from_thread:fork emit_nowait:fork publish:fork "
    assert (await kernel.bus.publish(Fact())).seq


async def test_a_wait_begins_when_it_is_called(kernel_factory):
    kernel = await kernel_factory()
    waiting = kernel.bus.wait_for(Fact, lambda event: event.number > 1)
    await kernel.bus.publish(Fact(1))
    await kernel.bus.publish(Fact(2))
    await kernel.bus.publish(Fact(3))

    assert await waiting == Fact(2)
    assert kernel.bus.waiting == 0


async def test_streams_can_be_waited_for(kernel_factory):
    kernel = await kernel_factory()
    waiting = kernel.bus.wait_for(Tick)
    kernel.bus.emit_nowait(Tick(1))

    assert await waiting == Tick(1)


async def test_a_wait_can_look_back(kernel_factory):
    kernel = await kernel_factory()
    receipt = await kernel.bus.publish(Fact(1))
    await kernel.bus.publish(Fact(2))

    assert await kernel.bus.wait_for(Fact, since=receipt.seq) == Fact(2)
    assert await kernel.bus.wait_for(Fact, since=0) == Fact(1)


async def test_a_wait_that_takes_too_long_ends_with_timeout_error(kernel_factory):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    waiting = kernel.bus.wait_for(Fact, timeout=5)
    await clock.advance(5)

    with pytest.raises(TimeoutError):
        await waiting
    assert kernel.bus.waiting == 0


async def test_an_error_of_the_predicate_goes_to_the_waiter_and_not_to_the_publisher(
    kernel_factory,
):
    kernel = await kernel_factory()
    waiting = kernel.bus.wait_for(Fact, lambda event: 1 / 0)
    receipt = await kernel.bus.publish(Fact())

    assert receipt.errors == ()
    with pytest.raises(ZeroDivisionError):
        await waiting


async def test_a_wait_is_forgotten_when_it_is_dropped_or_cancelled(kernel_factory):
    kernel = await kernel_factory()
    waiting = kernel.bus.wait_for(Fact, timeout=60)
    del waiting
    gc.collect()
    assert kernel.bus.waiting == 0

    async def waits():
        await kernel.bus.wait_for(Fact)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    assert kernel.bus.waiting == 1
    task.cancel()
    await asyncio.wait([task])
    assert kernel.bus.waiting == 0


async def test_a_wait_ends_with_bus_closed_when_the_kernel_does():
    async with Kernel() as kernel:
        waiting = kernel.bus.wait_for(Fact)

    with pytest.raises(BusClosed):
        await waiting


async def test_only_what_can_happen_can_be_waited_for(kernel_factory):
    kernel = await kernel_factory()

    with pytest.raises(WrongKind):
        kernel.bus.wait_for(Ask)


async def test_an_event_from_a_thread_knows_its_cause(kernel_factory):
    kernel = await kernel_factory()

    async def works(event):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Tick(1))

    kernel.bus.on(Fact, works)
    with record(kernel.bus) as recording:
        await kernel.bus.publish(Fact())
        await idle(kernel.bus)

    fact, tick = recording.entries
    assert tick.parent == fact.seq


async def test_an_event_from_a_thread_has_no_cause_of_another_that_came_before_it(kernel_factory):
    kernel = await kernel_factory()
    send = kernel.bus.publish_from_thread

    def works(event):
        for thread in (
            threading.Thread(target=copy_context().run, args=(send, Tick(1))),
            threading.Thread(target=send, args=(Tick(2),)),
        ):
            thread.start()
            thread.join()

    kernel.bus.on(Fact, works)
    with record(kernel.bus) as recording:
        await kernel.bus.publish(Fact())
        await idle(kernel.bus)

    fact, *ticks = recording.entries
    assert [(entry.event, entry.parent) for entry in ticks] == [(Tick(1), fact.seq), (Tick(2), 0)]


def test_an_event_that_comes_after_the_loop_was_closed_under_the_bus_is_taken_back():
    bus = Bus()

    async def opens():
        bus.open()

    def runs():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(opens())
        loop.close()

    thread = threading.Thread(target=runs)
    thread.start()
    thread.join()
    with pytest.raises(BusClosed):
        bus.publish_from_thread(Fact())

    assert bus.inbox_pending == 0


def flood(bus: Any, limit: int, stopped: threading.Event | None = None) -> int:
    """Publish from this thread until refused or stopped, or `limit` is reached.

    A full inbox is waited for, however long the event loop gets no turn.
    """
    for number in range(limit):
        if stopped is not None and stopped.is_set():
            return number
        try:
            assert bus.publish_from_thread(Fact(number), timeout=120)
        except BusClosed:
            return number
    return limit


async def test_threads_that_never_pause_leave_the_event_loop_its_turns(kernel_factory):
    kernel = await kernel_factory()
    handled: list[int] = []
    kernel.bus.on(Fact, lambda event: handled.append(event.number))
    first, stopped = kernel.bus.wait_for(Fact), threading.Event()
    sending = asyncio.create_task(asyncio.to_thread(flood, kernel.bus, 100_000, stopped))
    await first
    stopped.set()
    sent = await sending
    await idle(kernel.bus)

    assert handled == list(range(sent))
    assert sent < 100_000


async def test_threads_that_never_pause_do_not_hold_up_the_shutdown():
    handled: list[int] = []
    async with Kernel(timers=FakeClock()) as kernel:
        kernel.bus.on(Fact, lambda event: handled.append(event.number))
        first = kernel.bus.wait_for(Fact)
        sending = asyncio.create_task(asyncio.to_thread(flood, kernel.bus, 100_000))
        await first
    sent = await sending

    assert sent < 100_000
    assert handled == list(range(len(handled)))
    assert len(handled) + kernel.bus.inbox_dropped == sent


class Unprintable(int):
    def __repr__(self):
        raise RuntimeError("no")


async def test_a_failure_of_an_event_that_cannot_be_shown_is_told(kernel_factory, caplog):
    class Stopped(BaseException):
        pass

    def stops(event):
        raise Stopped("now")

    kernel = await kernel_factory()
    kernel.bus.on(Fact, stops)
    await asyncio.to_thread(kernel.bus.publish_from_thread, Fact(Unprintable()))
    await idle(kernel.bus)

    assert "Fact from a thread could not be delivered" in caplog.text
    assert "Stopped: now" in caplog.text


@pytest.mark.parametrize("timeout", ["5", None, -1, float("nan"), float("inf"), True, 1e300])
async def test_a_thread_that_waits_no_number_of_seconds_is_refused_at_once(kernel_factory, timeout):
    kernel = await kernel_factory()
    with pytest.raises(InvalidOption, match="timeout"):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact(1), timeout)
    assert kernel.bus.inbox_pending == 0


def test_what_waits_in_the_inbox_is_dispatched_if_the_loop_goes_on_after_an_exit():
    seen = []

    def handle(event):
        seen.append(event)
        if len(seen) == 1:
            raise SystemExit(3)

    async def both():
        async with Kernel(plugins=[FakePlugin("p", {Fact: handle})]) as kernel:
            for _ in range(2):
                await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
            await idle(kernel.bus)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # which is told of the exit, too
    task = loop.create_task(both())
    with pytest.raises(SystemExit):
        loop.run_until_complete(task)
    loop.run_until_complete(asyncio.wait_for(task, 120))
    loop.close()
    assert len(seen) == 2
