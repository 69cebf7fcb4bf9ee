"""Every clean-up is tried, whatever the others raise; whose cancellation it is; exits pass."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import anyio
import pytest

from runbus.abc import PluginState
from runbus.errors import BusClosed, HookError, PluginCrashed, PluginNotFound, WouldDeadlock
from runbus.events import (
    KernelStopping,
    Notify,
    PluginFailed,
    PluginStopped,
    Shutdown,
    Stream,
)
from runbus.kernel import Kernel
from runbus.testing import FakePlugin, assert_no_leaks, leaks


class Fact(Notify, frozen=True):
    number: int = 0


class Item(Stream, frozen=True):
    pass


class Odd(BaseException):
    """No Exception, as what pytest.fail() raises is none."""


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError("no text")


def this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def forever(*_):
    await asyncio.Event().wait()


async def leave_a_cancellation_count_behind():
    """Handle the failure of a task group, after which CPython counts one cancellation too many."""

    async def fails():
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
    except* ValueError:
        pass


@contextmanager
def raising_on_exit(error, log, label):
    yield
    log.append(label)
    raise error


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), Odd("x"), Mute(), asyncio.CancelledError("x"), SystemExit(3)],
    ids=lambda error: type(error).__name__,
)
async def test_what_one_closing_raises_keeps_no_other_from_being_closed(error):
    log: list[Any] = []

    async def enters(scope):
        await scope.enter(raising_on_exit(OSError("later"), log, "outer"))
        await scope.enter(raising_on_exit(error, log, "inner"))

    plugins = [FakePlugin("a", log=log), FakePlugin("b", setup=enters)]
    with pytest.raises((BaseExceptionGroup, SystemExit)) as caught:
        async with Kernel(plugins=plugins) as kernel:
            pass

    assert log == ["a: setup", "inner", "outer", "a: closed"]
    assert_no_leaks(kernel)
    if isinstance(error, SystemExit):
        assert caught.value is error
        assert "later" in "".join(caught.value.__notes__)
    else:
        assert isinstance(caught.value, ExceptionGroup)
        first, second = caught.value.exceptions
        assert first.__cause__ is error
        assert "later" in str(second)


async def test_what_cannot_be_left_is_named_with_what_it_raised():
    class Breaks:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise ValueError("x")

    @asynccontextmanager
    async def stray():
        yield
        raise asyncio.CancelledError

    async def enters(scope):
        own, other = (HookError(name, "client", "", "went away") for name in ("p", "q"))
        await scope.enter(raising_on_exit(own, [], "own"))
        await scope.enter(raising_on_exit(other, [], "other"))
        await scope.enter(stray())
        stack = await scope.enter(ExitStack())
        stack.callback(lambda: dict[str, int]()["nothing"])
        await scope.enter(Breaks())

    with pytest.raises(ExceptionGroup) as caught:
        async with Kernel(plugins=[FakePlugin("p", setup=enters)]):
            pass

    told = [str(one).replace("<locals>.", "") for one in caught.value.exceptions]
    here = "test_what_cannot_be_left_is_named_with_what_it_raised."
    assert told == [
        f"plugin 'p': close of {here}Breaks raised ValueError: x",
        "plugin 'p': close of ExitStack raised KeyError: 'nothing'",
        f"plugin 'p': close of {here}stray was cancelled",
        "plugin 'p': close of raising_on_exit raised HookError: plugin 'q': client went away",
        "plugin 'p': client went away",
    ]


@pytest.mark.parametrize("error", [Odd("x"), Mute(), SystemExit(3)], ids=lambda e: type(e).__name__)
async def test_a_set_up_that_raises_anything_is_rolled_back(error):
    log: list[Any] = []

    async def breaks(scope):
        raise error

    kernel = Kernel(plugins=[FakePlugin("a", log=log), FakePlugin("b", setup=breaks, log=log)])
    with pytest.raises(HookError) as caught:
        await kernel.__aenter__()

    assert log == ["a: setup", "b: setup", "b: closed", "a: closed"]
    assert caught.value.__cause__ is error
    assert leaks(kernel) == []


async def test_a_background_task_that_dies_of_anything_has_failed():
    async def dies():
        raise Odd("x")

    async def starts(scope):
        scope.start(dies, restart="on_failure")

    async with Kernel(plugins=[FakePlugin("p", setup=starts)]) as kernel:
        event = await kernel.bus.wait_for(PluginFailed, timeout=120, since=0)
        assert event.error == "Odd: x"
        assert kernel.health().plugins["p"].state is PluginState.FAILED


async def test_an_exit_of_a_background_task_ends_the_block_in_order():
    log: list[Any] = []

    go = asyncio.Event()

    async def exits():
        await go.wait()
        raise SystemExit(7)

    async def starts(scope):
        scope.start(exits)

    async def run():
        plugin = FakePlugin("p", {Shutdown: None}, setup=starts, log=log)
        async with Kernel(plugins=[plugin]):
            go.set()
            await forever()

    with pytest.raises(SystemExit) as caught:
        await run()

    assert caught.value.code == 7
    assert log == ["p: setup", "p: Shutdown", "p: closed"]
    assert this_task().cancelling() == 0


def test_an_exit_in_a_task_that_nobody_awaits_lets_every_plugin_be_told_and_closed():
    code = """
        import asyncio
        from runbus import Kernel
        from runbus.events import Notify, Shutdown
        from runbus.testing import FakePlugin

        class Fact(Notify, frozen=True):
            pass

        def exits(event):
            raise SystemExit(7)

        log = []

        async def main():
            plugins = [FakePlugin(name, {Shutdown: None}, log=log) for name in "ab"]
            async with Kernel(plugins=plugins) as kernel:
                kernel.bus.on(Fact, exits)
                task = asyncio.create_task(kernel.bus.publish(Fact()))
                await asyncio.Event().wait()

        try:
            asyncio.run(main())
        finally:
            print(*log, sep=", ")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )

    told_and_closed = "b: Shutdown, a: Shutdown, b: closed, a: closed\n"
    assert done.stdout == f"a: setup, b: setup, {told_and_closed}"
    assert done.returncode == 7


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_program_may_ask_that_an_exit_of_a_handler_is_a_failure_like_others(is_async):
    class Told(Notify, frozen=True):
        pass

    async def waits(event):
        raise SystemExit(9)

    def exits(event):
        raise SystemExit(9)

    log: list[Any] = []
    handler = waits if is_async else exits
    plugins = [FakePlugin("a", {Told: handler}), FakePlugin("b", {Told: None}, log=log)]
    async with Kernel(plugins=plugins, contain_exits=True) as kernel:
        (failure,) = (await kernel.bus.publish(Told())).errors
    assert isinstance(failure, HookError)
    assert failure.problem == "raised SystemExit: 9"
    assert "b: Told" in log


