"""What may be asked of a kernel in which phase of its life: the table of the docs, cell by cell."""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from runbus.errors import BusClosed, WrongLoop
from runbus.events import Around, Collector, Decorate, First, Notify, Pipeline, Shutdown, Stream
from runbus.kernel import Kernel
from runbus.kernel._states import ALLOWED, KernelState
from runbus.testing import FakePlugin, leaks

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "kernel.md"


class Fact(Notify, frozen=True):
    pass


class Tick(Stream, frozen=True):
    pass


class Sum(Pipeline[int], frozen=True):
    pass


class Items(Collector[int], frozen=True):
    pass


class Ask(First[int], frozen=True):
    pass


class Block(Around, frozen=True):
    pass


class Wrap(Decorate, frozen=True):
    pass


async def nothing(*_: Any) -> None:
    pass


async def first(kernel):
    kernel.bus.on(Ask, lambda event: 1)
    await kernel.bus.first(Ask())


async def around(kernel):
    async with kernel.bus.around(Block()):
        pass


async def wait_for(kernel):
    wait = kernel.bus.wait_for(Fact, timeout=0.001)
    with pytest.raises(TimeoutError):
        await wait


async def stream(kernel):
    async with kernel.bus.stream(Tick):
        pass


async def emit_nowait(kernel):
    kernel.bus.emit_nowait(Tick())


async def decorate(kernel):
    kernel.bus.decorate(Wrap(), nothing)


async def on(kernel):
    kernel.bus.on(Fact, nothing).close()


async def start_plugin(kernel):
    await kernel.start_plugin(FakePlugin("late"))


async def release(kernel):
    kernel.release("p")


async def plan(kernel):
    kernel.plan(Fact)


async def health(kernel):
    kernel.health()


async def stop(kernel):
    kernel.stop()


async def scope_on(kernel):
    scope_of(kernel).on(Fact, nothing).close()


async def scope_stream(kernel):
    scope_of(kernel).stream(Tick).close()


async def scope_start(kernel):
    scope_of(kernel).start(nothing)


async def scope_enter(kernel):
    await scope_of(kernel).enter(nullcontext())


SCOPES: dict[Kernel, Any] = {}


def scope_of(kernel):
    return SCOPES[kernel].scope


CALLS = {
    "start_plugin": start_plugin,
    "stop_plugin": lambda kernel: kernel.stop_plugin("other"),
    "release": release,
    "check_health": lambda kernel: kernel.check_health(),
    "stop": stop,
    "plan": plan,
    "health": health,
    "publish": lambda kernel: kernel.bus.publish(Fact()),
    "emit": lambda kernel: kernel.bus.emit(Tick()),
    "emit_nowait": emit_nowait,
    "publish_from_thread": lambda kernel: asyncio.to_thread(kernel.bus.publish_from_thread, Fact()),
    "apply": lambda kernel: kernel.bus.apply(Sum(1)),
    "collect": lambda kernel: kernel.bus.collect(Items()),
    "first": first,
    "around": around,
    "decorate": decorate,
    "bus.on": on,
    "bus.stream": stream,
    "wait_for": wait_for,
    "scope.on": scope_on,
    "scope.stream": scope_stream,
    "scope.start": scope_start,
    "scope.enter": scope_enter,
    "scope.thread": lambda kernel: scope_of(kernel).thread(int),
}


def table():
    """Yield call, phase and answer of every cell of the table in the docs."""
    lines = PAGE.read_text().partition("## What works when")[2].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    phases = rows[0][1:]
    for calls, *answers in rows[1:]:
        for call in re.findall(r"`([\w.]+)`", calls):
            for phase, answer in zip(phases, answers, strict=True):
                if answer in ("yes", "no"):
                    yield call, phase, answer


CELLS = list(table())


def test_the_table_of_the_docs_is_the_table_of_the_code():
    assert {call for call, _, _ in CELLS} == set(CALLS)
    for call, states in ALLOWED.items():
        told = {phase for other, phase, answer in CELLS if other == call and answer == "yes"}
        assert told == {state.value for state in states}, call
    assert {phase for _, phase, _ in CELLS} == {state.value for state in KernelState}


@pytest.mark.parametrize(("call", "phase", "answer"), CELLS)
async def test_a_call_works_in_the_phases_that_the_docs_say(call, phase, answer):
    outcomes: list[BaseException | None] = []

    async def attempt(*_: Any) -> None:
        try:
            async with asyncio.timeout(120):
                await CALLS[call](kernel)
        except Exception as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    plugin = FakePlugin(
        "p",
        {Shutdown: attempt} if phase == "draining" else {},
        setup=attempt if phase == "starting" else None,
    )
    kernel = Kernel(plugins=[FakePlugin("other"), plugin])
    SCOPES[kernel] = plugin
    if phase == "new":
        await attempt()
    # Asked to stop while it starts, it is a kernel that was never entered.
    stopped_early = call == "stop" and phase == "starting"
    with pytest.raises(BusClosed) if stopped_early else nullcontext():
        async with kernel:
            if phase == "open":
                await attempt()
            if call == "stop" and phase == "open":
                await asyncio.Event().wait()
    if phase == "closed":
        await attempt()
    del SCOPES[kernel]

    (outcome,) = outcomes
    if answer == "yes":
        assert outcome is None
    else:
        assert isinstance(outcome, BusClosed)
        assert outcome.state in (phase, "closed")
        if call in ALLOWED:
            assert (outcome.verb, outcome.state) == (call, phase)
    assert leaks(kernel) == []


@pytest.mark.parametrize("call", ["start_plugin", "stop_plugin", "release", "check_health", "stop"])
async def test_no_other_thread_may_ask_anything_of_a_running_kernel(call: str) -> None:
    async with Kernel(plugins=[FakePlugin("other")]) as kernel:

        def ask() -> None:
            asyncio.run(CALLS[call](kernel))

        with pytest.raises(WrongLoop) as caught:
            await asyncio.to_thread(ask)
        await asyncio.sleep(0)  # which a stop would cancel

    assert (caught.value.verb, caught.value.where) == (call, "thread")
    assert f"call {call}() in the bus's own loop" in str(caught.value.hint)
