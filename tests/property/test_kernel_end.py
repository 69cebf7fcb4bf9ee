"""The end of a kernel has one bound, whatever is stubborn in it and in whichever phase."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from runbus.errors import PluginError
from runbus.events import KernelStopping, Notify, Shutdown, Stream
from runbus.kernel import Kernel
from runbus.testing import FakeClock, FakePlugin

BUDGET_S = 8.0
GRACE_S = 1.0
LEAST_S = 0.1
"""What each part is granted at least: 50 ms to end by itself, and 50 ms once it was cancelled."""

STEP_S = 0.25


class Fact(Notify, frozen=True):
    pass


class Tick(Stream, frozen=True):
    pass


class Odd(BaseException):
    pass


class Parts:
    """What can go wrong in a plugin: in `kinds` by name, each with what it notes when it ends."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.closed: list[str] = []

    async def hang(self, *_: object) -> None:
        await self.free.wait()

    async def ignore(self, *_: object) -> None:
        while not self.free.is_set():
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                continue

    async def fail(self, *_: object) -> None:
        raise Odd

    def behave(self, how: str) -> Any:
        return {"hangs": self.hang, "ignores": self.ignore, "fails": self.fail}[how]

    def manager(self, name: str, how: str | None) -> Any:
        @asynccontextmanager
        async def part():
            yield
            self.closed.append(name)
            if how is not None:
                await self.behave(how)()

        return part()

    def plugin(self, name: str, parts: dict[str, str]) -> FakePlugin:
        handlers: dict[type[Any], Any] = {}
        if "told" in parts:
            handlers[Shutdown] = self.behave(parts["told"])
        if "warned" in parts:
            handlers[KernelStopping] = self.behave(parts["warned"])
        if "fact" in parts:
            handlers[Fact] = self.behave(parts["fact"])

        async def setup(scope):
            await scope.enter(self.manager(name, parts.get("closing")))
            if "drain" in parts:
                scope.start(self.behave(parts["drain"]), drain=True)
            if "task" in parts:
                scope.start(self.behave(parts["task"]))
            if "reader" in parts:
                stream = scope.stream(Tick)
                reads = self.behave(parts["reader"])

                async def read():
                    await anext(stream)
                    await reads()

                scope.start(read)

        return FakePlugin(name, handlers, setup=setup)


HOWS = st.sampled_from(["hangs", "ignores", "fails"])
PLUGINS = st.dictionaries(
    st.sampled_from(["told", "warned", "fact", "closing", "drain", "task", "reader"]), HOWS
)


class KernelEnd(RuleBasedStateMachine):
    """A kernel with stubborn parts, to which things happen before it ends."""

    @initialize(plugins=st.lists(PLUGINS, max_size=4), cancels=st.integers(0, 3))
    def begin(self, plugins, cancels):
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.parts = Parts()
        self.number = len(plugins)
        made = [self.parts.plugin(f"p{n}", parts) for n, parts in enumerate(plugins)]
        self.stubborn = sum(map(len, plugins))
        self.kernel = Kernel(plugins=made, timers=self.clock, shutdown_budget_s=BUDGET_S)
        self.background: list[asyncio.Task[Any]] = []
        self.cancels = cancels
        self.wait(self.kernel.__aenter__())

    def wait(self, work):
        return self.loop.run_until_complete(asyncio.wait_for(work, 120))

    def begin_work(self, work):
        async def go():
            self.background.append(asyncio.ensure_future(work))
            for _ in range(5):
                await asyncio.sleep(0)

        self.wait(go())

    @rule(parts=PLUGINS)
    def start_another(self, parts):
        plugin = self.parts.plugin(f"p{self.number}", parts)
        self.number += 1
        self.stubborn += len(parts)
        self.begin_work(self.kernel.start_plugin(plugin))

    @rule(which=st.integers(0, 5))
    def stop_one(self, which):
        self.begin_work(self.kernel.stop_plugin(f"p{which}"))

    @rule()
    def publish_a_fact(self):
        self.begin_work(self.kernel.bus.publish(Fact()))

    @rule()
    def publish_a_fact_from_a_thread(self):
        self.begin_work(asyncio.to_thread(self.kernel.bus.publish_from_thread, Fact()))

    @rule()
    def emit(self):
        self.begin_work(self.kernel.bus.emit(Tick()))

    @rule(seconds=st.sampled_from([0.0, 1.0, 11.0]))
    def let_time_pass(self, seconds):
        self.wait(self.clock.advance(seconds))

    async def end(self, cancels):
        """Leave the kernel, cancelled so often meanwhile."""
        began_ns = self.clock.monotonic_ns()
        leaving = asyncio.ensure_future(self.kernel.__aexit__(None, None, None))
        bound_s = BUDGET_S + GRACE_S + LEAST_S * (self.stubborn + 2 * self.number) + STEP_S
        while not leaving.done():
            await self.clock.advance(STEP_S)
            if cancels:
                cancels -= 1
                leaving.cancel()
            await asyncio.sleep(0.002)
            took_s = (self.clock.monotonic_ns() - began_ns) / 1e9
            assert took_s <= bound_s, f"{took_s} s"
        assert self.kernel.bus.is_closed
        error = None if leaving.cancelled() else leaving.exception()
        if isinstance(error, BaseExceptionGroup):
            assert all(isinstance(one, (PluginError, Odd)) for one in error.exceptions), error
        for host in self.kernel.hosts:
            ended = host.task is not None and host.task.done()
            named = any(host.name in str(one) for one in host.failures) or host.error is not None
            assert ended or named, host.name
            assert host.name in self.parts.closed or named, host.name

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.wait(self.end(self.cancels))
        finally:
            self.parts.free.set()
            for task in self.background:
                task.cancel()
            self.wait(asyncio.sleep(0.01))
            self.loop.run_until_complete(self._collect())
            self.loop.close()

    async def _collect(self):
        await asyncio.gather(*self.background, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=120)


TestKernelEnd = KernelEnd.TestCase
TestKernelEnd.settings = settings(max_examples=25, stateful_step_count=8)
