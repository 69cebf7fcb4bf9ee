"""Plugins that come and go while the kernel runs: what is refused, what is told, what is kept."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from runbus.errors import (
    HandlerTimeout,
    HookError,
    MissingPlugin,
    OrderCycle,
    PluginNotFound,
    WouldDeadlock,
)
from runbus.events import Notify, PluginFailed, PluginReleased, PluginStarted, PluginStopped
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin, idle


class Fact(Notify, frozen=True):
    pass


async def forever(*_: object) -> None:
    await asyncio.Event().wait()


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def heard(*events: type[Any]) -> FakePlugin:
    return FakePlugin("heard", dict.fromkeys(events))


# -- whom to rely on


async def test_a_set_up_cannot_start_what_requires_its_own_plugin(kernel_factory):
    refused: list[WouldDeadlock] = []

    async def starts_another(scope):
        with pytest.raises(WouldDeadlock) as caught:
            await kernel.start_plugin(FakePlugin("on", requires=("base",)))
        refused.append(caught.value)

    kernel = await kernel_factory()
    await kernel.start_plugin(FakePlugin("base", setup=starts_another))

    assert "'on' requires 'base', whose setup starts it" in str(refused[0])
    assert [host.name for host in kernel.hosts] == ["base"]


async def test_a_plugin_that_is_set_up_may_start_what_requires_it(kernel_factory):
    async def starts_another(event):
        await kernel.start_plugin(FakePlugin("on", requires=("base",)))

    kernel = await kernel_factory(FakePlugin("base", {Fact: starts_another}))
    receipt = await kernel.bus.publish(Fact())

    assert not receipt.errors
    assert [host.name for host in kernel.hosts] == ["base", "on"]


async def test_who_waits_for_a_plugin_that_is_stopped_before_it_is_there_is_refused(
    kernel_factory,
):
    kernel = await kernel_factory()
    base = asyncio.create_task(kernel.start_plugin(FakePlugin("base", setup=forever)))
    await turns()
    on = asyncio.create_task(kernel.start_plugin(FakePlugin("on", requires=("base",))))
    await turns()
    await kernel.stop_plugin("base")
    with pytest.raises(HookError, match="was called off"):
        await base
    with pytest.raises(MissingPlugin) as caught:
        await on

    assert (caught.value.plugin, caught.value.required) == ("on", "base")
    assert kernel.hosts == ()
    await kernel.start_plugin(FakePlugin("on"))  # the name is free


async def test_who_waits_for_a_plugin_until_the_kernel_stops_is_called_off():
    go = asyncio.Event()
    log: list[str] = []

    async def waits(scope):
        await go.wait()

    async with Kernel() as kernel:
        base = asyncio.create_task(kernel.start_plugin(FakePlugin("base", setup=waits)))
        await turns()
        plugin = FakePlugin("on", requires=("base",), log=log)
        on = asyncio.create_task(kernel.start_plugin(plugin))
        await turns()
        go.set()  # so it is there, but the kernel ends
    await base
    with pytest.raises(HookError) as caught:
        await on

    assert str(caught.value) == "plugin 'on': setup was called off"
    assert log == []


async def test_what_is_stopped_that_is_not_there_is_named_with_what_looks_alike(kernel_factory):
    kernel = await kernel_factory(FakePlugin("store"))
    with pytest.raises(PluginNotFound) as caught:
        await kernel.stop_plugin("stor")

    assert (caught.value.plugin, caught.value.similar) == ("stor", ("store",))


# -- the order


async def test_what_a_plugin_requires_stays_before_it_whoever_comes(kernel_factory):
    kernel = await kernel_factory(
        FakePlugin("on", {Fact: None}, requires=("base",)), FakePlugin("base", {Fact: None})
    )
    with pytest.raises(OrderCycle):
        await kernel.start_plugin(FakePlugin("late", after=("on",), before=("base",)))
    before = kernel.plan(Fact).steps
    await kernel.start_plugin(FakePlugin("other"))

    assert [step.plugin for step in before] == ["base", "on"]
    assert before[1].reason == "on says requires='base'"
    assert kernel.plan(Fact).steps[1] == before[1]


async def test_the_plan_says_of_each_plugin_that_came_late_why_it_stands_there(kernel_factory):
    kernel = await kernel_factory(FakePlugin("a", {Fact: None}))
    for name, after in (("b", ()), ("c", ("b",)), ("d", ())):
        await kernel.start_plugin(FakePlugin(name, {Fact: None}, after=after))
    await kernel.stop_plugin("d")
    await kernel.start_plugin(FakePlugin("e", {Fact: None}))

    assert [(step.plugin, step.reason) for step in kernel.plan(Fact).steps] == [
        ("a", "place in the list"),
        ("b", "started while the kernel ran"),
        ("c", "c says after='b'"),
        ("e", "started while the kernel ran"),
    ]


async def test_what_a_plugin_subscribes_later_stands_in_its_place(kernel_factory):
    first = FakePlugin("a")
    kernel = await kernel_factory(first, FakePlugin("b", {Fact: None}))
    first.scope.on(Fact, forever)

    assert [step.plugin for step in kernel.plan(Fact).steps] == ["a", "b"]


# -- what is told


async def test_why_a_plugin_was_stopped_is_told(kernel_factory):
    go = asyncio.Event()

    async def dies():
        await go.wait()
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(dies)

    listener = heard(PluginStopped)
    kernel = await kernel_factory(
        listener,
        FakePlugin("base", setup=starts),
        FakePlugin("on", requires=("base",)),
        FakePlugin("apart"),
    )
    await kernel.stop_plugin("apart")
    told = kernel.bus.wait_for(PluginStopped, timeout=120)
    go.set()
    await told
    await idle(kernel.bus)

    assert listener.seen == [
        PluginStopped(plugin="apart", reason="stopped by request"),
        PluginStopped(plugin="on", reason="base failed, which it requires"),
    ]


async def test_a_plugin_whose_task_is_cancelled_from_outside_has_failed_and_is_told_so():
    listener = heard(PluginFailed)
    async with Kernel(plugins=[listener, FakePlugin("p")]) as kernel:
        failed = kernel.bus.wait_for(PluginFailed, timeout=120)
        own = kernel.hosts[1].task
        assert own is not None
        own.cancel()
        await failed

    assert listener.seen == [
        PluginFailed(
            plugin="p",
            task="a task group",
            error="plugin 'p': its task a task group died: it was cancelled",
        )
    ]


async def test_a_release_is_told(kernel_factory):
    listener = heard(PluginReleased)

    async def fails(event):
        raise ValueError("no")

    kernel = await kernel_factory(listener, FakePlugin("bad", {Fact: fails}))
    kernel.release("bad")  # which was not quarantined
    for _ in range(5):
        await kernel.bus.publish(Fact())
    kernel.release("bad")
    await turns()

    assert listener.seen == [PluginReleased(plugin="bad")]


async def test_a_critical_plugin_that_fails_at_what_the_kernel_tells_ends_the_block():
    async def fails(event):
        raise ZeroDivisionError("oh")

    async def run():
        plugin = FakePlugin("vital", {PluginStarted: fails}, critical=True)
        async with Kernel(plugins=[plugin]) as kernel:
            await kernel.start_plugin(FakePlugin("p"))
            await forever()

    with pytest.raises(HookError, match="plugin 'vital'") as caught:
        await run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Bare:
    """No more than a plugin must have."""

    name = "bare"

    async def setup(self, scope: Any) -> None:
        scope.start(self.dies)

    async def dies(self) -> None:
        raise ZeroDivisionError("oh")


async def test_a_plugin_that_does_not_say_that_it_is_critical_is_not(kernel_factory):
    kernel = await kernel_factory(timers=FakeClock())
    failed = kernel.bus.wait_for(PluginFailed, timeout=120)
    await kernel.start_plugin(Bare())
    await failed
    await turns()  # in which the block would be cancelled

    assert not kernel.health().healthy


# -- what went wrong


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("p", "plugin 'p': client went away"),
        ("q", "plugin 'p': setup raised HookError: plugin 'q': client went away"),
    ],
)
async def test_a_set_up_that_names_what_failed_in_it_is_named_by_that(kernel_factory, name, said):
    async def fails(scope):
        raise HookError(name, "client", "", "went away")

    kernel = await kernel_factory()
    with pytest.raises(HookError) as caught:
        await kernel.start_plugin(FakePlugin("p", setup=fails))

    assert str(caught.value) == said


@contextmanager
def breaks_on_exit():
    yield
    raise OSError("cannot close")


async def test_what_went_wrong_when_plugins_were_stopped_is_raised_at_the_end_all_of_it():
    async def enters(scope):
        await scope.enter(breaks_on_exit())

    async def run():
        async with Kernel(plugins=[FakePlugin(name, setup=enters) for name in "abc"]) as kernel:
            await kernel.stop_plugin("a")
            await kernel.stop_plugin("b")

    with pytest.raises(ExceptionGroup) as caught:
        await run()

    told = [error.plugin for error in caught.value.exceptions if isinstance(error, HookError)]
    assert told == ["a", "b", "c"]


async def test_a_plugin_that_is_stopped_has_five_seconds_to_close():
    @asynccontextmanager
    async def hangs():
        yield
        await forever()

    async def enters(scope):
        await scope.enter(hangs())

    clock = FakeClock()

    async def run():
        async with Kernel(plugins=[FakePlugin("p", setup=enters, log=log)], timers=clock) as kernel:
            stopping = asyncio.create_task(kernel.stop_plugin("p"))
            await clock.advance(60)
            assert stopping.done()

    log: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await run()

    (late,) = caught.value.exceptions
    assert isinstance(late, HandlerTimeout)
    assert late.timeout_s == 2.5  # half of it: there are two to close
    assert log == ["p: setup", "p: closed"]
