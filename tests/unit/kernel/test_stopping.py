"""What a block raises when it is stopped, and what is told of the reason."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from runbus.errors import BusClosed, HookError, PluginCrashed, WouldDeadlock
from runbus.events import KernelStopping, Notify, PluginFailed
from runbus.kernel import Kernel
from runbus.testing import FakePlugin


class Fact(Notify, frozen=True):
    pass


STOPPED = "while the kernel stopped"


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@contextmanager
def breaks_on_exit():
    yield
    raise OSError("cannot close")


async def enters(scope: Any) -> None:
    await scope.enter(breaks_on_exit())


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


# -- what is raised


async def test_a_block_that_stops_the_kernel_and_ends_at_once_ends_as_if_it_had_waited():
    async with Kernel() as kernel:
        kernel.stop()

    assert cancelling() == 0
    await asyncio.sleep(0)  # which a cancellation that was left would end


async def test_a_block_that_stops_the_kernel_and_fails_at_once_raises_its_error():
    async def run():
        async with Kernel() as kernel:
            kernel.stop()
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await run()

    assert cancelling() == 0
    await asyncio.sleep(0)


async def test_a_block_that_is_cancelled_and_stopped_as_it_ends_stays_cancelled():
    async def run():
        async with Kernel() as kernel:
            kernel.stop()
            task.cancel()

    task = asyncio.create_task(run())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_start_that_is_cancelled_and_stopped_stays_cancelled():
    async def stops(scope):
        kernel.stop()
        task.cancel()
        await forever()

    kernel = Kernel(plugins=[FakePlugin("p", setup=stops)])
    task = asyncio.create_task(kernel.__aenter__())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_start_that_is_stopped_says_that_the_kernel_is_closed():
    async def stops(scope):
        kernel.stop()
        await forever()

    kernel = Kernel(plugins=[FakePlugin("p", setup=stops)])
    with pytest.raises(BusClosed) as caught:
        await kernel.__aenter__()
    with pytest.raises(BusClosed) as again:
        await kernel.__aenter__()

    for error in (caught.value, again.value):
        assert (error.verb, error.state) == ("__aenter__", "closed")


async def test_a_critical_plugin_that_fails_at_what_a_thread_publishes_ends_the_block():
    async def fails(event):
        raise ZeroDivisionError("oh")

    async def run():
        async with Kernel(plugins=[FakePlugin("vital", {Fact: fails}, critical=True)]) as kernel:
            await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
            await forever()

    with pytest.raises(HookError, match="plugin 'vital'"):
        await run()


async def test_a_cancellation_while_the_kernel_stops_carries_what_went_wrong_as_notes():
    closing = asyncio.Event()

    @asynccontextmanager
    async def slow():
        yield
        closing.set()
        await turns()

    async def enters_both(scope):
        await enters(scope)
        await scope.enter(slow())

    async def run():
        async with Kernel(plugins=[FakePlugin("p", setup=enters_both)]):
            pass

    task = asyncio.create_task(run())
    await closing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task

    (note,) = caught.value.__notes__
    assert note.startswith(
        "while the kernel stopped: HookError: plugin 'p': close of breaks_on_exit"
    )


async def test_a_failed_start_carries_what_the_others_could_not_close_as_notes():
    async def fails(scope):
        raise ZeroDivisionError("oh")

    kernel = Kernel(plugins=[FakePlugin("a", setup=enters), FakePlugin("bad", setup=fails)])
    with pytest.raises(HookError, match="plugin 'bad'") as caught:
        await kernel.__aenter__()

    (note,) = caught.value.__notes__
    assert note.startswith(
        "while the kernel stopped: HookError: plugin 'a': close of breaks_on_exit"
    )


async def test_a_block_is_cancelled_once_however_often_it_is_asked_to_stop():
    log: list[str] = []
    async with Kernel() as kernel:
        kernel.stop()
        try:
            await forever()
        finally:
            kernel.stop("again")
            await turns()
            log.append("cleaned up")

    assert log == ["cleaned up"]


async def test_the_block_itself_cannot_wait_for_the_end_of_the_kernel():
    refused: list[WouldDeadlock] = []
    async with Kernel() as kernel:
        try:
            await kernel.stop()
        except WouldDeadlock as error:
            refused.append(error)
        await forever()

    assert len(refused) == 1
    await kernel.stop()  # after its end there is nothing to wait for


# -- what is told


async def reason_told(kernel: Kernel, listener: FakePlugin) -> str:
    await kernel.__aexit__(None, None, None)
    (event,) = listener.seen
    return str(event.reason)


async def test_the_reason_is_told_where_the_block_does_not_run_in_a_task_of_its_own():
    listener = FakePlugin("heard", {KernelStopping: None})
    kernel = Kernel(plugins=[listener])
    await asyncio.create_task(kernel.__aenter__())
    await kernel.stop("enough")

    assert await reason_told(kernel, listener) == "enough"


@pytest.mark.parametrize("reason", ["", "enough"])
async def test_the_failure_of_a_critical_plugin_is_the_reason_if_there_was_none(reason):
    go = asyncio.Event()

    async def dies():
        await go.wait()
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(dies, name="pump")

    listener = FakePlugin("heard", {KernelStopping: None})

    async def run():
        plugins = [listener, FakePlugin("vital", setup=starts, critical=True)]
        async with Kernel(plugins=plugins) as kernel:
            go.set()
            if reason:
                kernel.stop(reason)
            try:
                await forever()
            finally:
                await turns()

    with pytest.raises(PluginCrashed):
        await run()
    (event,) = listener.seen
    crash = "PluginCrashed: plugin 'vital': its task pump died: ZeroDivisionError: oh"
    assert event.reason == (reason or crash)


async def test_an_event_loop_that_ends_ends_the_kernel_in_order_and_no_plugin_has_failed():
    log: list[str] = []
    listener = FakePlugin("heard", {KernelStopping: None, PluginFailed: None}, log=log)
    kernel = Kernel(plugins=[listener, FakePlugin("p", log=log)])
    before = asyncio.all_tasks()
    await asyncio.create_task(kernel.__aenter__())
    ours = asyncio.all_tasks() - before
    # As `asyncio.run` does it, and it begins with any of them.
    for task in sorted(ours, key=lambda one: ("plugin" not in one.get_name(), one.get_name())):
        task.cancel()
    await asyncio.wait(ours)

    assert listener.seen[0].reason == ""
    assert log == [
        "heard: setup",
        "p: setup",
        "heard: KernelStopping",
        "p: closed",
        "heard: closed",
    ]
    await kernel.__aexit__(None, None, None)
