"""Real signals to this very process: what the first ends in order, the second cuts short.

Without an stderr there is no watchdog, whose two seconds are not those of a fake clock.
"""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from runbus.errors import HandlerTimeout
from runbus.events import KernelStopping, Shutdown
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, leaks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(autouse=True)
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def never_left():
    yield
    await forever()


async def enters(scope: Any) -> None:
    await scope.enter(never_left())


class Unusable:
    def fileno(self) -> int:
        raise OSError("gone")


def closed_file() -> Any:
    with open(os.devnull) as file:
        return file


def send(number: int) -> None:
    os.kill(os.getpid(), number)


async def status_of(kernel: Kernel, block: Callable[[], Awaitable[object]]) -> object:
    """Run a kernel around a block; return the status that it ends the program with.

    Where closing failed, that is what is raised; then return of which plugins.
    """
    try:
        async with kernel:
            await block()
    except SystemExit as ended:
        return ended.code
    except BaseExceptionGroup as trouble:
        return [error.plugin for error in trouble.exceptions if isinstance(error, HandlerTimeout)]
    return "it goes on"


async def run_until_done(clock: FakeClock, running: asyncio.Task[Any]) -> float:
    """Move the time on until a task is done; return for how long, in seconds."""
    began_ns = clock.monotonic_ns()
    while not running.done():
        await clock.advance(0.1)
        assert clock.monotonic_ns() - began_ns < 60e9
    return (clock.monotonic_ns() - began_ns) / 1e9


async def test_the_second_signal_cuts_the_phases_short_and_leaves_the_closing_two_seconds():
    clock = FakeClock()
    told = asyncio.Event()
    log: list[str] = []

    async def hangs(event):
        told.set()
        await forever()

    plugins = [
        FakePlugin("a", {Shutdown: None}, log=log),
        FakePlugin("b", {Shutdown: hangs}, setup=enters, log=log),
    ]
    kernel = Kernel(plugins=plugins, timers=clock, signals=True, shutdown_budget_s=1000)

    async def block():
        send(signal.SIGTERM)
        await forever()

    running = asyncio.create_task(status_of(kernel, block))
    await told.wait()
    await clock.advance(50)
    assert log == ["a: setup", "b: setup"]
    send(signal.SIGINT)
    took_s = await run_until_done(clock, running)

    assert took_s < 3
    assert log == ["a: setup", "b: setup", "b: closed", "a: closed"]
    assert await running == ["b"]
    assert kernel.exit_status == 128 + signal.SIGTERM
    assert leaks(kernel) == []


async def test_the_second_signal_cuts_short_what_is_being_closed_already():
    clock = FakeClock()
    closing = asyncio.Event()
    log: list[str] = []

    @asynccontextmanager
    async def slow():
        yield
        closing.set()
        await forever()

    async def enters_slow(scope):
        await scope.enter(slow())

    plugins = [FakePlugin("a", log=log), FakePlugin("b", setup=enters_slow, log=log)]
    kernel = Kernel(plugins=plugins, timers=clock, signals=True, shutdown_budget_s=1000)

    async def block():
        send(signal.SIGINT)
        await forever()

    running = asyncio.create_task(status_of(kernel, block))
    await closing.wait()
    await clock.advance(50)
    assert log == ["a: setup", "b: setup"]
    send(signal.SIGINT)
    took_s = await run_until_done(clock, running)

    assert took_s < 3
    assert log == ["a: setup", "b: setup", "b: closed", "a: closed"]
    assert await running == ["b"]
    assert kernel.exit_status == 128 + signal.SIGINT


async def test_the_second_signal_ends_a_block_that_ignored_the_first_and_tells_nobody():
    clock = FakeClock()
    log: list[str] = []
    ignored = asyncio.Event()
    plugins = [
        FakePlugin("a", {KernelStopping: None, Shutdown: None}, log=log),
        FakePlugin("b", setup=enters, log=log),
    ]
    kernel = Kernel(plugins=plugins, timers=clock, signals=True, shutdown_budget_s=1000)

    async def block():
        send(signal.SIGTERM)
        try:
            await forever()
        except asyncio.CancelledError:
            ignored.set()
        await forever()

    running = asyncio.create_task(status_of(kernel, block))
    await ignored.wait()
    await clock.advance(50)
    assert not running.done()
    send(signal.SIGTERM)
    took_s = await run_until_done(clock, running)

    assert took_s < 3
    assert log == ["a: setup", "b: setup", "b: closed", "a: closed"]
    assert await running == ["b"]
    assert kernel.exit_status == 128 + signal.SIGTERM


async def test_a_signal_while_the_plugins_are_set_up_ends_the_program_with_its_status():
    log: list[str] = []

    async def interrupted(scope):
        send(signal.SIGTERM)
        await forever()

    async def block():
        pytest.fail("the block must not run")

    plugins = [FakePlugin("a", log=log), FakePlugin("b", setup=interrupted, log=log)]
    kernel = Kernel(plugins=plugins, signals=True, shutdown_budget_s=1000)
    status = await status_of(kernel, block)

    assert status == 128 + signal.SIGTERM
    assert log == ["a: setup", "b: setup", "b: closed", "a: closed"]


async def test_a_reason_that_was_given_is_kept_when_a_signal_comes():
    listener = FakePlugin("heard", {KernelStopping: None})
    kernel = Kernel(plugins=[listener], signals=True, shutdown_budget_s=1000)

    async def block():
        kernel.stop("enough")
        send(signal.SIGTERM)
        await forever()

    assert await status_of(kernel, block) == 128 + signal.SIGTERM
    assert [event.reason for event in listener.seen] == ["enough"]


async def test_without_a_signal_the_program_goes_on_and_exits_well():
    kernel = Kernel(signals=True)

    async def block():
        assert kernel.exit_status == 0

    assert await status_of(kernel, block) == "it goes on"
    assert kernel.exit_status == 0


@pytest.mark.parametrize(
    "stderr",
    [None, io.StringIO(), closed_file(), object(), Unusable()],
    ids=["none", "text", "closed", "odd", "unusable"],
)
async def test_an_stderr_that_takes_no_stacks_costs_the_watchdog_only(monkeypatch, stderr):
    monkeypatch.setattr(sys, "__stderr__", stderr)

    async def block():
        send(signal.SIGTERM)
        await forever()

    assert await status_of(Kernel(signals=True), block) == 128 + signal.SIGTERM


async def test_a_handler_that_came_meanwhile_is_not_replaced():
    def theirs(number, frame):
        pass

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with Kernel(signals=True):
        signal.signal(signal.SIGTERM, theirs)
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before[1])

    assert after == (before[0], theirs)


def test_a_signal_after_the_event_loop_was_closed_asks_nobody():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    loop = asyncio.new_event_loop()
    kernel = Kernel(signals=True)
    try:
        loop.run_until_complete(kernel.__aenter__())
        loop.set_exception_handler(lambda loop, context: None)
        loop.close()
        send(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])

    assert kernel.exit_status == 128 + signal.SIGTERM


async def test_a_kernel_that_is_not_asked_for_signals_takes_none():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with Kernel():
        within = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    assert within == before
