"""Start and stop order of plugins, for any wishes and any sequence of stops and starts."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runbus.errors import OrderCycle
from runbus.events import Notify
from runbus.kernel import Kernel
from runbus.plugins._order import Wish, resolve_order
from runbus.testing import FakePlugin, leaks

NAMES = "abcdef"


@st.composite
def wishes(draw):
    names = draw(st.permutations(NAMES))
    some = st.lists(st.sampled_from(NAMES), max_size=2).map(tuple)
    return [Wish(name, after=draw(some), before=draw(some), requires=draw(some)) for name in names]


@given(wishes())
@settings(max_examples=400)
def test_an_order_keeps_every_wish_and_a_circle_is_a_real_one(wishes):
    circle: OrderCycle | None = None
    order: list[str] = []
    try:
        order = [place.name for place in resolve_order(wishes)]
    except OrderCycle as error:
        circle = error
    said = {wish.name: wish for wish in wishes}
    if circle is not None:
        for first, then in zip(circle.path, circle.path[1:], strict=False):
            assert (
                first in said[then].after
                or first in said[then].requires
                or then in said[first].before
            )
        assert circle.path[0] == circle.path[-1]
        return

    assert sorted(order) == sorted(NAMES)
    for wish in wishes:
        for other in (*wish.after, *wish.requires):
            assert order.index(other) < order.index(wish.name)
        for other in wish.before:
            assert order.index(wish.name) < order.index(other)


@given(st.permutations(NAMES))
def test_without_wishes_the_list_is_the_order(names):
    assert [place.name for place in resolve_order([Wish(name) for name in names])] == list(names)


class Fact(Notify, frozen=True):
    pass


class KernelMachine(RuleBasedStateMachine):
    """Stops and starts plugins of a running kernel and compares it with a list of names."""

    @initialize(names=st.permutations(NAMES), data=st.data())
    def start(self, names, data):
        self.runner = asyncio.Runner()
        self.log: list[str] = []
        self.requires: dict[str, tuple[str, ...]] = {}
        self.there: list[str] = []
        plugins = []
        for name in names:
            known = st.lists(st.sampled_from(sorted(self.requires)), max_size=2, unique=True)
            required = tuple(data.draw(known)) if self.requires else ()
            plugins.append(self.make(name, required))
            self.there.append(name)
        self.kernel = Kernel(plugins=plugins)
        self.runner.run(self.kernel.__aenter__())
        assert self.log == [f"{name}: setup" for name in names]
        self.log.clear()

    def make(self, name, required):
        self.requires[name] = required
        return FakePlugin(name, {Fact: None}, requires=required, log=self.log)

    def leaving(self, name):
        going = {name}
        for other in self.there:
            if going & set(self.requires[other]):
                going.add(other)
        return [other for other in reversed(self.there) if other in going]

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def stop_one(self, data):
        name = data.draw(st.sampled_from(self.there))
        going = self.leaving(name)
        # Those that require the plugin go first, latest first; the plugin itself goes last.
        going.remove(name)
        going.append(name)
        self.runner.run(self.kernel.stop_plugin(name))
        self.there = [other for other in self.there if other not in going]
        assert self.log == [f"{other}: closed" for other in going]
        self.log.clear()

    @precondition(lambda self: len(self.there) < len(NAMES))
    @rule(data=st.data())
    def start_one(self, data):
        name = data.draw(st.sampled_from([n for n in NAMES if n not in self.there]))
        self.runner.run(self.kernel.start_plugin(self.make(name, ())))
        self.there.append(name)
        assert self.log == [f"{name}: setup"]
        self.log.clear()

    @invariant()
    def calls_follow_the_order(self):
        if not hasattr(self, "kernel"):
            return
        self.runner.run(self.publish())
        assert self.log == [f"{name}: Fact" for name in self.there]
        self.log.clear()
        assert [step.plugin for step in self.kernel.plan(Fact).steps] == self.there

    async def publish(self):
        receipt = await self.kernel.bus.publish(Fact())
        assert not receipt.errors

    def teardown(self):
        if hasattr(self, "kernel"):
            self.runner.run(self.kernel.__aexit__(None, None, None))
            assert self.log == [f"{name}: closed" for name in reversed(self.there)]
            assert leaks(self.kernel) == []
            self.runner.close()


TestKernel = KernelMachine.TestCase
TestKernel.settings = settings(max_examples=40, stateful_step_count=12)
