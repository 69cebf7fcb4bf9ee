"""What the bus promises at its edges: acceptance, checks, causes, criticality, statistics."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.bus._causality import CAUSE
from runbus.bus._routing import Registry
from runbus.bus._threads import INBOX_LIMIT
from runbus.errors import (
    BackpressureTimeout,
    BusClosed,
    HandlerTimeout,
    HookError,
    InvalidHandler,
    InvalidOption,
    MailboxFull,
    NoHandler,
    Reentrant,
    WouldDeadlock,
)
from runbus.events import Around, Collector, Decorate, First, Notify, Pipeline, Stream, Teardown
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, idle, record
from runbus.testing._waiting import until


class Fact(Notify):
    number: int = 0


class Other(Notify):
    number: int = 0


class Tick(Stream):
    number: int = 0


class Sized(Stream):
    rows: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


class Total(Pipeline[int]): ...


class Argv(Pipeline[tuple[str, ...]]): ...


class Free(Pipeline[Any]): ...


class Base:
    pass


class Derived(Base):
    pass


class Item(Pipeline[Derived]): ...


class Lines(Collector[str]): ...


class Which(First[int]): ...


class Wrap(Around): ...


class Dress(Decorate): ...


class Ends(Teardown): ...


def breaks(event):
    raise ValueError("no")


# -- what is accepted


@pytest.mark.parametrize("spills", [True, False])
async def test_an_event_that_emit_took_while_the_kernel_stops_is_read_or_counted(spills):
    got: list[int] = []
    spilled: list[Any] = []
    sent: list[int] = []
    refused: list[BusClosed] = []
    first = asyncio.Event()

    async def slow(event):
        got.append(event.number)
        first.set()
        await asyncio.sleep(0.01)

    async def produce(bus):
        for number in range(1000):
            try:
                await bus.emit(Tick(number))
            except BusClosed as error:
                refused.append(error)
                return
            sent.append(number)

    stream: Any = None

    async def setup(scope):
        nonlocal stream
        options: Any = {"spill": spilled.append} if spills else {}
        stream = scope.stream(Tick, maxsize=2, overflow="block", **options)

        async def read():
            async for event in stream:
                await slow(event)

        scope.start(read)

    async with Kernel([FakePlugin("store", setup=setup)], shutdown_budget_s=0.5) as kernel:
        producing = asyncio.create_task(produce(kernel.bus))
        await first.wait()
    await producing

    assert len(refused) == 1
    assert sorted([*got, *(event.number for event in spilled)]) == sent or not spills
    statistics = stream.statistics()
    assert statistics.accepted == len(sent)
    assert statistics.pending == 0
    assert statistics.spilled == len(spilled)
    assert statistics.accepted == statistics.delivered + statistics.dropped + statistics.spilled


async def test_what_a_publisher_holds_when_the_bus_closes_is_spilled(kernel_factory):
    spilled: list[Any] = []
    async with Kernel() as kernel:
        stream = kernel.bus.stream(Tick, maxsize=1, overflow="block", spill=spilled.append).open()
        await kernel.bus.emit(Tick(1))
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await asyncio.sleep(0)
    await waiting

    assert spilled == [Tick(1), Tick(2)]
    assert stream.statistics().accepted == stream.statistics().spilled == 2


async def test_a_publisher_that_waits_when_the_bus_closes_is_told_so():
    async with Kernel() as kernel:
        stream = kernel.bus.stream(Tick, maxsize=1, overflow="block").open()
        await kernel.bus.emit(Tick(1))
        waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
        await asyncio.sleep(0)

    with pytest.raises(BusClosed) as caught:
        await waiting
    assert (caught.value.verb, caught.value.state) == ("emit", "closed")
    assert (stream.statistics().accepted, stream.statistics().refused) == (1, 1)


async def test_items_that_are_spilled_are_counted_as_such(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Sized, maxsize=1, spill=lambda event: None) as stream:
        for size in (3, 2, 1):
            await kernel.bus.emit(Sized(tuple(range(size))))
        items = stream.statistics().items

    assert items is not None
    assert (items.accepted, items.delivered, items.dropped) == (6, 0, 0)
    assert (items.spilled, items.pending) == (5, 1)


async def test_a_thread_that_comes_while_the_mailboxes_are_read_out_is_refused(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.seal()

    with pytest.raises(BusClosed, match="sealed"):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
    with pytest.raises(BusClosed, match="sealed"):
        await kernel.bus.emit(Tick())
    assert (await kernel.bus.publish(Fact())).seq


async def test_what_came_from_threads_and_was_never_dispatched_is_counted(kernel_factory):
    async def hangs(event):
        await asyncio.Event().wait()

    clock = FakeClock()
    kernel = await kernel_factory(FakePlugin("slow", {Fact: hangs}), timers=clock)
    for number in range(3):
        await asyncio.to_thread(kernel.bus.publish_from_thread, Fact(number))
    ending = asyncio.create_task(kernel.bus.end_inbox(0.01))
    await clock.advance(0.01)

    assert await ending == []
    assert kernel.bus.inbox_pending == 0
    assert kernel.bus.inbox_dropped == 2


async def test_a_handler_of_a_thread_event_that_ignores_its_end_is_named_and_left(kernel_factory):
    over, reached, clock = asyncio.Event(), asyncio.Event(), FakeClock()

    async def stubborn(event):
        reached.set()
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                pass

    kernel = await kernel_factory(FakePlugin("deaf", {Fact: stubborn}), timers=clock)
    await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
    await reached.wait()
    ending = asyncio.create_task(kernel.bus.end_inbox(0.01))
    await clock.advance(1)
    (error,) = await ending

    assert error.plugin == "deaf"
    assert kernel.bus.inbox_pending == 0
    over.set()
    await asyncio.sleep(0)


# -- critical


async def test_a_critical_failure_in_a_queued_event_reaches_the_outermost_publisher(
    kernel_factory,
):
    async def again(event):
        if event.number == 1:
            await kernel.bus.publish(Fact(2))

    def critical(event):
        if event.number == 2:
            raise ValueError("must stop")

    kernel = await kernel_factory(
        FakePlugin("a", {Fact: again}), FakePlugin("vital", {Fact: critical}, critical=True)
    )
    with pytest.raises(HookError, match="must stop"):
        await kernel.bus.publish(Fact(1))


@pytest.mark.parametrize("catches", [True, False])
async def test_a_critical_failure_passes_a_handler_that_does_not_catch_it(kernel_factory, catches):
    async def outer(event):
        try:
            await kernel.bus.publish(Other())
        except HookError:
            if not catches:
                raise

    after = FakePlugin("after", {Fact: None})
    kernel = await kernel_factory(
        FakePlugin("outer", {Fact: outer}),
        FakePlugin("vital", {Other: breaks}, critical=True),
        after,
    )
    if catches:
        await kernel.bus.publish(Fact())
    else:
        with pytest.raises(HookError, match="plugin 'vital'"):
            await kernel.bus.publish(Fact())
    assert after.seen == [Fact()]


# -- causes


async def test_a_task_that_a_handler_waits_for_keeps_the_order_of_events(kernel_factory):
    seen: list[tuple[str, int]] = []

    async def first(event):
        if event.number == 1:
            receipt = await asyncio.wait_for(kernel.bus.publish(Fact(2)), 120)
            assert receipt.queued
        seen.append(("first", event.number))

    kernel = await kernel_factory(FakePlugin("a", {Fact: first}))
    kernel.bus.on(Fact, lambda event: seen.append(("second", event.number)))
    await kernel.bus.publish(Fact(1))

    assert seen == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


async def test_a_request_inside_of_itself_is_refused_in_a_task_too(kernel_factory):
    async def again(event):
        (answer,) = await asyncio.gather(kernel.bus.apply(Total(1)))
        return answer

    kernel = await kernel_factory(FakePlugin("a", {Total: again}))
    with pytest.raises(HookError) as caught:
        await kernel.bus.apply(Total(1))
    assert isinstance(caught.value.__cause__, Reentrant)


async def test_two_bridged_kernels_stop_at_sixteen(kernel_factory):
    kernels: list[Kernel] = []
    depth = 0

    def bridge(here, there):
        async def handle(event):
            nonlocal depth
            depth += 1
            await kernels[there].bus.publish((Other if here else Fact)(depth))

        return handle

    class There(Notify): ...

    kernels.append(await kernel_factory(FakePlugin("p", {Fact: bridge(0, 1)})))
    kernels.append(await kernel_factory(FakePlugin("p", {Fact: bridge(1, 0)})))
    kernels[0].bus.on(Other, bridge(0, 1))
    await kernels[0].bus.publish(Fact())

    assert depth <= 16


async def test_a_task_that_outlives_its_cause_begins_a_new_chain(kernel_factory):
    tasks: list[asyncio.Task[Any]] = []
    go = asyncio.Event()

    async def later():
        await go.wait()
        return await kernel.bus.publish(Fact(2))

    async def starts(event):
        if event.number == 1:
            tasks.append(asyncio.create_task(later()))

    kernel = await kernel_factory(FakePlugin("a", {Fact: starts}))
    await kernel.bus.publish(Fact(1))
    go.set()
    receipt = await tasks[0]

    assert not receipt.queued


async def test_the_opener_that_fills_a_mailbox_nobody_reads_would_deadlock(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:
        await kernel.bus.emit(Tick(1))
        with pytest.raises(WouldDeadlock, match="nobody has begun to read"):
            await kernel.bus.emit(Tick(2))
        assert await stream.batch() == [Tick(1)]


async def test_who_enters_a_stream_that_another_task_opened_is_known_as_its_reader(kernel_factory):
    kernel = await kernel_factory()
    stream = kernel.bus.stream(Tick, maxsize=1, overflow="block").open()

    async def fills_before_it_reads():
        async with stream:
            await kernel.bus.emit(Tick(1))
            await kernel.bus.emit(Tick(2))

    with pytest.raises(WouldDeadlock, match="nobody has begun to read"):
        await asyncio.create_task(fills_before_it_reads())


async def test_the_opener_may_wait_for_a_reader_that_begins_later(kernel_factory):
    kernel = await kernel_factory()
    got: list[Any] = []
    async with kernel.bus.stream(Tick, maxsize=1, overflow="block") as stream:

        async def read():
            async for event in stream:
                got.append(event)  # noqa: PERF401 - it is looked at meanwhile

        reader = asyncio.create_task(read())
        for number in range(3):
            await kernel.bus.emit(Tick(number))
    await reader

    assert [tick.number for tick in got[:2]] == [0, 1]


# -- answers and statistics


@pytest.mark.parametrize(
    ("event", "answer", "said"),
    [
        (Total(1), object(), "returned a object; a int was expected"),
        (Total(1), None, "returned None"),
        (Item(Derived()), Base(), "returned a Base; a Derived was expected"),
        (Argv(("a",)), ("a", 1), "returned a tuple; a tuple[str, ...] was expected"),
        (Lines(), ["a", 1], "returned a int as item 1; a str was expected"),
        (Which(), "text", "answered with a str; a int was expected"),
    ],
)
async def test_an_answer_of_another_type_is_refused_and_counted(
    kernel_factory, event, answer, said
):
    kernel = await kernel_factory(FakePlugin("p", {type(event): lambda event: answer}))
    verb = {"pipeline": "apply", "collector": "collect", "first": "first"}[event.kind.value]
    with record(kernel.bus) as recording, pytest.raises(HookError) as caught:
        await getattr(kernel.bus, verb)(event)

    assert said in str(caught.value)
    assert (caught.value.plugin, caught.value.event) == ("p", type(event).__name__)
    (handler,) = kernel.health().plugins["p"].handlers
    assert (handler.calls, handler.errors, handler.failures_in_a_row) == (1, 1, 1)
    assert recording.entries[0].handlers[0][2].startswith("error: HookError")


@pytest.mark.parametrize(
    ("event", "answer"),
    [(Total(1), 5), (Item(Derived()), Derived()), (Argv(()), ("a", "b")), (Free(1), "text")],
)
async def test_an_answer_of_the_declared_type_is_passed_on(kernel_factory, event, answer):
    kernel = await kernel_factory(FakePlugin("p", {type(event): lambda event: answer}))

    assert await kernel.bus.apply(event) is answer


async def test_a_success_of_a_request_begins_the_count_of_its_failures_anew(kernel_factory):
    answers: list[Any] = ["no", 2]
    kernel = await kernel_factory(FakePlugin("p", {Total: lambda event: answers.pop(0)}))
    with pytest.raises(HookError):
        await kernel.bus.apply(Total(1))
    assert await kernel.bus.apply(Total(1)) == 2

    (handler,) = kernel.health().plugins["p"].handlers
    assert (handler.calls, handler.errors, handler.failures_in_a_row) == (2, 1, 0)


@given(st.lists(st.sampled_from(["succeeds", "fails", "is cancelled", "is forgiven"])))
def test_failures_in_a_row_are_those_since_the_last_success(calls):
    registry = Registry(lambda: None)
    handler = registry.subscribe(
        registry.application, Fact, breaks, once=False, timeout_s=None, thread=False
    )
    in_a_row = errors = 0
    for call in calls:
        if call == "succeeds":
            handler.calls += 1
            in_a_row = 0
        elif call == "fails":
            handler.count_failure("ValueError: no")
            in_a_row += 1
            errors += 1
        elif call == "is cancelled":
            handler.count_cancelled()
        else:
            handler.forgive()
            in_a_row = 0

        assert handler.failures_in_a_row == in_a_row
    assert (handler.calls, handler.errors) == (len(calls) - calls.count("is forgiven"), errors)


@pytest.mark.parametrize("verb", ["publish", "collect"])
async def test_what_is_closed_from_another_context_ends_quietly(kernel_factory, verb):
    kernel = await kernel_factory()
    event = Fact() if verb == "publish" else Lines()
    kernel.bus.on(type(event), lambda event: None)

    async def waits(event):
        await asyncio.sleep(0)

    kernel.bus.on(type(event), waits)
    abandoned = getattr(kernel.bus, verb)(event)
    here, there = copy_context(), copy_context()
    here.run(abandoned.send, None)
    there.run(abandoned.close)

    assert CAUSE not in there
    assert kernel.bus.is_idle


async def test_a_manager_that_cannot_be_entered_is_blamed(kernel_factory):
    @asynccontextmanager
    async def fails(event):
        if event is not None:
            raise ValueError("no")
        yield

    kernel = await kernel_factory(FakePlugin("p", {Wrap: fails}))
    with record(kernel.bus) as recording, pytest.raises(HookError):
        async with kernel.bus.around(Wrap()):
            pass

    assert recording.entries[0].outcome == "error"
    assert recording.entries[0].handlers[0][2] == "error: ValueError: no"


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
async def test_a_manager_that_fails_on_exiting_is_blamed_though_it_was_entered(
    kernel_factory, error
):
    @asynccontextmanager
    async def fails(event):
        yield
        raise error

    @asynccontextmanager
    async def is_well(event):
        yield

    kernel = await kernel_factory(FakePlugin("p", {Wrap: fails}), FakePlugin("q", {Wrap: is_well}))
    with record(kernel.bus) as recording, pytest.raises(HookError):
        async with kernel.bus.around(Wrap()):
            assert recording.entries[0].outcome == "ok"

    assert recording.entries[0].outcome == "error"
    assert [verdict[:7] for *_, verdict in recording.entries[0].handlers] == ["error: ", "ok"]
    (handler,) = kernel.health().plugins["p"].handlers
    assert (handler.calls, handler.errors, handler.failures_in_a_row) == (1, 1, 1)


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("event", [Fact(), Total(1), Lines(), Which(), Dress()])
async def test_what_passes_through_everything_is_told_with_the_one_who_raised_it(
    kernel_factory, event, is_async
):
    def stops(event, *_):
        raise Stopped("now")

    async def stops_later(event):
        raise Stopped("now")

    passed = (print,) if isinstance(event, Dress) else ()
    stops = stops_later if is_async and not passed else stops
    kernel = await kernel_factory(FakePlugin("p", {type(event): stops}))

    async def ask():
        answer = getattr(kernel.bus, type(event).kind.verb)(event, *passed)
        await answer

    with record(kernel.bus) as recording, pytest.raises(Stopped):
        await ask()

    (entry,) = recording.entries
    assert entry.outcome == "error"
    assert [verdict for *_, verdict in entry.handlers] == ["error: Stopped: now"]


async def test_a_handler_that_asked_for_once_decorates_once(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.on(Dress, lambda event, fn: len, once=True)

    assert kernel.bus.decorate(Dress(), sum) is len
    assert kernel.bus.decorate(Dress(), sum) is sum


async def test_closed_subscriptions_are_skipped_by_requests_that_run(kernel_factory):
    kernel = await kernel_factory()

    def closes(event, *wrapped):
        subscription.close()
        return wrapped[0] if wrapped else event.value

    kernel.bus.on(Total, closes)
    subscription = kernel.bus.on(Total, lambda event: 99)
    kernel.bus.on(Total, lambda event: event.value + 1)
    assert await kernel.bus.apply(Total(1)) == 2

    kernel.bus.on(Dress, lambda event, fn: (fn, "and the one after"))
    subscription = kernel.bus.on(Dress, lambda event, fn: len)
    kernel.bus.on(Dress, closes)
    with pytest.raises(HookError, match="and the one after") as caught:
        kernel.bus.decorate(Dress(), sum)
    assert caught.value.event == "Dress"


@pytest.mark.parametrize("event", [Lines(), Which(), Wrap(), Ends()])
async def test_who_closes_before_its_turn_in_a_request_that_runs_is_not_asked(
    kernel_factory, event
):
    kernel = await kernel_factory()
    asked: list[str] = []

    def closes(event):
        subscription.close()
        asked.append("closes")
        return nullcontext() if isinstance(event, Wrap) else None

    def is_closed(event):
        asked.append("is closed")

    def comes_after(event):
        asked.append("comes after")
        return nullcontext() if isinstance(event, Wrap) else None

    handlers = [closes, is_closed, comes_after]
    if isinstance(event, Ends):
        handlers.reverse()
    by_handler = {handler: kernel.bus.on(type(event), handler) for handler in handlers}
    subscription = by_handler[is_closed]
    if isinstance(event, Wrap):
        async with kernel.bus.around(event):
            pass
    elif isinstance(event, Which):
        with pytest.raises(NoHandler):
            await kernel.bus.first(event)
    elif isinstance(event, Ends):
        assert await kernel.bus.teardown(event, 1.0) == []
    else:
        assert await kernel.bus.collect(event) == []

    assert asked == ["closes", "comes after"]


async def test_a_request_has_a_limit_of_thirty_seconds(kernel_factory):
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("p", {Total: hangs}), timers=clock)
    task = asyncio.create_task(kernel.bus.apply(Total(1)))
    await clock.advance(29.9)
    assert not task.done()
    await clock.advance(4)

    error = task.exception()
    assert isinstance(error, HookError)
    assert isinstance(error.__cause__, HandlerTimeout)


async def test_plugin_order_comes_before_subscription_order(kernel_factory):
    seen: list[str] = []
    first, second = FakePlugin("first"), FakePlugin("second")
    kernel = await kernel_factory(first, second)
    kernel.bus.on(Fact, lambda event: seen.append("application"))
    second.scope.on(Fact, lambda event: seen.append("second"))
    first.scope.on(Fact, lambda event: seen.append("first"))
    first.scope.on(Fact, lambda event: seen.append("first, too"))
    await kernel.bus.publish(Fact())

    assert seen == ["first", "first, too", "second", "application"]


async def test_an_async_handler_that_holds_the_loop_is_slow(kernel_factory, caplog):
    clock = FakeClock()

    async def holds(event):
        clock._now_ns += 60_000_000

    async def waits(event):
        over = asyncio.Event()

        def later():
            clock._now_ns += 60_000_000
            over.set()

        asyncio.get_running_loop().call_soon(later)
        await over.wait()

    kernel = await kernel_factory(
        FakePlugin("bad", {Fact: holds}), FakePlugin("good", {Fact: waits}), timers=clock
    )
    for _ in range(2):
        await kernel.bus.publish(Fact())

    plugins = kernel.health().plugins
    assert [plugins[name].handlers[0].slow for name in ("bad", "good")] == [2, 0]
    assert caplog.text.count("held the event loop") == 1


async def test_an_async_handler_that_was_fast_is_watched_once_it_takes_long(kernel_factory):
    pause, clock = 0.0, FakeClock()

    async def holds(event):
        await clock.advance(pause)  # which lets the time pass within one step

    kernel = await kernel_factory(FakePlugin("p", {Fact: holds}), timers=clock)
    for _ in range(20):
        await kernel.bus.publish(Fact())
    pause = 0.06
    for _ in range(2):
        await kernel.bus.publish(Fact())

    assert kernel.health().plugins["p"].handlers[0].slow == 1


@pytest.mark.parametrize("limit", ["its own", "a scope round the publisher"])
async def test_a_handler_that_blocks_in_its_thread_is_left_there_when_its_time_is_up(
    kernel_factory, limit
):
    free = threading.Event()
    ended: list[Any] = []

    def blocks(event):
        free.wait(120)
        ended.append(event)

    kernel = await kernel_factory()
    own = 0.05 if limit == "its own" else None
    kernel.bus.on(Fact, blocks, thread=True, timeout=own)
    with anyio.move_on_after(None if own else 0.05):
        await kernel.bus.publish(Fact())
    was_ended = bool(ended)
    free.set()

    assert not was_ended
    (handler,) = kernel.health().application.handlers
    assert handler.last_error.startswith("HandlerTimeout") == (limit == "its own")


async def test_a_watched_handler_gets_values_and_errors_where_it_waits(kernel_factory):
    got: list[Any] = []

    async def waits(event):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, 3)
        got.append(await future)
        failing = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(failing.set_exception, ValueError("no"))
        try:
            await failing
        except ValueError as error:
            got.append(str(error))

    kernel = await kernel_factory(FakePlugin("p", {Fact: waits}))
    assert (await kernel.bus.publish(Fact())).handled == 1

    assert got == [3, "no"]


class FailingTap:
    def intent(self, *_):
        raise Stopped("intent")

    def outcome(self, *_):
        raise Stopped("outcome")


async def test_nothing_that_a_tap_raises_reaches_who_publishes(kernel_factory, caplog):
    kernel = await kernel_factory()
    kernel.bus.on(Fact, lambda event: None)
    kernel.bus.add_tap(FailingTap())

    receipt = await kernel.bus.publish(Fact())
    await kernel.bus.emit(Tick())

    assert (receipt.handled, receipt.errors) == (1, ())
    assert caplog.text.count("a tap of the bus failed") == 4


async def test_what_a_stream_event_comes_from_is_told_to_taps(kernel_factory):
    async def emits(event):
        await kernel.bus.emit(Tick(1))

    plugin = FakePlugin("source", {Fact: emits})
    kernel = await kernel_factory(plugin)
    with record(kernel.bus) as recording:
        stream = plugin.scope.stream(Tick)

        async def read():
            async for _ in stream:
                await kernel.bus.publish(Other())

        plugin.scope.start(read)
        await kernel.bus.publish(Fact())
        await idle(kernel.bus)

    origins = {type(entry.event).__name__: entry.origin for entry in recording.entries}
    assert origins == {"Fact": "", "Tick": "source", "Other": "source"}


# -- checks


class Yields:
    def __call__(self, event):
        yield event


class Same:
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __call__(self, event):
        pass


async def waits(event):
    pass


@pytest.mark.parametrize("handler", [Yields(), partial(Yields()), 3, Fact, lambda: None])
async def test_a_callable_that_can_never_work_is_refused(kernel_factory, handler):
    kernel = await kernel_factory()

    with pytest.raises(InvalidHandler):
        kernel.bus.on(Fact, handler)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "5"},
        {"timeout": float("nan")},
        {"timeout": 0},
        {"timeout": True},
        {"once": 1},
        {"thread": "yes"},
    ],
)
async def test_an_option_of_a_handler_that_makes_no_sense_is_refused(kernel_factory, options):
    kernel = await kernel_factory()

    with pytest.raises(InvalidOption, match=r"application.*print for Fact"):
        kernel.bus.on(Fact, print, **options)


@pytest.mark.parametrize(
    "options",
    [{"maxsize": 1.5}, {"maxsize": True}, {"maxsize": "9"}, {"overflow": None}, {"overflow": []}],
)
async def test_an_option_of_a_stream_that_makes_no_sense_is_refused(kernel_factory, options):
    kernel = await kernel_factory()

    with pytest.raises(InvalidOption, match="stream\\(Tick\\)"):
        kernel.bus.stream(Tick, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"spill": waits},
        {"spill": lambda: None},
        {"overflow": "conflate", "key": waits},
        {"overflow": "conflate", "key": lambda: 1},
    ],
)
async def test_a_function_of_a_stream_that_can_never_work_is_refused(kernel_factory, options):
    kernel = await kernel_factory()

    with pytest.raises(InvalidHandler, match="stream\\(Tick\\)"):
        kernel.bus.stream(Tick, **options)


async def test_a_predicate_that_can_never_work_is_refused(kernel_factory):
    kernel = await kernel_factory()
    for predicate in (waits, lambda: True, 3):
        with pytest.raises(InvalidHandler):
            kernel.bus.wait_for(Fact, predicate)
    for options in ({"timeout": "5"}, {"timeout": -1}, {"since": "now"}):
        with pytest.raises(InvalidOption):
            kernel.bus.wait_for(Fact, **options)


async def test_a_predicate_that_returns_a_coroutine_fails_its_wait(kernel_factory):
    kernel = await kernel_factory()
    waiting = kernel.bus.wait_for(Fact, lambda event: waits(event))
    await kernel.bus.publish(Fact())

    with pytest.raises(TypeError, match="coroutine"):
        await waiting


async def test_a_spill_function_that_returns_a_coroutine_keeps_nothing(kernel_factory):
    kernel = await kernel_factory()
    async with kernel.bus.stream(Tick, maxsize=1, spill=lambda event: waits(event)) as stream:
        for number in range(3):
            await kernel.bus.emit(Tick(number))

        assert (stream.statistics().spilled, stream.statistics().dropped) == (0, 2)


async def test_decorate_neither_waits_nor_runs_in_a_thread(kernel_factory):
    kernel = await kernel_factory()
    for options in ({"timeout": 1.0}, {"thread": True}):
        with pytest.raises(InvalidHandler, match="thread or with a limit"):
            kernel.bus.on(Dress, lambda event, fn: fn, **options)


async def test_two_callables_that_compare_equal_are_two(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.on(Fact, Same())
    kernel.bus.on(Fact, Same())

    assert (await kernel.bus.publish(Fact())).handled == 2


async def test_options_are_refused_with_what_to_give_instead():
    error = InvalidOption("plugin 'p'", "timeout", "'5'", "is not a number", "give a number")

    assert str(error).startswith("plugin 'p': timeout='5' is not a number")
    assert error.hint == "give a number"


# -- waits that somebody else ends


async def test_a_reader_that_ends_releases_the_publishers_at_once(kernel_factory):
    kernel = await kernel_factory(timers=FakeClock())  # so no patience ends the wait
    stream = kernel.bus.stream(Tick, maxsize=1, overflow="block").open()
    await kernel.bus.emit(Tick(1))
    waiting = asyncio.create_task(kernel.bus.emit(Tick(2)))
    await asyncio.sleep(0)
    stream.close()
    done, _ = await asyncio.wait([waiting], timeout=120)

    assert done == {waiting}
    assert stream.statistics().refused == 1


async def test_a_publisher_goes_on_as_soon_as_there_is_room(kernel_factory):
    kernel = await kernel_factory(timers=FakeClock())  # whose 5 seconds never pass
    stream = kernel.bus.stream(Tick, maxsize=1, overflow="block").open()
    await kernel.bus.emit(Tick(1))
    waits = asyncio.create_task(kernel.bus.emit(Tick(2)))
    await asyncio.sleep(0)

    assert await anext(stream) == Tick(1)
    done, _ = await asyncio.wait([waits], timeout=120)
    assert done == {waits}
    assert await anext(stream) == Tick(2)


async def test_what_a_full_mailbox_refused_is_counted(kernel_factory):
    clock = FakeClock()
    kernel = await kernel_factory(timers=clock)
    stream = kernel.bus.stream(Tick, maxsize=1, overflow="block").open()
    await kernel.bus.emit(Tick(1))
    with pytest.raises(MailboxFull):
        kernel.bus.emit_nowait(Tick(2))
    assert stream.statistics().refused == 1

    waiting = asyncio.create_task(kernel.bus.emit(Tick(3)))
    await clock.advance(6)
    assert isinstance(waiting.exception(), BackpressureTimeout)
    assert stream.statistics().refused == 2
    stream.close()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_thread_that_waits_for_room_is_woken(kernel_factory, ends):
    hold = asyncio.Event()

    async def waits_for_it(event):
        await hold.wait()

    kernel = await kernel_factory(FakePlugin("p", {Fact: waits_for_it}))
    told: list[Any] = []
    filled = threading.Event()

    def fill():
        for number in range(INBOX_LIMIT + 1):  # the first of them is being handled
            kernel.bus.publish_from_thread(Fact(number), timeout=120)
        filled.set()
        try:
            told.append(kernel.bus.publish_from_thread(Fact(), timeout=600))
        except BusClosed as error:
            told.append(error.state)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    await until(filled.is_set)
    assert kernel.bus.inbox_pending == INBOX_LIMIT
    if ends:
        kernel.bus.seal()
    else:
        hold.set()
    await asyncio.to_thread(thread.join, 120)
    hold.set()

    assert told == (["sealed"] if ends else [True])
    await idle(kernel.bus)


async def test_a_stray_cancellation_of_one_exit_is_judged_apart_from_the_one_before(
    kernel_factory,
):
    leaving = asyncio.Event()

    @asynccontextmanager
    async def strays(event):
        try:
            yield
        finally:
            raise asyncio.CancelledError

    @asynccontextmanager
    async def flushes(event):
        try:
            yield
        finally:
            leaving.set()
            await asyncio.Event().wait()

    kernel = await kernel_factory(
        FakePlugin("outer", {Wrap: strays}), FakePlugin("inner", {Wrap: flushes})
    )

    async def work():
        async with kernel.bus.around(Wrap()):
            pass

    task = asyncio.create_task(work())
    await leaving.wait()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert kernel.health().plugins["outer"].handlers[0].errors == 1


@pytest.mark.parametrize(("budget_s", "slices"), [(8.0, [2.0] * 4), (0.0, [0.05] * 4)])
async def test_each_handler_of_an_ending_gets_an_equal_share_and_at_least_50_ms(
    kernel_factory, budget_s, slices
):
    clock = FakeClock()
    begun: list[float] = []
    ended: list[float] = []

    async def hangs(event):
        begun.append(clock.monotonic())
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(clock.monotonic())

    kernel = await kernel_factory(timers=clock)
    for _ in slices:
        kernel.bus.on(Ends, partial(hangs))
    told = asyncio.create_task(kernel.bus.teardown(Ends(), budget_s))
    await clock.advance(20)
    failures = await told

    assert [type(failure) for failure in failures] == [HandlerTimeout] * len(slices)
    assert [end - begin for begin, end in zip(begun, ended, strict=True)] == pytest.approx(slices)
