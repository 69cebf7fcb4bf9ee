"""From set-up to close: §5.6, §5.7, §6."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import pytest
import pytest_asyncio

from runbus.abc import PluginState
from runbus.bus import name_of
from runbus.errors import (
    BusClosed,
    DuplicatePlugin,
    HandlerTimeout,
    HookError,
    InvalidHandler,
    MissingPlugin,
    PluginCrashed,
    PluginNotFound,
    PluginStuck,
    WouldDeadlock,
)
from runbus.events import (
    KernelStarted,
    KernelStopping,
    Notify,
    PluginFailed,
    PluginStarted,
    PluginStopped,
    Shutdown,
    Stream,
)
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, assert_no_leaks, idle, leaks, record


class Fact(Notify, frozen=True):
    number: int = 0


class Tick(Stream, frozen=True):
    number: int = 0


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def forever():
    await asyncio.Event().wait()


def plugins(names, log, **options):
    return [FakePlugin(name, log=log, **options) for name in names]


async def test_plugins_are_set_up_in_order_and_closed_in_reverse():
    log: list[Any] = []
    heard = FakePlugin("heard", {KernelStarted: None, KernelStopping: None, Shutdown: None})
    async with Kernel(plugins=[*plugins("ab", log), heard]) as kernel:
        log.append("body")

    assert log == ["a: setup", "b: setup", "body", "b: closed", "a: closed"]
    assert [type(event) for event in heard.seen] == [KernelStarted, KernelStopping, Shutdown]
    assert heard.seen[0].plugins == ("a", "b", "heard")
    assert_no_leaks(kernel)


@pytest_asyncio.fixture
async def in_a_fixture():
    log: list[Any] = []

    async def opens_a_group(scope):
        group = await scope.enter(anyio.create_task_group())
        group.start_soon(forever)
        scope.start(forever)

    async with Kernel(plugins=[FakePlugin("p", setup=opens_a_group, log=log)]) as kernel:
        yield kernel
    assert log == ["p: setup", "p: closed"]


async def test_a_kernel_works_in_a_fixture_even_with_a_task_group_left_open(in_a_fixture):
    assert (await in_a_fixture.bus.publish(Fact())).seq


async def test_a_failing_setup_closes_what_was_started_in_reverse_and_names_the_plugin():
    log: list[Any] = []

    async def breaks(scope):
        raise ZeroDivisionError("oh")

    kernel = Kernel(
        plugins=[*plugins("ab", log), FakePlugin("bad", setup=breaks, log=log), *plugins("c", log)]
    )
    with pytest.raises(HookError, match="plugin 'bad': setup raised ZeroDivisionError: oh") as info:
        async with kernel:
            pytest.fail("the block must not run")

    assert isinstance(info.value.__cause__, ZeroDivisionError)
    closed = ["bad: closed", "b: closed", "a: closed"]
    assert log == ["a: setup", "b: setup", "bad: setup", *closed]
    assert leaks(kernel) == []


async def test_a_setup_that_hangs_is_told_of_every_ten_seconds_and_cut_after_thirty(caplog):
    clock = FakeClock()
    log: list[Any] = []

    async def hangs(scope):
        await scope.enter(anyio.create_task_group())
        await forever()

    kernel = Kernel(
        plugins=[*plugins("a", log), FakePlugin("slow", setup=hangs, log=log)], timers=clock
    )
    task = asyncio.create_task(kernel.__aenter__())
    await clock.advance(29)
    assert not task.done()
    await clock.advance(2)
    with pytest.raises(HookError, match="setup took longer than 30 s"):
        await task

    assert [r.message for r in caplog.records if "still waiting" in r.message] == [
        "still waiting for: slow (10 s)",
        "still waiting for: slow (20 s)",
    ]
    assert log[-2:] == ["slow: closed", "a: closed"]


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_cancelled_while_starting_it_closes_what_was_started(how):
    log: list[Any] = []
    reached = asyncio.Event()

    async def hangs(scope):
        reached.set()
        await forever()

    kernel = Kernel(plugins=[*plugins("a", log), FakePlugin("slow", setup=hangs, log=log)])

    async def run():
        async with kernel:
            pytest.fail("the block must not run")

    if how == "task":
        task = asyncio.create_task(run())
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await reached.wait()
            group.cancel_scope.cancel()

    assert log == ["a: setup", "slow: setup", "slow: closed", "a: closed"]
    assert leaks(kernel) == []


async def test_the_error_of_the_block_wins_and_the_rest_is_in_its_notes():
    @contextmanager
    def breaks_on_exit():
        yield
        raise OSError("cannot close")

    async def enters(scope):
        await scope.enter(breaks_on_exit())

    with pytest.raises(KeyError) as caught:
        async with Kernel(plugins=[FakePlugin("bad", setup=enters)]):
            raise KeyError("body")
    assert "cannot close" in "".join(caught.value.__notes__)

    with pytest.raises(ExceptionGroup) as group:
        async with Kernel(plugins=[FakePlugin("bad", setup=enters)]):
            pass
    (error,) = group.value.exceptions
    assert isinstance(error, HookError)
    assert error.plugin == "bad"


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_cancelled_block_is_shut_down_in_full_and_stays_cancelled(how):
    log: list[Any] = []
    reached = asyncio.Event()

    @asynccontextmanager
    async def slow_to_close():
        yield
        await asyncio.sleep(0.02)
        log.append("closed slowly")

    async def enters(scope):
        await scope.enter(slow_to_close())

    async def run():
        async with Kernel(plugins=[FakePlugin("p", setup=enters)]):
            reached.set()
            await forever()

    if how == "task":
        task = asyncio.create_task(run())
        await reached.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await reached.wait()
            group.cancel_scope.cancel()

    assert log == ["closed slowly"]


@pytest.mark.parametrize("how", ["task", "timeout", "scope"])
async def test_a_cancellation_while_it_stops_because_of_an_error_is_not_lost(how):
    closing = asyncio.Event()

    @asynccontextmanager
    async def slow_to_close():
        yield
        closing.set()
        await asyncio.sleep(0.02)

    async def enters(scope):
        await scope.enter(slow_to_close())

    async def run():
        try:
            async with Kernel(plugins=[FakePlugin("p", setup=enters)]):
                raise KeyError("held")
        except KeyError:
            await forever()  # as one does who tries again a little later

    async def limited():
        async with asyncio.timeout(None) as limit:
            watching = asyncio.create_task(closing.wait())
            watching.add_done_callback(lambda _: limit.reschedule(0))
            await run()

    if how == "task":
        task = asyncio.create_task(run())
        await closing.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    elif how == "timeout":
        with pytest.raises(TimeoutError):
            await limited()
        assert this_task().cancelling() == 0
    else:
        with anyio.CancelScope() as scope:
            watching = asyncio.create_task(closing.wait())
            watching.add_done_callback(lambda _: scope.cancel())
            await run()
        assert scope.cancelled_caught


async def test_a_kernel_that_crashes_while_a_block_fails_raises_the_error_of_the_block():
    crashed = asyncio.Event()

    async def crashes():
        try:
            await forever()
        finally:
            crashed.set()
            raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes)

    with pytest.raises(KeyError):
        async with Kernel(plugins=[FakePlugin("vital", critical=True, setup=starts)]):
            raise KeyError("own")
    assert crashed.is_set()
    assert this_task().cancelling() == 0


async def test_the_crash_of_a_critical_plugin_cancels_the_block_once_and_is_raised():
    async def crashes():
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes, name="pump")

    task = this_task()
    with pytest.raises(PluginCrashed, match="its task pump died: ZeroDivisionError: oh") as caught:
        async with Kernel(plugins=[FakePlugin("vital", critical=True, setup=starts)]):
            await forever()

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await forever()


async def test_a_crash_at_the_very_end_of_the_block_is_not_lost():
    release = asyncio.Event()

    async def crashes():
        await release.wait()
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes)

    async def run():
        async with Kernel(plugins=[FakePlugin("vital", critical=True, setup=starts)]):
            release.set()
            for _ in range(3):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    break

    with pytest.raises(PluginCrashed):
        await run()
    assert this_task().cancelling() == 0


async def test_the_crash_of_another_plugin_closes_it_and_those_that_require_it(kernel_factory):
    log: list[Any] = []
    go = asyncio.Event()

    async def crashes():
        await go.wait()
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes, name="pump")

    heard = FakePlugin("heard", {PluginFailed: None, PluginStopped: None})
    kernel = await kernel_factory(
        heard,
        FakePlugin("base", setup=starts, log=log),
        FakePlugin("on", requires=("base",), log=log),
        FakePlugin("on-on", requires=("on",), log=log),
        FakePlugin("apart", log=log),
    )
    go.set()
    for _ in range(100):
        await asyncio.sleep(0)

    assert log[4:] == ["on-on: closed", "on: closed", "base: closed"]
    assert [getattr(event, "plugin", "") for event in heard.seen] == ["base", "on-on", "on"]
    assert heard.seen[0].task == "pump"
    health = kernel.health()
    assert health.plugins["base"].state is PluginState.FAILED
    assert "ZeroDivisionError" in health.plugins["base"].error
    assert health.plugins["apart"].state is PluginState.STARTED


async def test_a_task_that_dies_during_setup_leaves_the_plugin_failed(kernel_factory):
    async def crashes():
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    kernel = await kernel_factory(FakePlugin("p", setup=starts))

    assert kernel.health().plugins["p"].state is PluginState.FAILED


async def test_a_task_that_fails_starts_again_as_often_as_it_may(caplog):
    clock = FakeClock()
    tries: list[Any] = []

    async def crashes():
        tries.append(clock.monotonic_ns() / 1e9)
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes, restart="on_failure")

    async with Kernel(plugins=[FakePlugin("p", setup=starts)], timers=clock) as kernel:
        await clock.advance(5)
        state = kernel.health().plugins["p"].state

    assert tries == pytest.approx([0, 0.1, 0.3, 0.7])
    assert state is PluginState.FAILED
    # That the machine stood still for a second is told, too.
    told = [one for one in caplog.records if "has blocked the event loop" not in one.message]
    *retried, failed = [one for one in told if one.name == "runbus.kernel"]
    assert [one.getMessage() for one in retried] == [
        f"plugin 'p': task {name_of(crashes)} failed and starts again in {delay_s} s"
        for delay_s in (0.1, 0.2, 0.4)
    ]
    assert failed.getMessage() == str(
        PluginCrashed("p", name_of(crashes), "", "ZeroDivisionError: oh")
    )
    for one in (*retried, failed):
        assert one.exc_info is not None
        assert one.exc_info[0] is ZeroDivisionError


async def test_a_failing_task_group_of_a_plugin_is_told_at_the_end():
    async def crashes():
        raise ZeroDivisionError("oh")

    async def opens(scope):
        group = await scope.enter(anyio.create_task_group())
        group.start_soon(crashes)

    async def run():
        async with Kernel(plugins=[FakePlugin("p", setup=opens)]) as kernel:
            await kernel.bus.wait_for(PluginFailed, timeout=120, since=0)
            assert kernel.health().plugins["p"].state is PluginState.FAILED

    with pytest.raises(ExceptionGroup) as caught:
        await run()

    assert caught.group_contains(HookError, match="ZeroDivisionError|unhandled errors")


@pytest.mark.parametrize("fails", [False, True])
async def test_what_runs_in_a_task_group_of_asyncio_ends_with_the_plugin(fails):
    async def crashes():
        raise ZeroDivisionError("oh")

    async def opens(scope):
        group = await scope.enter(asyncio.TaskGroup())
        group.create_task(forever())
        if fails:
            group.create_task(crashes())

    async def run():
        async with Kernel(plugins=[FakePlugin("p", setup=opens)]) as kernel:
            if fails:
                await kernel.bus.wait_for(PluginFailed, timeout=120, since=0)

    if not fails:
        async with asyncio.timeout(120):
            await run()
        return
    with pytest.raises(ExceptionGroup) as caught:
        await run()
    assert caught.group_contains(HookError, match="unhandled errors")


async def test_a_slow_close_is_named_by_the_function_that_it_is_in():
    @asynccontextmanager
    async def connection():
        yield
        await forever()

    async def opens(scope):
        await scope.enter(connection())

    clock = FakeClock()
    kernel = Kernel(plugins=[FakePlugin("p", setup=opens)], timers=clock, shutdown_budget_s=0.2)
    await kernel.__aenter__()
    _, error = await stop_under(clock, kernel)

    (timeout,) = error.exceptions
    assert isinstance(timeout, HandlerTimeout)
    assert re.search("close of .*connection took longer", str(timeout))


async def test_plugins_can_be_stopped_out_of_order_with_those_that_require_them(kernel_factory):
    log: list[Any] = []

    async def opens(scope):
        await scope.enter(anyio.create_task_group())

    heard = FakePlugin("heard", {PluginStopped: None, PluginStarted: None})
    kernel = await kernel_factory(
        heard,
        FakePlugin("a", setup=opens, log=log),
        FakePlugin("b", setup=opens, requires=("a",), log=log),
        FakePlugin("c", setup=opens, log=log),
    )
    await kernel.stop_plugin("a")

    assert log[3:] == ["b: closed", "a: closed"]
    assert [event.plugin for event in heard.seen] == ["b", "a"]
    assert "a" not in kernel.health().plugins
    with pytest.raises(PluginNotFound):
        await kernel.stop_plugin("a")

    again = FakePlugin("a", {Fact: None}, log=log)
    await kernel.start_plugin(again)
    await kernel.bus.publish(Fact(1))
    assert again.seen == [Fact(1)]
    assert kernel.plan(Fact).steps[-1].reason == "started while the kernel ran"
    with pytest.raises(DuplicatePlugin):
        await kernel.start_plugin(FakePlugin("a"))
    with pytest.raises(MissingPlugin):
        await kernel.start_plugin(FakePlugin("z", requires=("nobody",)))


async def test_a_plugin_that_cannot_be_started_later_leaves_nothing(kernel_factory):
    async def breaks(scope):
        scope.on(Fact, print)
        raise ZeroDivisionError("oh")

    kernel = await kernel_factory()
    with pytest.raises(HookError):
        await kernel.start_plugin(FakePlugin("bad", setup=breaks))

    assert kernel.hosts == ()
    assert "nobody listens" in str(kernel.plan(Fact))


async def test_a_plugin_cannot_stop_itself(kernel_factory):
    errors: list[Any] = []

    async def stops(event):
        try:
            await kernel.stop_plugin("p")
        except WouldDeadlock as error:
            errors.append(error)

    async def stops_in_background():
        await stops(None)

    plugin = FakePlugin("p", {Fact: stops})
    kernel = await kernel_factory(plugin)
    await kernel.bus.publish(Fact())
    await plugin.scope.start(stops_in_background)

    assert len(errors) == 2


async def test_a_cancelled_stop_of_a_plugin_goes_on(kernel_factory):
    log: list[Any] = []

    @asynccontextmanager
    async def slow():
        yield
        await asyncio.sleep(0.01)
        log.append("slow closed")

    async def enters(scope):
        await scope.enter(slow())

    kernel = await kernel_factory(FakePlugin("p", setup=enters, log=log))
    stopped = kernel.bus.wait_for(PluginStopped, timeout=120)
    task = asyncio.create_task(kernel.stop_plugin("p"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stopped

    assert "slow closed" in log
    assert kernel.hosts == ()


async def test_a_context_manager_can_be_entered_from_a_handler(kernel_factory):
    log: list[Any] = []

    @asynccontextmanager
    async def manager():
        async with anyio.create_task_group():
            log.append("in")
            yield 7
        log.append("out")

    async def enters(event):
        log.append(await plugin.scope.enter(manager()))

    plugin = FakePlugin("p", {Fact: enters})
    kernel = await kernel_factory(plugin)
    receipt = await kernel.bus.publish(Fact())
    assert not receipt.errors
    await kernel.stop_plugin("p")

    assert log == ["in", 7, "out"]


async def test_a_closed_scope_takes_nothing_more(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    await kernel.stop_plugin("p")

    with pytest.raises(BusClosed):
        plugin.scope.on(Fact, print)
    with pytest.raises(BusClosed):
        plugin.scope.start(forever)
    with pytest.raises(BusClosed):
        plugin.scope.stream(Tick)
    with pytest.raises(BusClosed):
        await plugin.scope.enter(anyio.create_task_group())


async def test_only_async_functions_are_started_and_only_managers_entered(kernel_factory):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)

    with pytest.raises(InvalidHandler, match="is not async"):
        plugin.scope.start(print)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="on_failure"):
        plugin.scope.start(forever, restart="always")  # type: ignore[arg-type]
    half: Any = type("Half", (), {"__enter__": lambda one: one})
    others: list[Any] = [3, half()]
    for other in others:
        with pytest.raises(TypeError, match="is no context manager"):
            await plugin.scope.enter(other)
    assert await plugin.scope.thread(sum, [1, 2]) == 3


async def test_on_closing_tasks_end_before_what_they_use():
    log: list[Any] = []

    @contextmanager
    def resource():
        yield
        log.append("resource closed")

    async def uses():
        try:
            await forever()
        finally:
            log.append("task ended")

    async def setup(scope):
        await scope.enter(resource())
        scope.start(uses)

    async with Kernel(plugins=[FakePlugin("p", setup=setup)]):
        await asyncio.sleep(0)

    assert log == ["task ended", "resource closed"]


# -- shutdown


async def test_readers_get_what_waits_before_the_plugins_close():
    got: list[Any] = []

    async def reads(stream):
        async for item in stream:
            await asyncio.sleep(0)
            got.append(item.number)
        await asyncio.sleep(0.005)
        got.append("written")

    async def setup(scope):
        scope.start(reads, scope.stream(Tick))

    async with Kernel(plugins=[FakePlugin("sink", setup=setup)]) as kernel:
        for number in range(20):
            await kernel.bus.emit(Tick(number))

    assert got == [*range(20), "written"]


async def test_while_it_stops_facts_still_flow_but_requests_are_refused():
    errors: list[Any] = []
    seen = FakePlugin("seen", {Fact: None})

    async def on_shutdown(event):
        await seen.scope.bus.publish(Fact(1))
        try:
            seen.scope.bus.decorate(None, print)  # type: ignore[arg-type]
        except BusClosed as error:
            errors.append(error)

    async with Kernel(plugins=[seen, FakePlugin("p", {Shutdown: on_shutdown})]):
        pass

    assert seen.seen == [Fact(1)]
    assert errors[0].state == "draining"


async def test_tasks_that_ask_for_it_are_given_time_to_finish():
    log: list[Any] = []

    async def drains(scope):
        await scope.wait_stopping()
        assert scope.stopping
        await asyncio.sleep(0.01)
        log.append("finished")

    async def setup(scope):
        scope.start(drains, scope, drain=True)

    async with Kernel(plugins=[FakePlugin("p", setup=setup)]):
        await asyncio.sleep(0)

    assert log == ["finished"]


async def stop_under(clock, kernel):
    """Leave a kernel while the clock runs; return how long it took and what it raised."""
    began = clock.monotonic_ns()
    task = asyncio.create_task(kernel.__aexit__(None, None, None))
    while not task.done():
        await clock.advance(0.25)
        assert clock.monotonic_ns() - began < 60e9
    return (clock.monotonic_ns() - began) / 1e9, task.exception()


async def hanging(*_):
    await forever()


@asynccontextmanager
async def hangs_on_exit():
    yield
    await forever()


async def test_every_phase_that_hangs_is_cut_and_all_of_it_stays_within_the_budget():
    clock = FakeClock()
    log: list[Any] = []

    async def drains_forever(scope):
        scope.start(forever, drain=True)

    async def never_reads(scope):
        stream = scope.stream(Tick, maxsize=10)

        async def once():
            await anext(stream)
            await forever()

        scope.start(once)

    async def enters(scope):
        await scope.enter(hangs_on_exit())

    kernel = Kernel(
        plugins=[
            FakePlugin("last", log=log),
            FakePlugin("drain", setup=drains_forever, log=log),
            FakePlugin("tell", {Shutdown: hanging}, log=log),
            FakePlugin("flush", setup=never_reads, log=log),
            FakePlugin("close", setup=enters, log=log),
        ],
        timers=clock,
    )
    await kernel.__aenter__()
    await asyncio.sleep(0)
    for number in range(5):
        await kernel.bus.emit(Tick(number))
    took_s, error = await stop_under(clock, kernel)

    assert 20 <= took_s <= 26
    assert log[-1] == "last: closed"
    assert isinstance(error, ExceptionGroup)
    assert {str(problem).split("'")[1] for problem in error.exceptions} == {"tell", "close"}
    assert all(isinstance(problem, HandlerTimeout) for problem in error.exceptions)


async def test_a_task_that_ignores_its_cancellation_is_left_behind_and_named():
    clock = FakeClock()
    free = asyncio.Event()

    async def ignores():
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    async def setup(scope):
        scope.start(ignores, name="rock")

    log: list[Any] = []
    kernel = Kernel(plugins=[*plugins("a", log), FakePlugin("b", setup=setup)], timers=clock)
    await kernel.__aenter__()
    await asyncio.sleep(0)
    took_s, error = await stop_under(clock, kernel)
    free.set()
    await asyncio.sleep(0)

    assert took_s <= 27
    assert log[-1] == "a: closed"
    assert any(isinstance(e, PluginStuck) and "rock" in str(e) for e in error.exceptions)


async def test_stop_cancels_the_block_and_the_cancellation_ends_with_it():
    log: list[Any] = []
    async with Kernel(plugins=plugins("a", log)) as kernel:
        stopping = kernel.stop("enough")
        kernel.stop("again")
        await forever()
    await stopping

    assert log[-1] == "a: closed"
    assert this_task().cancelling() == 0


async def test_the_reason_of_a_stop_is_told():
    seen = FakePlugin("seen", {KernelStopping: None, Shutdown: None})
    async with Kernel(plugins=[seen]) as kernel:
        asyncio.get_running_loop().call_soon(kernel.stop, "enough")
        await forever()

    assert [event.reason for event in seen.seen] == ["enough", "enough"]


async def test_an_outer_cancellation_is_not_swallowed_by_a_stop():
    async def run():
        async with Kernel() as kernel:
            asyncio.get_running_loop().call_soon(kernel.stop)
            asyncio.get_running_loop().call_soon(task.cancel)
            await forever()

    task = asyncio.create_task(run())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_kernel_is_used_once():
    kernel = Kernel()
    with pytest.raises(BusClosed):
        kernel.stop()
    async with kernel:
        with pytest.raises(BusClosed):
            await kernel.__aenter__()
    with pytest.raises(BusClosed):
        await kernel.__aenter__()


async def test_two_kernels_live_side_by_side(kernel_factory):
    one, two = FakePlugin("p", {Fact: None}), FakePlugin("p", {Fact: None})
    first, second = await kernel_factory(one), await kernel_factory(two)
    with record(second.bus) as recording:
        await first.bus.publish(Fact(1))
        await second.bus.publish(Fact(2))

    assert (one.seen, two.seen) == ([Fact(1)], [Fact(2)])
    assert len(recording.entries) == 1


async def test_health_asks_the_plugins_and_keeps_what_they_say(kernel_factory):
    clock = FakeClock()

    class Sick(FakePlugin):
        answer: tuple[bool, dict[str, int]] | None = (True, {"queue": 3})

        async def health(self):
            if self.answer is None:
                await forever()
            return self.answer

    sick = Sick("sick")
    kernel = await kernel_factory(sick, FakePlugin("silent"), timers=clock)
    await clock.advance(11)
    assert kernel.health().plugins["sick"].details == {"queue": 3}
    assert kernel.health().healthy

    sick.answer = (False, {})
    assert not (await kernel.check_health()).healthy
    assert kernel.health().plugins["sick"].state is PluginState.DEGRADED

    sick.answer = None
    await clock.advance(13)
    assert kernel.health().plugins["sick"].details == {"error": "no answer within 2 s"}
    assert not kernel.health().healthy


async def test_health_shows_what_handlers_and_mailboxes_did(kernel_factory):
    async def setup(scope):
        scope.stream(Tick, maxsize=1)

    kernel = await kernel_factory(FakePlugin("p", {Fact: None}, setup=setup))
    await kernel.bus.publish(Fact())
    for _ in range(3):
        await kernel.bus.emit(Tick())
    (handler,) = kernel.health().plugins["p"].handlers
    (stream,) = kernel.health().plugins["p"].streams

    assert (handler.event, handler.calls, handler.errors) == ("Fact", 1, 0)
    assert (stream.accepted, stream.dropped, stream.pending) == (3, 2, 1)


async def test_idle_waits_for_readers(kernel_factory):
    got: list[Any] = []

    async def reads(stream):
        async for item in stream:
            got.append(item)  # noqa: PERF401 - one by one, that is the point

    async def setup(scope):
        scope.start(reads, scope.stream(Tick))

    kernel = await kernel_factory(FakePlugin("p", setup=setup))
    await kernel.bus.emit(Tick(1))
    await idle(kernel.bus)

    assert got == [Tick(1)]


async def test_a_shutdown_handler_that_ignores_its_cancellation_is_left_behind_too():
    clock = FakeClock()
    free = asyncio.Event()
    log: list[Any] = []

    async def ignores(event):
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    other = FakePlugin("other", {Shutdown: None}, log=log)
    kernel = Kernel(plugins=[other, FakePlugin("rock", {Shutdown: ignores})], timers=clock)
    await kernel.__aenter__()
    took_s, error = await stop_under(clock, kernel)
    free.set()
    await asyncio.sleep(0)

    assert took_s < 26
    assert log[1:] == ["other: Shutdown", "other: closed"]
    assert [type(problem) for problem in error.exceptions] == [PluginStuck]
    assert "plugin 'rock'" in str(error.exceptions[0])


async def test_a_setup_that_ignores_its_cancellation_is_left_behind():
    clock = FakeClock()
    free = asyncio.Event()
    log: list[Any] = []

    async def ignores(scope):
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    kernel = Kernel(plugins=[*plugins("a", log), FakePlugin("rock", setup=ignores)], timers=clock)
    task = asyncio.create_task(kernel.__aenter__())
    while not task.done():
        await clock.advance(0.5)
        assert clock.monotonic_ns() < 70e9
    free.set()
    await asyncio.sleep(0.01)

    assert isinstance(task.exception(), HookError)
    assert "ignores its cancellation" in str(task.exception())
    assert log == ["a: setup", "a: closed"]


async def test_the_mailboxes_of_a_plugin_whose_reader_died_release_publishers_at_once(
    kernel_factory,
):
    async def reads(stream):
        await anext(stream)
        raise ZeroDivisionError("oh")

    async def setup(scope):
        scope.start(reads, scope.stream(Tick, maxsize=1, overflow="block"))

    release = asyncio.Event()

    async def slow(event):
        await release.wait()

    kernel = await kernel_factory(
        FakePlugin("p", setup=setup),
        FakePlugin("slow", {PluginFailed: slow}),
        timers=FakeClock(),  # so no patience ends the wait
    )
    async with asyncio.timeout(120):
        for number in range(10):
            await kernel.bus.emit(Tick(number))
            await asyncio.sleep(0)
    release.set()


async def test_cancelled_before_a_setup_has_begun_it_ends_at_once():
    kernel = Kernel(plugins=[FakePlugin("p")], timers=FakeClock())
    task = asyncio.create_task(kernel.__aenter__())
    for _ in range(2):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert leaks(kernel) == []
