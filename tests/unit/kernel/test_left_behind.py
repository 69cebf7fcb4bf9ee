"""What fails or hangs while it is set up is closed in its time, or left behind and named."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager

import pytest

from runbus.abc import PluginState
from runbus.errors import HandlerTimeout, HookError, MissingPlugin, PluginStuck
from runbus.events import PluginStarted
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, idle


class Rock:
    """Ignores every cancellation until it is freed."""

    def __init__(self) -> None:
        self.free = asyncio.Event()

    async def stay(self, *_: object) -> None:
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                continue

    @asynccontextmanager
    async def at_its_end(self):
        yield
        await self.stay()


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


async def ended(kernel: Kernel) -> None:
    """Wait until those that were left behind have come to their senses."""
    await asyncio.wait([host.task for host in kernel.hosts if host.task is not None])


def left_behind(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "was left behind" in text]


HERE = "Rock.at_its_end"


async def test_a_set_up_that_fails_is_told_even_if_what_it_made_is_left_behind(caplog):
    clock, rock = FakeClock(), Rock()

    async def fails(scope):
        await scope.enter(rock.at_its_end())
        raise ZeroDivisionError("oh")

    kernel = Kernel(plugins=[FakePlugin("p", setup=fails)], timers=clock, setup_timeout_s=3)
    entering = asyncio.create_task(kernel.__aenter__())
    await clock.advance(60)
    rock.free.set()

    with pytest.raises(HookError, match="plugin 'p': setup raised ZeroDivisionError: oh"):
        await entering
    assert left_behind(caplog) == [f"plugin 'p' was left behind: closing {HERE} after 3 s"]


async def test_what_a_failed_set_up_made_has_the_time_of_a_set_up_to_close(kernel_factory):
    clock = FakeClock()
    log: list[str] = []

    @asynccontextmanager
    async def slow():
        yield
        closed = asyncio.Event()
        clock.call_later(4, closed.set)
        await closed.wait()
        log.append("slow: closed")

    async def fails(scope):
        await scope.enter(slow())
        raise ZeroDivisionError("oh")

    kernel = await kernel_factory(timers=clock, setup_timeout_s=10)
    starting = asyncio.create_task(kernel.start_plugin(FakePlugin("p", setup=fails, log=log)))
    await clock.advance(3)
    (shown,) = kernel.health().plugins.values()
    with pytest.raises(MissingPlugin):
        await kernel.start_plugin(FakePlugin("on", requires=("p",)))
    await clock.advance(2)
    with pytest.raises(HookError):
        await starting

    assert (shown.state, shown.error) == (
        PluginState.FAILED,
        "plugin 'p': setup raised ZeroDivisionError: oh",
    )
    assert log == ["p: setup", "slow: closed", "p: closed"]
    assert kernel.hosts == ()


async def test_nobody_can_rely_on_a_plugin_whose_set_up_was_left_behind(caplog):
    clock, rock = FakeClock(), Rock()

    async def stays(scope):
        scope.start(forever)  # which nobody has cancelled
        await rock.stay()

    async with Kernel(timers=clock, setup_timeout_s=3, shutdown_budget_s=2) as kernel:
        starting = asyncio.create_task(kernel.start_plugin(FakePlugin("rock", setup=stays)))
        await clock.advance(4.5)
        with pytest.raises(HookError) as caught:
            await starting
        with pytest.raises(MissingPlugin):
            await kernel.start_plugin(FakePlugin("on", requires=("rock",)))
        assert kernel.health().plugins["rock"].state is PluginState.FAILED
        ending = asyncio.create_task(clock.advance(10))
    # That it was left behind has been raised where it was started, and is not raised again.
    await ending
    assert len(kernel.hosts) == 1
    rock.free.set()
    await ended(kernel)

    ignored = "its setup ignores its cancellation"
    assert str(caught.value) == (
        "plugin 'rock': setup took longer than 3 s and ignores its cancellation"
    )
    assert left_behind(caplog)[0] == f"plugin 'rock' was left behind: {ignored} after 3 s"


async def test_a_cancelled_start_waits_for_what_it_made_and_no_longer_than_it_may(caplog):
    clock, rock = FakeClock(), Rock()

    async def enters(scope):
        await scope.enter(rock.at_its_end())
        await forever()

    async def run():
        async with Kernel(timers=clock, setup_timeout_s=3) as kernel:
            starting = asyncio.create_task(kernel.start_plugin(FakePlugin("p", setup=enters)))
            await clock.advance(1)
            starting.cancel()
            await clock.advance(3.9)
            assert not starting.done()
            await clock.advance(0.2)
            assert starting.cancelled()
            assert left_behind(caplog) == [f"plugin 'p' was left behind: closing {HERE}"]
            rock.free.set()
            await ended(kernel)

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    (late,) = caught.value.exceptions
    assert isinstance(late, HandlerTimeout)
    assert (late.plugin, late.timeout_s) == ("p", 1.5)


async def test_a_cancelled_start_whose_set_up_ignores_that_is_left_behind_after_a_second(
    kernel_factory, caplog
):
    clock, rock = FakeClock(), Rock()
    kernel = await kernel_factory(timers=clock)
    starting = asyncio.create_task(kernel.start_plugin(FakePlugin("p", setup=rock.stay)))
    await clock.advance(1)
    starting.cancel()
    await clock.advance(0.9)
    assert not starting.done()
    await clock.advance(0.2)
    assert starting.cancelled()
    assert left_behind(caplog) == ["plugin 'p' was left behind: its setup ignores its cancellation"]
    rock.free.set()


async def test_how_long_a_set_up_took_is_told(kernel_factory):
    clock = FakeClock()

    async def slow(scope):
        done = asyncio.Event()
        clock.call_later(2, done.set)
        await done.wait()

    heard = FakePlugin("heard", {PluginStarted: None})
    kernel = await kernel_factory(heard, timers=clock)
    await clock.advance(3)
    starting = asyncio.create_task(kernel.start_plugin(FakePlugin("p", setup=slow)))
    await clock.advance(2)
    await starting
    await idle(kernel.bus)

    assert heard.seen == [PluginStarted(plugin="p", took_s=2.0)]


async def test_who_is_left_behind_is_named_with_what_it_does_and_how_long_it_was_waited_for(caplog):
    clock, rock = FakeClock(), Rock()

    async def starts(scope):
        for name in ("one", "two"):
            scope.start(rock.stay, name=name)

    async def enters(scope):
        await scope.enter(rock.at_its_end())

    async def does_both(scope):
        await enters(scope)
        await starts(scope)

    plugins = [
        FakePlugin("tasks", setup=starts),
        FakePlugin("held", setup=enters),
        FakePlugin("both", setup=does_both),
    ]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=6)
    await kernel.__aenter__()
    leaving = asyncio.create_task(kernel.__aexit__(None, None, None))
    await clock.advance(60)
    with pytest.raises(ExceptionGroup) as caught:
        await leaving
    states = [host.state for host in kernel.hosts]
    rock.free.set()
    await ended(kernel)

    stuck = [one for one in caught.value.exceptions if isinstance(one, PluginStuck)]
    assert [(one.plugin, one.doing, one.waited_s > 0) for one in stuck] == [
        ("both", "both: one, both: two ignored cancellation", False),
        ("both", f"closing {HERE}", True),
        ("held", f"closing {HERE}", True),
        ("tasks", "tasks: one, tasks: two ignored cancellation", False),
    ]
    assert states == [PluginState.STOPPED, PluginState.FAILED, PluginState.FAILED]
    assert left_behind(caplog) == [
        f"plugin 'both' was left behind: closing {HERE}",
        f"plugin 'held' was left behind: closing {HERE}",
    ]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_fails_to_close_after_a_failed_start_is_raised_at_the_end(cancelled):
    reached = asyncio.Event()

    @contextmanager
    def breaks():
        yield
        raise OSError("cannot close")

    async def enters(scope):
        await scope.enter(breaks())
        reached.set()
        if not cancelled:
            raise ZeroDivisionError("oh")
        await forever()

    async def run():
        async with Kernel() as kernel:
            starting = asyncio.create_task(kernel.start_plugin(FakePlugin("p", setup=enters)))
            await reached.wait()
            if cancelled:
                starting.cancel()
            with pytest.raises(asyncio.CancelledError if cancelled else HookError):
                await starting
            assert kernel.hosts == ()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__, OSError)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_what_fails_to_close_after_a_start_that_was_called_off_is_raised_once(turns):
    reached = asyncio.Event()

    @asynccontextmanager
    async def breaks():
        yield
        for _ in range(turns):
            await asyncio.sleep(0)
        raise OSError("cannot close")

    async def enters(scope):
        await scope.enter(breaks())
        reached.set()
        await forever()

    starting: list[asyncio.Task[None]] = []

    async def run():
        async with Kernel() as kernel:
            plugin = FakePlugin("p", setup=enters)
            starting.append(asyncio.create_task(kernel.start_plugin(plugin)))
            await reached.wait()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    with pytest.raises(HookError, match="was called off"):
        await starting[0]
    (error,) = caught.value.exceptions
    assert isinstance(error.__cause__, OSError)
