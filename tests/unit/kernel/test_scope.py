"""What a plugin is given in its set-up, and what it says of a wrong use."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from runbus.abc import PluginState
from runbus.errors import BusClosed, InvalidHandler, InvalidOption, PluginCrashed, WrongLoop
from runbus.events import Notify, PluginFailed, Stream
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin


class Fact(Notify, frozen=True):
    number: int = 0


class Tick(Stream, frozen=True):
    number: int = 0


async def forever() -> None:
    await asyncio.Event().wait()


async def waits_for(one: int, other: int) -> None:
    await asyncio.Event().wait()


async def test_what_is_asked_of_a_closed_scope_is_named(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    await kernel.stop_plugin("p")
    scope = plugin.scope

    async def calls(verb: str) -> None:
        match verb:
            case "on":
                scope.on(Fact, print)
            case "stream":
                scope.stream(Tick)
            case "start":
                scope.start(forever)
            case "enter":
                await scope.enter(asyncio.timeout(None))
            case "thread":
                await scope.thread(print)

    for verb in ("on", "stream", "start", "enter", "thread"):
        with pytest.raises(BusClosed) as caught:
            await calls(verb)
        assert (caught.value.verb, caught.value.state) == (verb, "closed")


async def test_a_scope_knows_whose_it_is(kernel_factory):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)

    assert plugin.scope.name == "p"
    assert repr(plugin.scope) == "<Scope of plugin 'p'>"


async def test_nothing_is_subscribed_from_another_thread(kernel_factory):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)
    caught: list[WrongLoop] = []

    def subscribes() -> None:
        try:
            plugin.scope.on(Fact, print)
        except WrongLoop as error:
            caught.append(error)

    thread = threading.Thread(target=subscribes)
    thread.start()
    thread.join()

    assert [(error.verb, error.where) for error in caught] == [("on", "thread")]


async def test_a_handler_has_the_options_that_it_was_subscribed_with(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    seen: list[Fact] = []
    plugin.scope.on(Fact, seen.append, once=True)

    await kernel.bus.publish(Fact(1))
    await kernel.bus.publish(Fact(2))

    assert seen == [Fact(1)]
    with pytest.raises(InvalidOption, match="timeout=-1"):
        plugin.scope.on(Fact, seen.append, timeout=-1)


async def test_a_stream_is_the_plugins_and_has_the_usual_size(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    plugin.scope.stream(Tick)

    (step,) = kernel.plan(Tick).steps
    assert (step.plugin, step.handler) == ("p", "stream of 256, DropOldest")


async def test_a_stream_has_the_options_that_it_was_opened_with(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    spilled: list[Tick] = []
    stream = plugin.scope.stream(
        Tick,
        maxsize=1,
        overflow="conflate",
        key=lambda tick: tick.number % 2,
        spill=spilled.append,
    )

    for number in (1, 3, 2):
        await kernel.bus.emit(Tick(number))

    assert kernel.plan(Tick).steps[0].handler == "stream of 1, Conflate"
    # One of the same key takes the place of the one before; for another key there is no room.
    assert spilled == [Tick(3)]
    stream.close()


async def test_streams_that_were_closed_are_forgotten(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    kept = plugin.scope.stream(Tick)
    plugin.scope.stream(Tick).close()

    last = plugin.scope.stream(Tick)

    (host,) = kernel.hosts
    assert host.scope.streams == [kept, last]


async def test_a_task_is_called_by_the_plugin_and_its_own_name(kernel_factory):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)

    tasks = [plugin.scope.start(forever), plugin.scope.start(waits_for, 1, 2, name="pump")]

    assert [task.get_name() for task in tasks] == ["p: forever", "p: pump"]


async def test_a_task_that_cannot_be_started_is_named_with_its_plugin(kernel_factory):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)

    with pytest.raises(InvalidHandler, match=r"'p': waits_for for start\(\)"):
        plugin.scope.start(waits_for, 1)
    with pytest.raises(InvalidOption, match="p: restart='always'"):
        plugin.scope.start(forever, restart="always")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plugin 'p'"):
        await plugin.scope.enter(3)  # type: ignore[arg-type]


async def test_a_task_that_fails_starts_again_only_if_it_is_to():
    clock = FakeClock()
    tries: list[int] = []

    async def crashes() -> None:
        tries.append(len(tries))
        raise ZeroDivisionError("oh")

    async def starts(scope: Any) -> None:
        scope.start(crashes)

    heard = FakePlugin("heard", {PluginFailed: None})
    async with Kernel(plugins=[heard, FakePlugin("p", setup=starts)], timers=clock) as kernel:
        await clock.advance(60)
        assert kernel.health().plugins["p"].state is PluginState.FAILED

    assert tries == [0]


async def test_only_a_task_that_asks_for_it_is_given_time_to_finish(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)

    usual = plugin.scope.start(forever)
    patient = plugin.scope.start(plugin.scope.wait_stopping, drain=True)

    (host,) = kernel.hosts
    assert host.tasks.finishing() == [patient]
    assert [*host.tasks] == [usual, patient]


async def test_a_task_that_its_plugin_cancels_has_not_failed_and_is_forgotten(kernel_factory):
    plugin = FakePlugin("p")
    kernel = await kernel_factory(plugin)
    task = plugin.scope.start(forever, restart="on_failure")
    await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)  # for what is told of its end

    assert task.cancelled()
    assert kernel.health().plugins["p"].state is PluginState.STARTED
    (host,) = kernel.hosts
    assert task not in host.tasks


async def test_a_task_that_dies_of_its_cancellation_is_told_at_the_end():
    async def stumbles() -> None:
        try:
            await forever()
        finally:
            raise ZeroDivisionError("oh")

    async def run() -> None:
        async with Kernel(plugins=[heard, plugin]):
            plugin.scope.start(stumbles, name="pump")
            await asyncio.sleep(0)

    heard, plugin = FakePlugin("heard", {PluginFailed: None}), FakePlugin("p")
    with pytest.raises(BaseExceptionGroup) as caught:
        await run()

    (crash,) = caught.value.exceptions
    assert isinstance(crash, PluginCrashed)
    assert (crash.plugin, crash.task, crash.event) == ("p", "pump", "")
    assert isinstance(crash.__cause__, ZeroDivisionError)
    assert heard.seen == []  # it was asked to end, and has
