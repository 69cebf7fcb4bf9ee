"""What a block raises when it is stopped, and what is told of the reason."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from runbus.errors import HookError, PluginCrashed, WouldDeadlock
from runbus.events import KernelStopping, PluginFailed
from runbus.kernel import Kernel
from runbus.testing import FakePlugin


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
    with pytest.raises(KeyError, match="own"):
        async with Kernel() as kernel:
            kernel.stop()
            raise KeyError("own")

    assert cancelling() == 0
    await asyncio.sleep(0)


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
    async with Kernel() as kernel:
        with pytest.raises(WouldDeadlock):
            await kernel.stop()
        await forever()

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
    for task in ours:  # as `asyncio.run` does
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