# -- whose cancellation it is


async def test_a_stop_ends_in_the_block_even_if_a_task_group_left_a_count_behind():
    async with Kernel() as kernel:
        await leave_a_cancellation_count_behind()
        kernel.stop()
        await forever()


async def test_a_critical_crash_arrives_as_itself_even_if_a_task_group_left_a_count_behind():
    async def dies(go):
        await go.wait()
        raise ZeroDivisionError("oh")

    go = asyncio.Event()

    async def starts(scope):
        scope.start(dies, go)

    async def run():
        async with Kernel(plugins=[FakePlugin("vital", critical=True, setup=starts)]):
            await leave_a_cancellation_count_behind()
            go.set()
            await forever()

    with pytest.raises(PluginCrashed):
        await run()


@pytest.mark.parametrize("first", ["stop", "cancel"])
@pytest.mark.parametrize("counted", [False, True])
async def test_an_outer_cancellation_is_kept_before_and_after_a_stop(first, counted):
    async def run():
        async with Kernel() as kernel:
            if counted:
                await leave_a_cancellation_count_behind()
            calls = [kernel.stop, task.cancel]
            for call in calls if first == "stop" else reversed(calls):
                asyncio.get_running_loop().call_soon(call)
            await forever()

    task = asyncio.create_task(run())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_outer_cancellation_that_the_block_does_not_know_yet_is_kept():
    loop = asyncio.get_running_loop()

    async def run():
        async with Kernel() as kernel:
            ready = loop.create_future()

            def wake_then_cancel_then_stop():
                ready.set_result(None)
                task.cancel()
                kernel.stop()

            loop.call_soon(wake_then_cancel_then_stop)
            await ready
            await forever()

    task = asyncio.create_task(run())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_in_the_clean_up_of_a_cancelled_block_does_not_swallow_the_cancellation():
    reached = asyncio.Event()

    async def run():
        async with Kernel() as kernel:
            try:
                reached.set()
                await forever()
            finally:
                kernel.stop()

    task = asyncio.create_task(run())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_scope_round_the_block_that_is_cancelled_with_a_stop_ends_at_its_end():
    with anyio.CancelScope() as scope:
        async with Kernel() as kernel:
            kernel.stop()
            scope.cancel()
            await forever()

    assert scope.cancelled_caught
    assert this_task().cancelling() == 0


