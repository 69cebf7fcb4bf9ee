"""Notifications: isolation, quarantine, re-entrancy, deadlines, cancellation: §5.3, §5.4, §6."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from runbus.errors import (
    BusClosed,
    HandlerCancelled,
    HandlerTimeout,
    HookError,
    RecursionLimit,
    WouldDeadlock,
)
from runbus.events import HandlerFailed, Notify, PluginQuarantined, PluginReleased
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, fail_next, idle, record


class A(Notify, frozen=True):
    number: int = 0


class B(Notify, frozen=True):
    number: int = 0


class Quick(Notify, frozen=True):
    deadline_s = 2.0


async def breaks(event):
    raise ZeroDivisionError("oh")


async def test_one_failing_handler_hurts_nobody_and_is_in_the_receipt(kernel_factory, caplog):
    before, after = FakePlugin("before", {A: None}), FakePlugin("after", {A: None})
    failed = FakePlugin("failed", {HandlerFailed: None})
    kernel = await kernel_factory(before, FakePlugin("bad", {A: breaks}), after, failed)
    receipt = await kernel.bus.publish(A(1))

    assert before.seen == after.seen == [A(1)]
    assert receipt.handled == 2
    (error,) = receipt.errors
    assert (error.plugin, error.hook, error.event) == ("bad", "breaks", "A")
    assert isinstance(error.__cause__, ZeroDivisionError)
    (event,) = failed.seen
    assert (event.plugin, event.event, event.seq, event.failures) == ("bad", "A", receipt.seq, 1)
    assert "ZeroDivisionError" in event.error
    assert caplog.text.count("Traceback") == 1


async def test_failures_of_those_who_hear_of_failures_are_only_logged(kernel_factory, caplog):
    kernel = await kernel_factory(FakePlugin("bad", {A: breaks, HandlerFailed: breaks}))
    with record(kernel.bus) as recording:
        await kernel.bus.publish(A())

    assert len(recording.of(HandlerFailed)) == 1
    assert caplog.text.count("ZeroDivisionError: oh") >= 2


async def test_five_failures_in_a_row_put_a_plugin_into_quarantine(kernel_factory, caplog):
    other = FakePlugin("other", {PluginQuarantined: None, PluginReleased: None})
    bad = FakePlugin("bad", {A: breaks, B: None})
    kernel = await kernel_factory(bad, other)
    receipts = [await kernel.bus.publish(A(n)) for n in range(7)]
    await kernel.bus.publish(B())

    assert [len(receipt.errors) for receipt in receipts] == [1, 1, 1, 1, 1, 0, 0]
    assert bad.seen == []
    assert [(e.plugin, e.failures) for e in other.seen] == [("bad", 5)]
    assert kernel.health().plugins["bad"].state.value == "quarantined"
    assert not kernel.health().healthy
    assert "called no more until release('bad')" in caplog.text

    kernel.release("bad")
    await kernel.bus.publish(B())
    await idle(kernel.bus)
    assert bad.seen == [B()]
    assert other.seen[-1] == PluginReleased(plugin="bad")
    assert kernel.health().plugins["bad"].state.value == "started"


async def test_a_handler_of_the_application_that_is_skipped_is_a_matter_of_health(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.on(A, breaks)
    kernel.bus.on(B, lambda event: None)
    assert kernel.health().healthy
    for _ in range(5):
        await kernel.bus.publish(A())

    health = kernel.health()
    assert not health.healthy
    assert (health.application.state.value, health.application.healthy) == ("quarantined", False)
    assert health.application.error == "breaks: ZeroDivisionError: oh"
    assert [one.failures_in_a_row for one in health.application.handlers] == [5, 0]

    kernel.release("application")
    assert kernel.health().healthy
    assert kernel.health().application.error == ""


async def test_plugins_that_are_skipped_are_not_counted_and_skip_nobody_else(kernel_factory):
    first, last = FakePlugin("first", {A: None}), FakePlugin("last", {A: None})
    bad = [FakePlugin(name, {A: breaks}) for name in ("one", "two")]
    kernel = await kernel_factory(first, *bad, last)
    handled = [(await kernel.bus.publish(A(n))).handled for n in range(7)]

    assert kernel.health().plugins["two"].state.value == "quarantined"
    assert handled == [2] * 7
    assert first.seen == last.seen == [A(n) for n in range(7)]


async def test_a_handler_that_was_called_often_gets_every_event_still(kernel_factory):
    plugin = FakePlugin("p", {A: None})
    kernel = await kernel_factory(plugin)
    receipts = [await kernel.bus.publish(A(n)) for n in range(30)]

    assert plugin.seen == [A(n) for n in range(30)]
    assert [receipt.handled for receipt in receipts] == [1] * 30
    (handler,) = kernel.health().plugins["p"].handlers
    assert (handler.calls, handler.errors) == (30, 0)


async def test_what_is_queued_reaches_all_who_listen_by_then(kernel_factory):
    kernel = await kernel_factory()
    late: list[Any] = []

    async def again(event):
        if event.number == 1:
            await kernel.bus.publish(A(2))
            kernel.bus.on(A, late.append)

    kernel.bus.on(A, again)
    async with kernel.bus.stream(A) as stream:
        await kernel.bus.publish(A(1))

        assert late == [A(2)]
        assert await stream.batch() == [A(1), A(2)]


async def test_a_recording_shows_who_failed_and_takes_nothing_from_streams(kernel_factory):
    kernel = await kernel_factory(FakePlugin("bad", {A: breaks}), FakePlugin("good", {A: None}))
    async with kernel.bus.stream(A) as stream:
        with record(kernel.bus) as recording:
            await kernel.bus.publish(A(1))

        assert await stream.batch() == [A(1)]
    (entry,) = [one for one in recording.entries if one.event == A(1)]
    assert entry.outcome == "error"
    assert [(plugin, verdict) for plugin, _, verdict in entry.handlers] == [
        ("bad", "error: ZeroDivisionError: oh"),
        ("good", "ok"),
    ]


async def test_a_success_begins_the_count_anew(kernel_factory):
    bad = FakePlugin("bad", {A: None})
    kernel = await kernel_factory(bad)
    for _ in range(3):
        for _ in range(4):
            fail_next(kernel.bus, bad._note, ValueError("no"))
            await kernel.bus.publish(A())
        await kernel.bus.publish(A())

    assert kernel.health().plugins["bad"].state.value == "started"
    assert len(bad.seen) == 3


async def test_a_handler_subscribed_during_quarantine_is_skipped_until_the_release(kernel_factory):
    bad = FakePlugin("bad", {A: breaks})
    kernel = await kernel_factory(bad)
    for _ in range(5):
        await kernel.bus.publish(A())
    seen: list[Any] = []
    bad.scope.on(B, seen.append)
    await kernel.bus.publish(B(1))
    kernel.release("bad")
    await kernel.bus.publish(B(2))

    assert seen == [B(2)]


async def test_the_failure_of_a_critical_plugin_reaches_the_publisher_after_the_others(
    kernel_factory,
):
    after = FakePlugin("after", {A: None})
    kernel = await kernel_factory(FakePlugin("vital", {A: breaks}, critical=True), after)

    with pytest.raises(HookError, match="plugin 'vital'"):
        await kernel.bus.publish(A())
    assert after.seen == [A()]


async def test_a_cancellation_by_nobody_is_an_ordinary_failure(kernel_factory):
    async def stray(event):
        raise asyncio.CancelledError

    after = FakePlugin("after", {A: None})
    kernel = await kernel_factory(FakePlugin("bad", {A: stray}), after)
    receipt = await kernel.bus.publish(A())

    assert isinstance(receipt.errors[0], HandlerCancelled)
    assert after.seen == [A()]


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_cancelled_publisher_ends_the_running_handler_and_skips_the_rest(
    kernel_factory, how
):
    started = asyncio.Event()
    log: list[Any] = []

    async def waits(event):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cut")

    async def queues(event):
        await kernel.bus.publish(A(2))

    after = FakePlugin("after", {A: None})
    kernel = await kernel_factory(
        FakePlugin("q", {A: queues}), FakePlugin("waits", {A: waits}), after
    )
    with record(kernel.bus) as recording:
        if how == "task":
            task = asyncio.create_task(kernel.bus.publish(A(1)))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.bus.publish, A(1))
                await started.wait()
                group.cancel_scope.cancel()

    assert log == ["cut"]
    assert after.seen == []
    outer, queued = recording.entries
    assert outer.outcome == "cancelled"
    assert [verdict for *_, verdict in outer.handlers] == ["ok", "cancelled", "skipped"]
    assert queued.outcome == "dropped"
    assert kernel.bus.is_idle


async def test_keyboard_interrupt_passes_through_and_leaves_the_books_in_order(kernel_factory):
    async def interrupts(event):
        raise KeyboardInterrupt

    kernel = await kernel_factory(FakePlugin("bad", {A: interrupts}))
    coroutine = kernel.bus.publish(A())
    with pytest.raises(KeyboardInterrupt):
        await coroutine

    assert kernel.bus.is_idle
    receipt = await kernel.bus.publish(B())
    assert receipt.seq


async def test_another_type_is_published_at_once_and_the_same_type_after_this_one(kernel_factory):
    log: list[Any] = []

    async def first(event):
        log.append(f"first {event.number}")
        if event.number == 1:
            receipt = await kernel.bus.publish(A(2))
            log.append(f"queued={receipt.queued}")
            await kernel.bus.publish(A(3))
            await kernel.bus.publish(B(9))

    async def second(event):
        log.append(f"second {event.number}")
        if event.number == 2:
            await kernel.bus.publish(A(4))

    async def other(event):
        log.append(f"other {event.number}")

    kernel = await kernel_factory(FakePlugin("p", {A: first, B: other}))
    kernel.bus.on(A, second)
    receipt = await kernel.bus.publish(A(1))

    assert log == [
        "first 1", "queued=True", "other 9", "second 1",
        "first 2", "second 2", "first 3", "second 3", "first 4", "second 4",
    ]  # fmt: skip
    assert not receipt.queued
    assert await receipt is receipt


async def test_an_event_queued_through_another_type_is_not_lost(kernel_factory):
    seen: list[Any] = []

    async def on_a(event):
        seen.append(event)
        if event.number < 3:
            await kernel.bus.publish(B(event.number))

    async def on_b(event):
        seen.append(event)
        await kernel.bus.publish(A(event.number + 1))

    kernel = await kernel_factory(FakePlugin("p", {A: on_a, B: on_b}))
    await kernel.bus.publish(A(1))

    assert seen == [A(1), B(1), A(2), B(2), A(3)]


@pytest.mark.parametrize("event", [A(0), B(0)])
async def test_recursion_stops_at_sixteen_and_is_the_failure_of_a_handler(kernel_factory, event):
    depths: list[Any] = []

    async def on_a(event):
        depths.append(event.number)
        await kernel.bus.publish(B(event.number + 1))

    async def on_b(event):
        depths.append(event.number)
        await kernel.bus.publish((A if type(event) is B else B)(event.number + 1))

    async def itself(event):
        depths.append(event.number)
        await kernel.bus.publish(A(event.number + 1))

    handlers = {A: on_a, B: on_b} if isinstance(event, A) else {A: itself, B: on_b}
    deep = FakePlugin("deep", {A: None, B: None})
    kernel = await kernel_factory(FakePlugin("p", handlers), deep)
    with record(kernel.bus) as recording:
        await kernel.bus.publish(event)

    assert max(depths) == 15
    assert max(event.number for event in deep.seen) == 15
    (failed,) = recording.of(HandlerFailed)
    assert failed.error.startswith("RecursionLimit")
    assert kernel.bus.is_idle


async def test_a_receipt_is_not_waited_for_from_within_either(kernel_factory):
    class Awaits(Notify, frozen=True):
        receipt: Any

    async def again(event):
        if event.number == 0:
            receipt = await kernel.bus.publish(A(1))
            nested = await kernel.bus.publish(Awaits(receipt))
            errors.extend(nested.errors)

    async def awaits(event):
        await event.receipt

    errors: list[Any] = []
    kernel = await kernel_factory(FakePlugin("p", {A: again, Awaits: awaits}))
    await asyncio.wait_for(kernel.bus.publish(A(0)), 120)

    assert [type(error.__cause__) for error in errors] == [WouldDeadlock]


async def test_handlers_that_fail_make_no_room_for_a_longer_chain(kernel_factory):
    depths: list[int] = []

    def fails(event):
        raise ValueError("no")

    async def goes_deeper(event):
        depths.append(event.number)
        await kernel.bus.publish((A if type(event) is B else B)(event.number + 1))

    first = FakePlugin("first", {A: fails, B: fails})
    kernel = await kernel_factory(first, FakePlugin("second", {A: goes_deeper, B: goes_deeper}))
    await kernel.bus.publish(B(0))

    assert max(depths) == 15


async def test_what_the_bus_tells_of_itself_is_no_step_of_a_chain(kernel_factory):
    numbers: list[int] = []

    async def goes_on(event):
        if event.number == 0:
            raise ValueError("no")
        numbers.append(event.number)
        await kernel.bus.publish((A if type(event) is B else B)(event.number + 1))

    async def hears_of_it(event):
        if not numbers:
            await kernel.bus.publish(B(1))

    handlers = {A: goes_on, B: goes_on, HandlerFailed: hears_of_it}
    kernel = await kernel_factory(FakePlugin("p", handlers))
    await kernel.bus.publish(A(0))

    assert max(numbers) == 15


async def test_who_waits_for_an_event_that_was_queued_is_told_of_its_end(kernel_factory):
    receipts: list[Any] = []

    async def queues(event):
        if event.number == 1:
            receipts.extend([await kernel.bus.publish(A(number)) for number in (2, 3)])

    kernel = await kernel_factory(FakePlugin("p", {A: queues}))
    await kernel.bus.publish(A(1))

    for receipt in receipts:
        with pytest.raises(StopIteration) as ended:
            next(receipt.__await__())  # there is nothing left to wait for
        assert ended.value.value is receipt


async def test_a_recursion_error_names_the_chain():
    error = RecursionLimit(16, ("A", "B", "A"))

    assert str(error) == "more than 16 events caused one another: A > B > A"


async def test_awaiting_the_receipt_of_a_queued_event_inside_its_cause_would_deadlock(
    kernel_factory,
):
    receipts: list[Any] = []

    async def impatient(event):
        if event.number == 1:
            receipts.append(await kernel.bus.publish(A(2)))
            await receipts[0]

    kernel = await kernel_factory(FakePlugin("p", {A: impatient}))
    receipt = await kernel.bus.publish(A(1))

    assert isinstance(receipt.errors[0].__cause__, WouldDeadlock)
    assert (await receipts[0]).handled == 1


async def test_a_task_started_by_a_handler_is_caused_but_not_nested(kernel_factory):
    done = asyncio.Event()

    async def later():
        receipt = await kernel.bus.publish(A(2))
        assert not receipt.queued
        done.set()

    tasks: list[Any] = []

    async def spawns(event):
        if event.number == 1:
            tasks.append(asyncio.create_task(later()))

    kernel = await kernel_factory(FakePlugin("p", {A: spawns}))
    with record(kernel.bus) as recording:
        await kernel.bus.publish(A(1))
        await done.wait()

    first, second = recording.entries
    assert second.parent == first.seq


async def test_a_handler_over_its_own_limit_is_cancelled_and_the_next_one_runs(kernel_factory):
    clock = FakeClock()
    log: list[Any] = []

    async def hangs(event):
        try:
            await asyncio.Event().wait()
        finally:
            log.append("cut")

    kernel = await kernel_factory(timers=clock)
    kernel.bus.on(A, hangs, timeout=0.5)
    kernel.bus.on(A, lambda event: log.append("next"))
    task = asyncio.create_task(kernel.bus.publish(A()))
    await clock.advance(0.4)
    assert log == []
    await clock.advance(0.2)
    receipt = await task

    assert log == ["cut", "next"]
    assert isinstance(receipt.errors[0], HandlerTimeout)
    assert receipt.errors[0].timeout_s == 0.5
    assert task.cancelling() == 0


async def test_a_limit_of_its_own_may_be_longer_than_that_of_the_event(kernel_factory):
    clock = FakeClock()
    done = asyncio.Event()
    kernel = await kernel_factory(timers=clock)

    async def waits(event):
        await done.wait()

    kernel.bus.on(Quick, waits, timeout=20)
    task = asyncio.create_task(kernel.bus.publish(Quick()))
    await clock.advance(10)
    done.set()

    assert (await task).errors == ()


async def test_a_critical_plugin_is_never_quarantined(kernel_factory):
    def fails(event):
        raise ValueError("no")

    kernel = await kernel_factory()
    owner = kernel.bus.registry.add_owner("critical", 0, critical=True)
    kernel.bus.registry.subscribe(owner, A, fails, once=False, timeout_s=None, thread=False)
    for _ in range(6):
        with pytest.raises(HookError):
            await kernel.bus.publish(A())

    assert not owner.quarantined
    kernel.bus.registry.remove_owner(owner)


@pytest.mark.parametrize(("event", "limit_s"), [(A(), 30.0), (Quick(), 2.0)])
async def test_a_handler_over_the_limit_of_its_event_class_is_cancelled(
    kernel_factory, event, limit_s
):
    clock = FakeClock()
    after = FakePlugin("after", {type(event): None})

    async def hangs(event):
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("bad", {type(event): hangs}), after, timers=clock)
    task = asyncio.create_task(kernel.bus.publish(event))
    await clock.advance(limit_s * 0.99)
    assert not task.done()
    await clock.advance(limit_s * 0.08)
    receipt = await task

    assert isinstance(receipt.errors[0], HandlerTimeout)
    assert after.seen == [event]


async def test_an_outer_handler_over_its_limit_is_cancelled_before_the_inner_one_is(kernel_factory):
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    async def outer(event):
        await kernel.bus.publish(A())

    kernel = await kernel_factory(
        FakePlugin("outer", {Quick: outer}), FakePlugin("inner", {A: hangs}), timers=clock
    )
    task = asyncio.create_task(kernel.bus.publish(Quick()))
    await clock.advance(2.2)
    (error,) = (await task).errors

    assert isinstance(error, HandlerTimeout)
    assert error.plugin == "outer"


async def test_a_limit_is_kept_however_much_else_is_published_meanwhile(kernel_factory):
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("p", {A: hangs, B: None}), timers=clock)
    task = asyncio.create_task(kernel.bus.publish(A()))
    for _ in range(33):
        await clock.advance(1)
        await kernel.bus.publish(B())

    assert isinstance((await task).errors[0], HandlerTimeout)


@pytest.mark.parametrize("calls", [2, 20])
async def test_the_mean_and_the_longest_time_of_the_calls_are_told(kernel_factory, calls):
    """Also of those whose steps are no longer watched."""
    clock = FakeClock()
    spans = [0.01] * (calls - 1) + [0.04]
    todo = iter(spans)

    async def works(event):
        await clock.advance(next(todo))

    kernel = await kernel_factory(timers=clock)
    handler = kernel.bus.on(A, works)
    for _ in spans:
        await kernel.bus.publish(A())

    told = handler.statistics()
    assert told.mean_ms == pytest.approx(sum(spans) / calls * 1e3)
    assert told.max_ms == pytest.approx(40)


async def test_the_inner_handler_is_blamed_when_a_nested_publish_hangs(kernel_factory):
    clock = FakeClock()

    async def hangs(event):
        await asyncio.Event().wait()

    async def outer(event):
        receipt = await kernel.bus.publish(B())
        assert isinstance(receipt.errors[0], HandlerTimeout)
        assert receipt.errors[0].plugin == "inner"

    kernel = await kernel_factory(
        FakePlugin("outer", {A: outer}), FakePlugin("inner", {B: hangs}), timers=clock
    )
    task = asyncio.create_task(kernel.bus.publish(A()))
    await clock.advance(33)
    receipt = await task

    assert receipt.errors == ()


async def test_a_handler_that_swallows_its_cancellation_is_cancelled_again(kernel_factory):
    clock = FakeClock()
    swallowed = 0

    async def stubborn(event):
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.Event().wait()

    kernel = await kernel_factory(timers=clock)
    kernel.bus.on(A, stubborn, timeout=1.0)
    task = asyncio.create_task(kernel.bus.publish(A()))
    await clock.advance(5)
    receipt = await task

    assert swallowed == 3
    assert isinstance(receipt.errors[0], HandlerTimeout)


async def test_an_outer_timeout_wins_over_a_handler(kernel_factory):
    async def hangs(event):
        await asyncio.Event().wait()

    kernel = await kernel_factory(FakePlugin("bad", {A: hangs}))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await kernel.bus.publish(A())
    with anyio.move_on_after(0.01) as scope:
        await kernel.bus.publish(A())
    assert scope.cancelled_caught


async def test_a_slow_sync_handler_is_counted_and_warned_of_once(kernel_factory, caplog):
    clock = FakeClock()

    def slow(event):
        clock._now_ns += 60_000_000

    kernel = await kernel_factory(timers=clock)
    subscription = kernel.bus.on(A, slow)
    await kernel.bus.publish(A())
    await kernel.bus.publish(A())

    statistics = subscription.statistics()
    assert (statistics.calls, statistics.slow) == (2, 2)
    assert statistics.max_ms == pytest.approx(60)
    assert caplog.text.count("held the event loop for 60 ms") == 1


async def test_publish_outside_of_the_life_of_the_kernel_is_refused():
    kernel = Kernel()
    with pytest.raises(BusClosed, match="new"):
        await kernel.bus.publish(A())
    async with kernel:
        pass
    with pytest.raises(BusClosed, match="closed"):
        await kernel.bus.publish(A())


async def test_a_receipt_reads_well(kernel_factory):
    kernel = await kernel_factory()
    receipt = await kernel.bus.publish(A())

    assert repr(receipt) == f"<Receipt {receipt.seq}: 0 handled, 0 failed>"


async def test_the_application_loses_only_the_handler_that_keeps_failing(kernel_factory):
    kernel = await kernel_factory()
    seen: list[Any] = []
    kernel.bus.on(A, breaks)
    kernel.bus.on(A, seen.append)
    receipts = [await kernel.bus.publish(A(number)) for number in range(6)]

    assert [len(receipt.errors) for receipt in receipts] == [1, 1, 1, 1, 1, 0]
    assert len(seen) == 6
    kernel.release("application")
    assert len((await kernel.bus.publish(A())).errors) == 1


async def test_a_critical_plugin_that_fails_to_hear_of_a_failure_still_lets_the_others_run(
    kernel_factory,
):
    after = FakePlugin("after", {A: None})
    vital = FakePlugin("vital", {HandlerFailed: breaks}, critical=True)
    kernel = await kernel_factory(vital, FakePlugin("bad", {A: breaks}), after)

    with pytest.raises(HookError, match="plugin 'vital'"):
        await kernel.bus.publish(A())
    assert after.seen == [A()]


async def test_a_recording_shows_the_handlers_that_were_skipped(kernel_factory):
    kernel = await kernel_factory(FakePlugin("bad", {A: breaks}))
    for _ in range(5):
        await kernel.bus.publish(A())
    with record(kernel.bus) as recording:
        await kernel.bus.publish(A())

    assert recording.entries[0].handlers == (("bad", "breaks", "skipped"),)


async def test_what_a_queued_event_causes_waits_for_dispatches_further_out(kernel_factory):
    log: list[Any] = []

    async def outer(event):
        log.append(f"+A {event.number}")
        if event.number == 1:
            await kernel.bus.publish(B(1))
        log.append(f"-A {event.number}")

    async def inner(event):
        log.append(f"+B {event.number}")
        receipt = await kernel.bus.publish(B(2) if event.number == 1 else A(2))
        log.append(f"queued={receipt.queued} later={receipt.seq > seqs[-1]}")
        seqs.append(receipt.seq)
        log.append(f"-B {event.number}")

    seqs = [0]
    kernel = await kernel_factory(FakePlugin("p", {A: outer, B: inner}))
    await kernel.bus.publish(A(1))

    assert log == [
        "+A 1",
        "+B 1", "queued=True later=True", "-B 1",
        "+B 2", "queued=True later=True", "-B 2",
        "-A 1",
        "+A 2", "-A 2",
    ]  # fmt: skip


async def test_a_failure_and_a_quarantine_are_logged_with_who_did_it_and_what(
    kernel_factory, caplog
):
    # By a clock that stands still, no handler takes long, which would be told, too.
    kernel = await kernel_factory(FakePlugin("bad", {A: breaks}), timers=FakeClock())
    kernel.bus.on(B, breaks)
    for _ in range(5):
        await kernel.bus.publish(A())
        await kernel.bus.publish(B())

    said = [one.getMessage() for one in caplog.records if one.name == "runbus.bus"]
    assert said[:2] == [
        "plugin 'bad': breaks for A raised ZeroDivisionError: oh",
        "plugin 'application': breaks for B raised ZeroDivisionError: oh",
    ]
    plugin, application = (text for text in said if "in a row" in text)
    assert plugin == (
        "plugin 'bad': breaks failed 5 times in a row; the plugin's handlers of notifications "
        "are called no more until release('bad')"
    )
    assert application == (
        "plugin 'application': breaks failed 5 times in a row; it is called no more "
        "until release('application')"
    )


async def test_taps_are_told_how_long_each_handler_took():
    clock = FakeClock()
    told: list[Any] = []

    class Tap:
        def intent(self, seq, parent, event, origin):
            pass

        def outcome(self, seq, status, handlers):
            told.extend((status, name, took_ns) for _, name, _, took_ns in handlers)

    async def waits(event):
        done = asyncio.get_running_loop().create_future()
        clock.call_later(2, lambda: done.set_result(None))
        await done

    async def leaves(event):
        raise KeyboardInterrupt

    async with Kernel(timers=clock) as kernel:
        for event, handler in ((A, waits), (A, print), (B, leaves), (B, print)):
            kernel.bus.on(event, handler)
        await clock.advance(100)
        kernel.bus.add_tap(Tap())
        publishing = asyncio.create_task(kernel.bus.publish(A()))
        await clock.advance(3)
        await publishing
        with pytest.raises(KeyboardInterrupt):
            await kernel.bus.publish(B())

    assert [(status, name.rpartition(".")[2], took_ns) for status, name, took_ns in told] == [
        ("ok", "waits", 2_000_000_000),
        ("ok", "print", 0),
        ("error", "leaves", 0),
        ("error", "print", 0),
    ]


async def test_each_of_the_events_of_one_dispatch_ends_for_taps_as_its_own_handlers_did(
    kernel_factory,
):
    ended: list[Any] = []
    classes: dict[int, Notify] = {}

    class Tap:
        def intent(self, seq, parent, event, origin):
            classes[seq] = event

        def outcome(self, seq, status, handlers):
            ended.append((classes[seq], status))

    async def fails_once(event):
        if event.number == 1:
            await kernel.bus.publish(A(2))
            raise ValueError("no")

    kernel = await kernel_factory(FakePlugin("p", {A: fails_once}))
    kernel.bus.add_tap(Tap())
    await kernel.bus.publish(A(1))

    assert [one for one in ended if isinstance(one[0], A)] == [(A(1), "error"), (A(2), "ok")]


@pytest.mark.parametrize(
    ("closed", "status"), [(True, "cancelled"), (False, "error")], ids=["closed", "raised"]
)
async def test_a_dispatch_that_is_closed_from_outside_did_not_fail(kernel_factory, closed, status):
    ended: list[str] = []

    class Tap:
        def intent(self, seq, parent, event, origin):
            pass

        def outcome(self, seq, status, handlers):
            ended.append(status)

    async def waits_or_leaves(event):
        if not closed:
            raise GeneratorExit
        await asyncio.get_running_loop().create_future()

    async def begin():
        publishing = kernel.bus.publish(A())
        publishing.send(None)
        return publishing

    kernel = await kernel_factory(FakePlugin("p", {A: waits_or_leaves}))
    kernel.bus.add_tap(Tap())
    if closed:
        # As what collects the garbage does, once a loop is gone: from another task, or from none.
        (await asyncio.create_task(begin())).close()
    else:
        with pytest.raises(GeneratorExit):
            await kernel.bus.publish(A())

    assert ended == [status]
