"""The order of plugins: §5.2."""

from __future__ import annotations

import asyncio

import pytest

from runbus.errors import (
    DuplicatePlugin,
    InvalidOption,
    InvalidPlugin,
    MissingPlugin,
    OrderCycle,
    PluginNotFound,
    WrongKind,
)
from runbus.events import Event, Notify, Stream, Teardown
from runbus.kernel import Kernel
from runbus.plugins._order import Wish, resolve_order
from runbus.testing import FakePlugin


def order(*wishes):
    return [place.name for place in resolve_order(list(wishes))]


CASES = [
    ([Wish("a"), Wish("b"), Wish("c")], "abc"),
    ([Wish("a", after=("c",)), Wish("b"), Wish("c")], "bca"),
    ([Wish("a"), Wish("b"), Wish("c", before=("a",))], "bca"),
    ([Wish("a", requires=("b",)), Wish("b")], "ba"),
    ([Wish("a", after=("nobody",)), Wish("b", before=("nobody",))], "ab"),
    ([Wish("d"), Wish("c", after=("b",)), Wish("b", after=("a",)), Wish("a")], "dabc"),
    ([Wish("a", after=("b",), requires=("b",)), Wish("b")], "ba"),
]


@pytest.mark.parametrize(("wishes", "expected"), CASES)
def test_the_list_is_the_order_unless_somebody_says_otherwise(wishes, expected):
    assert "".join(order(*wishes)) == expected


def test_a_circle_is_named_with_whoever_declared_each_step():
    with pytest.raises(OrderCycle) as caught:
        order(Wish("x"), Wish("a", after=("b",)), Wish("b", after=("c",)), Wish("c", after=("a",)))

    assert caught.value.path[0] == caught.value.path[-1]
    assert set(caught.value.path) == {"a", "b", "c"}
    assert "a says after='b'" in caught.value.edges
    assert len(caught.value.edges) == 3


def test_before_and_after_can_make_a_circle_too():
    with pytest.raises(OrderCycle) as caught:
        order(Wish("a", before=("b",)), Wish("b", before=("a",)))
    assert set(caught.value.edges) == {"a says before='b'", "b says before='a'"}


def test_a_plugin_after_itself_is_a_circle():
    with pytest.raises(OrderCycle):
        order(Wish("a", after=("a",)))


def test_a_missing_requirement_names_what_looks_alike():
    with pytest.raises(MissingPlugin) as caught:
        order(Wish("a", requires=("stor",)), Wish("store"))
    assert caught.value.similar == ("store",)
    assert "did you mean 'store'" in str(caught.value.hint)


def test_two_plugins_of_one_name_are_refused():
    with pytest.raises(DuplicatePlugin):
        order(Wish("a"), Wish("a"))


class NoName:
    async def setup(self, scope):
        pass


class NoSetup:
    name = "x"


class SyncSetup:
    name = "x"

    def setup(self, scope):
        pass


class TextAfter(NoName):
    name = "x"
    after = "y"


BAD = [
    (NoName(), "has no name"),
    (NoSetup(), "has no setup"),
    (SyncSetup(), "not async"),
    (FakePlugin, "is a class"),
    (TextAfter(), "instead of a tuple"),
    (3, "has no name"),
]


@pytest.mark.parametrize(("plugin", "said"), BAD)
def test_what_is_no_plugin_is_refused_at_construction(plugin, said):
    with pytest.raises(InvalidPlugin, match=said):
        Kernel(plugins=[plugin])


def test_an_unknown_name_is_refused_at_construction():
    with pytest.raises(PluginNotFound):
        Kernel(plugins=["no-such-plugin"])


class Fact(Notify, frozen=True):
    pass


class Tick(Stream, frozen=True):
    pass


class Over(Teardown, frozen=True):
    pass


async def test_the_plan_shows_the_order_and_the_reasons(kernel_factory):
    kernel = await kernel_factory(
        FakePlugin("a", {Fact: None, Over: None}, after=("b",)),
        FakePlugin("b", {Fact: None, Over: None}),
    )
    kernel.bus.on(Fact, print)
    plan = kernel.plan(Fact)

    assert [step.plugin for step in plan.steps] == ["b", "a", "application"]
    assert plan.steps[0].reason == "a had to wait"
    assert plan.steps[1].reason == "a says after='b'"
    assert str(plan).splitlines()[0] == "Fact (notify)"
    assert "1. b: FakePlugin._note — a had to wait" in str(plan)
    assert [step.plugin for step in kernel.plan(Over).steps] == ["a", "b"]
    assert "nobody listens" in str(kernel.plan(Tick))
    async with kernel.bus.stream(Tick, maxsize=7):
        assert "stream of 7, DropOldest" in str(kernel.plan(Tick))


async def fails(event):
    raise ValueError("no")


async def test_the_plan_is_printed_with_all_that_it_knows(kernel_factory):
    kernel = await kernel_factory(FakePlugin("a", {Fact: fails}), FakePlugin("b", {Fact: None}))
    kernel.bus.on(Fact, print)
    while not kernel.plan(Fact).steps[0].note:
        await kernel.bus.publish(Fact())

    async with kernel.bus.stream(Fact, maxsize=7, overflow="drop_newest"):
        assert str(kernel.plan(Fact)).splitlines() == [
            "Fact (notify)",
            "  1. a: fails [quarantined] — place in the list",
            "  2. b: FakePlugin._note — place in the list",
            "  3. application: print — the application comes last",
            "  4. application: stream of 7, DropNewest — own mailbox",
        ]
        assert [step.note for step in kernel.plan(Fact).steps] == ["quarantined", "", "", ""]
    assert str(kernel.plan(Event)).startswith("Event (any)\n")
    with pytest.raises(WrongKind, match=r" plan\(\)"):
        kernel.plan(int)


def test_a_text_is_no_list_of_plugins():
    with pytest.raises(InvalidPlugin, match="plugins='jsonl' is not a plugin: it is not a list"):
        Kernel(plugins="jsonl")


def test_a_trace_that_is_no_path_is_refused_at_once():
    with pytest.raises(InvalidOption, match="kernel: trace=5 is not a path"):
        Kernel(trace=5)  # type: ignore[arg-type]


async def test_a_reason_to_stop_that_is_no_text_is_refused_and_nothing_stops(kernel_factory):
    kernel = await kernel_factory()
    with pytest.raises(InvalidOption, match="kernel: reason=5 is not a text"):
        kernel.stop(5)
    await asyncio.sleep(0)  # which a stop would cancel