async def test_a_set_up_that_raises_cancelled_error_by_itself_has_failed():
    async def raises(scope):
        await leave_a_cancellation_count_behind()
        raise asyncio.CancelledError

    with pytest.raises(HookError, match="raised CancelledError by itself"):
        await Kernel(plugins=[FakePlugin("p", setup=raises)]).__aenter__()


async def test_a_set_up_that_its_own_task_group_cancels_has_failed():
    async def dies():
        raise ZeroDivisionError("oh")

    async def opens(scope):
        group = await scope.enter(anyio.create_task_group())
        group.start_soon(dies)
        await forever()

    with pytest.raises(HookError, match="plugin 'p': setup"):
        await Kernel(plugins=[FakePlugin("p", setup=opens)]).__aenter__()


async def test_a_task_that_raises_cancelled_error_by_itself_starts_again(kernel_factory):
    tries: list[int] = []
    done = asyncio.Event()

    async def works():
        tries.append(1)
        if len(tries) == 1:
            await leave_a_cancellation_count_behind()
            raise ValueError
        if len(tries) == 2:
            stray: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            stray.cancel()
            await stray
        done.set()

    async def starts(scope):
        scope.start(works, restart="on_failure")

    await kernel_factory(FakePlugin("p", setup=starts))
    await asyncio.wait_for(done.wait(), 120)

    assert len(tries) == 3


@pytest.mark.parametrize("critical", [False, True])
async def test_a_task_that_goes_on_until_it_is_refused_has_not_crashed(caplog, critical):
    async def publishes_on(scope):
        async def go_on():
            while True:
                await scope.bus.emit(Item())
                await asyncio.sleep(0)

        scope.start(go_on, restart="on_failure")

    async def leaves_late(scope):
        @asynccontextmanager
        async def held():
            yield
            for _ in range(20):
                await asyncio.sleep(0)

        await scope.enter(held())

    first = FakePlugin("first", setup=publishes_on, critical=critical)
    async with Kernel(plugins=[first, FakePlugin("last", setup=leaves_late)]):
        await asyncio.sleep(0)

    # That the machine stood still for a second is told, too.
    assert [text for text in caplog.messages if "has blocked the event loop" not in text] == []


async def test_a_task_that_is_refused_while_nothing_stops_has_crashed(kernel_factory):
    async def opens_again(scope):
        async with scope.stream(Item) as stream:
            pass
        scope.start(stream.__aenter__)

    kernel = await kernel_factory(FakePlugin("p", setup=opens_again))
    failed = await kernel.bus.wait_for(PluginFailed, timeout=120, since=0)

    assert "BusClosed" in failed.error


# -- entering from elsewhere


