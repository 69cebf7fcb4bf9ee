"""Promises of the kernel that rest on single lines: budgets, health, order, settings, traces."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from runbus.abc import PluginState
from runbus.errors import HandlerTimeout, InvalidOption, OrderCycle, PluginStuck
from runbus.events import KernelStopping, Notify, Pipeline, PluginFailed, Shutdown, Stream
from runbus.kernel import Kernel, PluginHealth, read_trace
from runbus.kernel._restart import Restarts
from runbus.plugins import Plugin
from runbus.testing import FakeClock, FakePlugin, idle


class Fact(Notify, frozen=True):
    number: int = 0


class Tick(Stream, frozen=True):
    number: int = 0


class Words(Pipeline[tuple[str, ...]], frozen=True):
    pass


async def forever(*_):
    await asyncio.Event().wait()


async def leave_under(clock, kernel):
    """Leave a kernel while the clock runs; return how long it took and what it raised."""
    began_ns = clock.monotonic_ns()
    task = asyncio.create_task(kernel.__aexit__(None, None, None))
    while not task.done():
        await clock.advance(0.05)
        assert clock.monotonic_ns() - began_ns < 60e9
        await asyncio.sleep(0.001)
    return (clock.monotonic_ns() - began_ns) / 1e9, task.exception()


# -- settings


@pytest.mark.parametrize("name", ["shutdown_budget_s", "setup_timeout_s"])
@pytest.mark.parametrize(
    "value", ["8", None, float("nan"), float("inf"), 0, -5, True, [1], 1e300, 10**400], ids=repr
)
def test_a_time_that_cannot_be_is_refused_before_anything_runs(name, value):
    with pytest.raises(InvalidOption, match=name):
        Kernel(**{name: value})


def test_a_task_that_fails_a_thousand_times_starts_again_after_ten_seconds():
    restarts = Restarts("p", 2_000, 60.0, FakeClock())
    delays = [restarts.next_delay_s() for _ in range(1_200)]
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert set(delays[7:]) == {10.0}


@pytest.mark.parametrize(
    "options", [{"max": 0}, {"max": 1.5}, {"max": "3"}, {"per": 0}, {"per": None}], ids=repr
)
async def test_a_number_of_restarts_that_cannot_be_is_refused(kernel_factory, options):
    plugin = FakePlugin("p")
    await kernel_factory(plugin)
    ((name, value),) = options.items()
    with pytest.raises(InvalidOption, match=rf"p: {name}={value!r}"):
        plugin.scope.start(forever, restart="on_failure", **options)
    with pytest.raises(InvalidOption, match=rf"p: {name}={value!r}"):
        plugin.scope.start(forever, **options)


async def test_a_restart_counts_until_the_window_is_over():
    clock = FakeClock()
    restarts = Restarts("p", 2, 0.5, clock)
    await clock.advance(100)

    assert [restarts.next_delay_s() for _ in range(3)] == [0.1, 0.2, None]
    await clock.advance(0.5)
    assert restarts.next_delay_s() is None
    await clock.advance(0.1)
    assert [restarts.next_delay_s() for _ in range(3)] == [0.1, 0.2, None]


# -- the budget


async def test_each_phase_has_its_part_of_the_budget_and_what_is_left_goes_to_the_next():
    clock = FakeClock()
    at: dict[str, float] = {}

    def note(name):
        at[name] = clock.monotonic_ns() / 1e9

    async def told(event):
        note("told")
        await forever()

    @asynccontextmanager
    async def resource(name):
        yield
        note(name)
        await forever()

    async def setup(scope):
        await scope.enter(resource("second"))
        await scope.enter(resource("first"))
        scope.start(forever, drain=True)
        stream = scope.stream(Tick)

        async def once():
            await anext(stream)
            await forever()

        scope.start(once)

    plugin = Plugin("p").on(Shutdown, told).then(setup)
    kernel = Kernel(plugins=[plugin], timers=clock, shutdown_budget_s=10)
    await kernel.__aenter__()
    await kernel.bus.emit(Tick(1))
    await idle(kernel.bus)
    took_s, error = await leave_under(clock, kernel)

    assert at["told"] == pytest.approx(4, abs=0.3)
    assert at["first"] == pytest.approx(8, abs=0.5)
    assert at["second"] == pytest.approx(9, abs=0.5)
    assert took_s == pytest.approx(10, abs=0.5)
    limits = [one.timeout_s for one in error.exceptions if isinstance(one, HandlerTimeout)]
    assert limits == pytest.approx([2, 1, 1], abs=0.4)


async def test_what_remains_is_shared_among_the_plugins_and_each_has_fifty_milliseconds():
    clock = FakeClock()

    @asynccontextmanager
    async def hangs():
        yield
        await forever()

    plugins = [Plugin(name).enter(hangs) for name in "abcd"]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=0.04)
    await kernel.__aenter__()
    _, error = await leave_under(clock, kernel)

    assert [one.plugin for one in error.exceptions] == ["d", "c", "b", "a"]
    assert [one.timeout_s for one in error.exceptions] == [0.05] * 4

    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=8)
    await kernel.__aenter__()
    _, error = await leave_under(clock, kernel)
    assert [one.timeout_s for one in error.exceptions] == pytest.approx([2] * 4, abs=0.2)


async def test_many_parts_that_ignore_everything_share_one_second_of_grace():
    clock = FakeClock()
    free = asyncio.Event()

    @asynccontextmanager
    async def ignores():
        yield
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    async def enters(scope):
        await scope.enter(ignores())

    plugins = [FakePlugin(f"p{number}", setup=enters) for number in range(10)]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=2)
    await kernel.__aenter__()
    took_s, error = await leave_under(clock, kernel)
    free.set()
    await asyncio.sleep(0.01)

    assert took_s < 2 + 1 + 10 * 0.1
    assert [type(one) for one in error.exceptions] == [PluginStuck] * 10


async def test_those_that_ignore_everything_leave_the_others_their_share_of_the_grace():
    clock = FakeClock()
    free, done = asyncio.Event(), asyncio.Event()

    async def until(event):
        while not event.is_set():
            try:
                await event.wait()
            except asyncio.CancelledError:
                continue

    async def enters(scope, event, delay_s=None):
        @asynccontextmanager
        async def resource():
            yield
            try:
                await forever()
            finally:
                if delay_s is not None:
                    clock.call_later(delay_s, event.set)
                await until(event)

        await scope.enter(resource())

    # They are closed in the reverse order: the stubborn ones before the one that is only slow.
    plugins = [
        FakePlugin("slow", setup=partial(enters, event=done, delay_s=0.3)),
        *(FakePlugin(name, setup=partial(enters, event=free)) for name in "abc"),
    ]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=2)
    await kernel.__aenter__()
    _, error = await leave_under(clock, kernel)
    for event in (free, done):
        event.set()
    await asyncio.sleep(0.01)

    stuck = [one.plugin for one in error.exceptions if isinstance(one, PluginStuck)]
    assert stuck == ["c", "b", "a"]


async def test_a_reader_that_is_the_block_itself_holds_nothing_up():
    clock = FakeClock()
    async with Kernel(timers=clock) as kernel:
        stream = kernel.bus.stream(Tick).open()
        asyncio.get_running_loop().call_soon(kernel.bus.emit_nowait, Tick(1))
        assert await stream.batch() == [Tick(1)]
        kernel.bus.emit_nowait(Tick(2))

    assert clock.monotonic_ns() == 0
    assert stream.statistics().dropped == 1


async def test_the_handler_of_an_event_from_a_thread_that_ignores_everything_is_left_and_named():
    clock = FakeClock()
    free, reached = asyncio.Event(), asyncio.Event()

    async def ignores(event):
        reached.set()
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    kernel = Kernel(
        plugins=[FakePlugin("rock", {Fact: ignores})], timers=clock, shutdown_budget_s=1
    )
    await kernel.__aenter__()
    await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
    await reached.wait()
    took_s, error = await leave_under(clock, kernel)
    free.set()
    await asyncio.sleep(0.01)

    assert took_s <= 2.5
    assert any(isinstance(one, PluginStuck) and one.plugin == "rock" for one in error.exceptions)


async def test_a_slow_handler_of_kernel_stopping_has_only_the_time_of_its_phase(caplog):
    clock = FakeClock()
    other = FakePlugin("p", {KernelStopping: None, Shutdown: None})
    plugins = [other, FakePlugin("slow", {KernelStopping: forever})]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=10)
    await kernel.__aenter__()
    took_s, error = await leave_under(clock, kernel)

    assert error is None
    assert took_s == pytest.approx(4, abs=0.5)
    assert "publishing KernelStopping was cancelled after 4 s, in forever of slow" in caplog.text
    stopping, shutdown = other.seen
    assert (stopping.budget_s, shutdown.budget_s) == (10, pytest.approx(2))


async def test_a_handler_of_kernel_stopping_that_ignores_everything_is_left_and_named():
    clock = FakeClock()
    free = asyncio.Event()

    async def ignores(event):
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    plugins = [FakePlugin("rock", {KernelStopping: ignores}), FakePlugin("p", {Shutdown: None})]
    kernel = Kernel(plugins=plugins, timers=clock, shutdown_budget_s=10)
    await kernel.__aenter__()
    _, error = await leave_under(clock, kernel)
    free.set()
    await asyncio.sleep(0.01)

    (stuck,) = error.exceptions
    assert isinstance(stuck, PluginStuck)
    assert (stuck.plugin, stuck.waited_s) == ("rock", 5.0)
    assert stuck.doing.endswith(".ignores ignores its cancellation")
    assert [type(event) for event in plugins[1].seen] == [Shutdown]


async def test_what_a_plugin_does_not_read_in_time_is_said(caplog):
    clock = FakeClock()

    async def setup(scope):
        stream = scope.stream(Tick, maxsize=10)

        async def once():
            await anext(stream)
            await forever()

        scope.start(once)

    kernel = Kernel(plugins=[FakePlugin("p", setup=setup)], timers=clock, shutdown_budget_s=10)
    await kernel.__aenter__()
    await asyncio.sleep(0)
    for number in range(4):
        await kernel.bus.emit(Tick(number))
    await leave_under(clock, kernel)

    assert "p did not read 3 waiting Tick in time" in caplog.text
    assert caplog.text.count("did not read") == 1


async def test_dispatches_end_before_the_plugins_are_told():
    log: list[str] = []
    stopping = asyncio.Event()
    reached = asyncio.Event()

    async def slow(event):
        reached.set()
        await stopping.wait()
        for _ in range(30):
            await asyncio.sleep(0)
        log.append("dispatched")

    async def told(event):
        log.append("told")

    async def warned(event):
        stopping.set()

    handlers = {Fact: slow, Shutdown: told, KernelStopping: warned}
    async with Kernel(plugins=[FakePlugin("p", handlers)]) as kernel:
        publishing = asyncio.create_task(kernel.bus.publish(Fact()))
        await reached.wait()
    await publishing

    assert log == ["dispatched", "told"]


async def test_a_worker_thread_that_blocks_is_abandoned_with_the_scope_of_its_caller(
    kernel_factory,
):
    free = threading.Event()
    plugin = FakePlugin("p")
    await kernel_factory(plugin)
    try:
        with anyio.move_on_after(0.01) as scope:
            await plugin.scope.thread(free.wait, 120)
    finally:
        free.set()

    assert scope.cancelled_caught


async def test_an_error_inside_of_the_shutdown_itself_is_raised_and_the_rest_is_done(caplog):
    log: list[Any] = []
    kernel = Kernel(plugins=[FakePlugin("p", {Shutdown: None}, log=log)])

    class Broken:
        """What a bus offers to be looked into, gone bad."""

        def intent(self, seq, parent, event, origin):
            if isinstance(event, KernelStopping):
                raise SystemExit(9)

        def outcome(self, *_):
            pass

    with pytest.raises(SystemExit) as caught:
        async with kernel:
            kernel.bus.add_tap(Broken())

    assert caught.value.code == 9
    assert log == ["p: setup", "p: Shutdown", "p: closed"]
    assert "while the kernel stopped: SystemExit: 9" in caplog.text
    assert "in intent" in caplog.text  # where it was raised


def test_the_watchdog_of_a_signal_is_disarmed_once_the_kernel_was_left():
    code = """
        import asyncio, os, signal, time
        from runbus.kernel import Kernel
        from runbus.testing._waiting import wait_until

        def threads():
            return len(os.listdir("/proc/self/task"))

        async def main():
            # Its watchdog would end a process that takes 5 seconds longer.
            async with Kernel(signals=True, shutdown_budget_s=120):
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()

        before = threads()
        try:
            asyncio.run(main())
        except SystemExit as error:
            print(error.code)
        wait_until(lambda: threads() <= before)
        print("threads left", threads() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "143\nthreads left 0\n"


# -- restarts and quarantine


async def test_restarts_count_only_within_their_window():
    clock = FakeClock()
    tries: list[float] = []

    async def dies_every_twenty_seconds():
        tries.append(clock.monotonic_ns() / 1e9)
        wait: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        clock.call_later(20, partial(wait.set_result, None))
        await wait
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(dies_every_twenty_seconds, restart="on_failure", max=1, per=10)

    async with Kernel(plugins=[FakePlugin("p", setup=starts)], timers=clock) as kernel:
        await clock.advance(70)
        assert kernel.health().plugins["p"].state is PluginState.STARTED

    assert tries == pytest.approx([0, 20.1, 40.2, 60.3])


async def test_a_release_begins_to_count_failures_anew(kernel_factory):
    async def fails(event):
        raise ValueError("no")

    kernel = await kernel_factory(FakePlugin("p", {Fact: fails}))
    for _ in range(4):
        await kernel.bus.publish(Fact())
    kernel.release("p")
    for _ in range(4):
        await kernel.bus.publish(Fact())

    assert kernel.health().plugins["p"].state is PluginState.STARTED
    await kernel.bus.publish(Fact())
    assert kernel.health().plugins["p"].state is PluginState.QUARANTINED


# -- the trace


async def test_the_trace_is_on_disk_at_the_begin_of_the_shutdown_and_before_the_closing(tmp_path):
    path = tmp_path / "run.trace"
    seen: dict[str, list[str]] = {}

    def look(when):
        seen[when] = [event.type for event in read_trace(path) if event.status]

    @asynccontextmanager
    async def resource():
        yield
        look("closing")

    async def setup(scope):
        await scope.enter(resource())

    async def warned(event):
        look("stopping")

    plugin = FakePlugin("p", {KernelStopping: warned}, setup=setup)
    async with Kernel(plugins=[plugin], trace=path, timers=FakeClock()) as kernel:
        kernel.bus.on(Fact, lambda event: None)
        await kernel.bus.publish(Fact())

    assert seen["stopping"][-1].endswith("Fact")
    assert seen["closing"][-1] == "kernel.shutdown"


# -- health


class Sick(FakePlugin):
    answer: Any = (False, {"why": "disk"})

    def health(self):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


async def test_a_plugin_is_asked_before_the_block_begins_and_the_answer_has_an_age(kernel_factory):
    clock = FakeClock()
    kernel = await kernel_factory(Sick("sick"), FakePlugin("silent"), timers=clock)

    health = kernel.health()
    assert not health.healthy
    assert health.plugins["sick"].details == {"why": "disk"}
    assert health.plugins["sick"].age_s == 0
    assert health.plugins["silent"].age_s is None
    await clock.advance(3)
    assert kernel.health().plugins["sick"].age_s == 3
    await clock.advance(8)
    assert kernel.health().plugins["sick"].age_s == pytest.approx(1)


async def test_a_plugin_that_is_well_again_is_as_it_was(kernel_factory):
    sick = Sick("sick")
    kernel = await kernel_factory(sick)
    assert kernel.health().plugins["sick"].state is PluginState.DEGRADED
    sick.answer = (True, {"queue": 0})
    health = await kernel.check_health()

    assert health.healthy
    assert health.plugins["sick"].state is PluginState.STARTED
    assert health.plugins["sick"].details == {"queue": 0}


async def test_what_became_of_a_plugin_counts_more_than_its_answer(kernel_factory):
    async def fails(event):
        raise ValueError("no")

    async def crashes():
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    crashed, noisy = Sick("crashed", setup=starts), Sick("noisy", {Fact: fails})
    well = Sick("well", requires=("noisy",))
    well.version = "1.2"  # type: ignore[attr-defined]
    for one in (crashed, noisy, well):
        one.answer = (True, {"disk": "fine"})
    kernel = await kernel_factory(crashed, noisy, well, timers=FakeClock())
    for _ in range(5):
        await kernel.bus.publish(Fact())
    health = await kernel.check_health()

    assert not health.healthy
    assert list(health.plugins) == ["crashed", "noisy", "well"]
    told = {name: (one.state.value, one.healthy, one.error) for name, one in health.plugins.items()}
    assert told == {
        "crashed": ("failed", False, told["crashed"][2]),
        "noisy": ("quarantined", False, ""),
        "well": ("started", True, ""),
    }
    assert "ZeroDivisionError: oh" in told["crashed"][2]
    assert health.plugins["crashed"].details == {}  # it is not asked
    assert health.plugins["well"] == PluginHealth(
        "well", PluginState.STARTED, True, {"disk": "fine"}, 0.0, "", (), ()
    )
    (handler,) = health.plugins["noisy"].handlers
    assert (handler.plugin, handler.event, handler.errors) == ("noisy", "Fact", 5)
    assert health.application == PluginHealth(
        "application", PluginState.STARTED, True, {}, None, "", (), ()
    )
    assert [(one.name, one.state.value, one.health, one.error) for one in kernel.infos()] == [
        ("crashed", "failed", "failed", told["crashed"][2]),
        ("noisy", "quarantined", "failed", ""),
        ("well", "started", "ok", ""),
    ]
    await kernel.start_plugin(FakePlugin("late"))  # which makes room: what failed is forgotten
    assert [(one.name, one.version, one.requires) for one in kernel.infos()] == [
        ("noisy", "", ()),
        ("well", "1.2", ("noisy",)),
        ("late", "", ()),
    ]


async def test_an_answer_that_comes_after_a_crash_makes_it_no_smaller(kernel_factory):
    crash, go = asyncio.Event(), asyncio.Event()

    class Slow(FakePlugin):
        async def health(self):
            await go.wait()
            return False, {}

    async def crashes():
        await crash.wait()
        raise ZeroDivisionError("oh")

    async def starts(scope):
        scope.start(crashes)

    kernel = await kernel_factory(Slow("slow", setup=starts))
    check = asyncio.create_task(kernel.check_health())
    await asyncio.sleep(0)
    async with asyncio.timeout(120):
        failed = kernel.bus.wait_for(PluginFailed)
        crash.set()
        await failed
        go.set()
        await check

    assert kernel.health().plugins["slow"].state is PluginState.FAILED


async def test_what_the_application_subscribes_is_shown_as_its_own(kernel_factory):
    kernel = await kernel_factory()
    kernel.bus.on(Fact, lambda event: None)
    async with kernel.bus.stream(Tick):
        await kernel.bus.publish(Fact())
        await kernel.bus.emit(Tick())
        application = kernel.health().application

    assert [(one.event, one.calls) for one in application.handlers] == [("Fact", 1)]
    assert [one.pending for one in application.streams] == [1]


async def test_who_has_not_answered_yet_is_not_called_healthy(kernel_factory):
    class Slow(FakePlugin):
        async def health(self):
            await forever()

    kernel = await kernel_factory(Slow("slow"), timers=FakeClock())
    plugin = kernel.health().plugins["slow"]

    assert not plugin.healthy
    assert plugin.age_s is None
    assert plugin.details == {"error": "has not answered yet"}


@pytest.mark.parametrize(
    "answer",
    [
        (True, None), (True, "fine"), (True, ["a"]), True, None, "no", (True, {}, 1),
        asyncio.CancelledError("x"), ValueError("x"), type("Odd", (BaseException,), {})("x"),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_malformed_answer_is_unwell_and_hides_no_other(kernel_factory, answer):
    bad = Sick("bad")
    bad.answer = answer
    clock = FakeClock()
    kernel = await kernel_factory(bad, Sick("good"), timers=clock)
    health = await kernel.check_health()

    assert not health.plugins["bad"].healthy
    assert "error" in health.plugins["bad"].details
    assert health.plugins["good"].details == {"why": "disk"}
    await clock.advance(25)
    assert kernel.health().plugins["bad"].state is PluginState.DEGRADED


# -- order while running


def adds(word):
    async def add(event):
        return (*event.value, word)

    return add


async def test_wishes_hold_for_plugins_that_come_later(kernel_factory):
    def plugin(name, **wishes):
        return FakePlugin(name, {Words: adds(name)}, **wishes)

    kernel = await kernel_factory(plugin("b", after=("a",)), plugin("a"))
    assert await kernel.bus.apply(Words(())) == ("a", "b")

    await kernel.stop_plugin("a")
    await kernel.start_plugin(plugin("a"))
    assert await kernel.bus.apply(Words(())) == ("a", "b")

    await kernel.start_plugin(plugin("c", before=("b",)))
    await kernel.start_plugin(plugin("d"))
    assert await kernel.bus.apply(Words(())) == ("a", "c", "b", "d")
    assert [step.plugin for step in kernel.plan(Words).steps] == ["a", "c", "b", "d"]
    assert "c says before='b'" in kernel.plan(Words).steps[2].reason
    assert kernel.plan(Words).steps[3].reason == "started while the kernel ran"

    with pytest.raises(OrderCycle):
        await kernel.start_plugin(plugin("e", after=("b",), before=("a",)))
    assert [host.name for host in kernel.hosts] == ["a", "c", "b", "d"]


async def test_a_plugin_that_listens_to_nothing_may_turn_others_round(kernel_factory):
    kernel = await kernel_factory(
        FakePlugin("b", {Words: adds("b")}), FakePlugin("c", {Words: adds("c")})
    )
    assert await kernel.bus.apply(Words(())) == ("b", "c")

    await kernel.start_plugin(FakePlugin("a", after=("c",), before=("b",)))

    assert await kernel.bus.apply(Words(())) == ("c", "b")


async def test_plugins_close_in_the_reverse_of_the_order_they_came_to_stand_in():
    log: list[str] = []
    async with Kernel(plugins=[FakePlugin("b", after=("c",), log=log)]) as kernel:
        await kernel.start_plugin(FakePlugin("c", log=log))

    assert log == ["b: setup", "c: setup", "b: closed", "c: closed"]


@pytest.mark.parametrize("readers", [1, 2])
async def test_what_a_task_of_the_application_has_only_begun_to_read_is_read_to_the_end(readers):
    got: list[Any] = []

    async def read_one():
        got.append(await anext(stream))

    async def read_all():
        async for tick in stream:
            await asyncio.sleep(0)
            got.append(tick)

    async with Kernel() as kernel:
        stream = kernel.bus.stream(Tick).open()
        for number in range(200):
            await kernel.bus.emit(Tick(number))
        if readers == 2:
            await asyncio.create_task(read_one())
        reading = asyncio.create_task(read_all())
    await reading

    assert got == [Tick(number) for number in range(200)]