async def test_what_is_not_entered_before_the_end_is_refused_and_its_asker_has_not_crashed(caplog):
    begun, refusals = asyncio.Event(), []

    @asynccontextmanager
    async def slow():
        begun.set()
        await forever()
        yield

    async def asks(scope):
        for name in ("is being entered", "waits"):
            scope.start(ask, scope, name)

    async def ask(scope, name):
        try:
            await scope.enter(slow())
        except BusClosed as error:
            refusals.append((name, error.verb, error.state))
            raise

    async with Kernel(plugins=[FakePlugin("p", setup=asks, critical=True)]):
        await begun.wait()

    assert [text for text in caplog.messages if "has blocked the event loop" not in text] == []
    assert refusals[0] == ("is being entered", "enter", "closed")
    assert {one[1:] for one in refusals} == {("enter", "closed")}


async def test_what_is_cancelled_before_it_was_entered_is_never_entered(kernel_factory):
    log: list[str] = []
    first_in, go = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow():
        first_in.set()
        await go.wait()
        log.append("slow")
        yield
        log.append("slow left")

    @asynccontextmanager
    async def second():
        log.append("second")
        yield

    @asynccontextmanager
    async def third():
        log.append("third")
        yield

    plugin = FakePlugin("p")
    await kernel_factory(plugin)
    holds = asyncio.create_task(plugin.scope.enter(slow()))
    await first_in.wait()
    waits = asyncio.create_task(plugin.scope.enter(second()))
    await asyncio.sleep(0)
    comes_after = asyncio.create_task(plugin.scope.enter(third()))
    await asyncio.sleep(0)
    waits.cancel()
    go.set()
    await holds
    with pytest.raises(asyncio.CancelledError):
        await waits
    async with asyncio.timeout(120):
        await comes_after

    assert log == ["slow", "third"]


@pytest.mark.parametrize("swallows", [False, True])
async def test_what_is_cancelled_while_it_is_entered_is_not_kept(kernel_factory, swallows):
    log: list[str] = []
    begun, left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow():
        begun.set()
        try:
            await forever()
        except asyncio.CancelledError:
            log.append("cancelled")
            if not swallows:
                raise
        yield
        log.append("left")
        left.set()

    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    entering = asyncio.create_task(plugin.scope.enter(slow()))
    await begun.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    if swallows:
        async with asyncio.timeout(120):
            await left.wait()

    assert log == (["cancelled", "left"] if swallows else ["cancelled"])
    assert kernel.health().plugins["p"].state is PluginState.STARTED
    async with asyncio.timeout(120):
        await plugin.scope.enter(anyio.create_task_group())


async def test_what_was_entered_for_nobody_and_fails_to_be_left_is_told(kernel_factory, caplog):
    begun = asyncio.Event()

    @asynccontextmanager
    async def slow():
        begun.set()
        with suppress(asyncio.CancelledError):
            await forever()
        yield
        raise ZeroDivisionError("oh")

    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    entering = asyncio.create_task(plugin.scope.enter(slow()))
    await begun.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    async with asyncio.timeout(120):
        await plugin.scope.enter(anyio.create_task_group())

    assert ".slow raised ZeroDivisionError: oh" in caplog.text
    assert kernel.health().plugins["p"].state is PluginState.STARTED


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (Odd("x"), Odd, "x"),
        (StopIteration(3), RuntimeError, "coroutine raised StopIteration"),
        (
            asyncio.CancelledError(),
            HookError,
            r"plugin 'p': enter of .*Breaks raised CancelledError by itself",
        ),
    ],
    ids=["odd", "stop", "cancelled"],
)
async def test_what_cannot_be_entered_tells_who_asked_and_the_plugin_goes_on(
    kernel_factory, raised, kind, said
):
    class Breaks:
        def __enter__(self) -> None:
            raise raised

        def __exit__(self, *_: object) -> None:
            pytest.fail("it was not entered")

    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    with pytest.raises(kind, match=said):
        await plugin.scope.enter(Breaks())

    assert kernel.health().plugins["p"].state is PluginState.STARTED
    async with asyncio.timeout(120):
        await plugin.scope.enter(anyio.create_task_group())


# -- starting and stopping while others do


async def test_of_two_that_start_at_once_the_failing_one_takes_only_itself_away(kernel_factory):
    log: list[Any] = []

    async def slow_bad(scope):
        await asyncio.sleep(0.01)
        raise ValueError("oh")

    kernel = await kernel_factory()
    results = await asyncio.gather(
        kernel.start_plugin(FakePlugin("bad", setup=slow_bad)),
        kernel.start_plugin(FakePlugin("good", {Fact: None}, log=log)),
        return_exceptions=True,
    )

    assert isinstance(results[0], HookError)
    assert results[1] is None
    assert [host.name for host in kernel.hosts] == ["good"]
    await kernel.stop_plugin("good")
    assert log == ["good: setup", "good: closed"]


async def test_a_plugin_that_two_stop_at_once_is_stopped_once(kernel_factory):
    heard = FakePlugin("heard", {PluginStopped: None})

    @asynccontextmanager
    async def slow():
        yield
        await asyncio.sleep(0.01)

    async def enters(scope):
        await scope.enter(slow())

    kernel = await kernel_factory(heard, FakePlugin("p", setup=enters))
    await asyncio.gather(kernel.stop_plugin("p"), kernel.stop_plugin("p"))

    assert [event.plugin for event in heard.seen] == ["p"]
    with pytest.raises(PluginNotFound):
        await kernel.stop_plugin("p")


async def test_a_plugin_is_not_stopped_by_its_own_set_up(kernel_factory):
    errors: list[BaseException] = []

    async def stops(scope):
        try:
            await kernel.stop_plugin("p")
        except WouldDeadlock as error:
            errors.append(error)

    kernel = await kernel_factory()
    await kernel.start_plugin(FakePlugin("p", setup=stops))

    assert len(errors) == 1


async def test_a_start_that_is_under_way_is_called_off_by_the_shutdown():
    log: list[Any] = []
    reached = asyncio.Event()

    async def slow(scope):
        reached.set()
        await forever()

    async with Kernel() as kernel:
        starting = asyncio.create_task(kernel.start_plugin(FakePlugin("slow", setup=slow, log=log)))
        await reached.wait()
    with pytest.raises(HookError, match="was called off"):
        await starting

    assert log == ["slow: setup", "slow: closed"]
    assert leaks(kernel) == []


async def test_a_plugin_that_is_stopped_while_it_starts_is_called_off(kernel_factory):
    reached = asyncio.Event()

    async def slow(scope):
        reached.set()
        await forever()

    kernel = await kernel_factory()
    starting = asyncio.create_task(kernel.start_plugin(FakePlugin("slow", setup=slow)))
    await reached.wait()
    async with asyncio.timeout(120):
        await kernel.stop_plugin("slow")
    with pytest.raises(HookError, match="was called off"):
        await starting

    assert kernel.hosts == ()


async def test_who_requires_a_plugin_that_still_starts_waits_for_it(kernel_factory):
    log: list[Any] = []
    go = asyncio.Event()

    async def slow(scope):
        await go.wait()
        log.append("base is ready")

    kernel = await kernel_factory()
    base = asyncio.create_task(kernel.start_plugin(FakePlugin("base", setup=slow)))
    await asyncio.sleep(0)
    on = asyncio.create_task(kernel.start_plugin(FakePlugin("on", requires=("base",), log=log)))
    await asyncio.sleep(0.01)
    go.set()
    await asyncio.gather(base, on)

    assert log == ["base is ready", "on: setup"]


async def test_the_end_of_the_kernel_cannot_be_awaited_by_whom_it_waits_for():
    errors: list[BaseException] = []

    async def stops(event):
        try:
            await kernel.stop()
        except WouldDeadlock as error:
            errors.append(error)

    async with Kernel(plugins=[FakePlugin("p", {KernelStopping: stops})]) as kernel:
        pass

    assert len(errors) == 1
    await kernel.stop()
