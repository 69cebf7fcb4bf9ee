"""From where and when a bus may be used, and which route an event takes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runbus.bus._state import BusState, Phase, wrong_kind
from runbus.errors import BusClosed, WrongKind, WrongLoop
from runbus.events import First, Kind, Notify


class Fact(Notify, frozen=True):
    pass


class Which(First[int], frozen=True):
    pass


CHECKS = [BusState.check_loop, BusState.check_thread]
Check = Callable[[BusState, str], None]


async def opened() -> BusState:
    state = BusState()
    state.open()
    return state


def in_a_thread(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises in another thread."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("check", CHECKS)
async def test_a_bus_is_used_from_the_loop_that_opened_it(check: Check) -> None:
    state = await opened()

    check(state, "publish")
    error = in_a_thread(lambda: check(state, "publish"))

    assert isinstance(error, WrongLoop)
    assert (error.verb, error.where) == ("publish", "thread")


def test_another_loop_of_the_same_thread_is_another_one() -> None:
    state = asyncio.run(opened())

    async def uses() -> None:
        state.check_thread("on")  # to subscribe takes no loop
        state.check_loop("publish")

    with pytest.raises(WrongLoop) as caught:
        asyncio.run(uses())
    assert (caught.value.verb, caught.value.where) == ("publish", "loop")


def test_a_bus_that_was_never_open_takes_subscriptions_from_anywhere_and_nothing_else() -> None:
    state = BusState()

    assert in_a_thread(lambda: state.check_thread("on")) is None
    with pytest.raises(BusClosed) as caught:
        state.check_loop("publish")
    assert (caught.value.verb, caught.value.state) == ("publish", "new")
    with pytest.raises(BusClosed) as caught:
        state.check_phase("publish", Phase.SEALED)
    assert (caught.value.verb, caught.value.state) == ("publish", "new")


async def test_a_closed_bus_takes_subscriptions_from_anywhere() -> None:
    state = await opened()
    state.enter_phase(Phase.CLOSED)

    assert in_a_thread(lambda: state.check_thread("on")) is None


@pytest.mark.parametrize("check", CHECKS)
async def test_a_forked_child_may_not_use_the_bus_of_its_parent(check: Check) -> None:
    state = await opened()
    state.forked()

    with pytest.raises(WrongLoop) as caught:
        check(state, "publish")
    assert (caught.value.verb, caught.value.where) == ("publish", "fork")


async def test_a_bus_that_was_closed_before_the_fork_is_closed_in_the_child() -> None:
    state = await opened()
    state.enter_phase(Phase.CLOSED)
    state.forked()

    assert state.phase == Phase.CLOSED
    state.check_loop("publish")
    with pytest.raises(BusClosed) as caught:
        state.check_phase("publish", Phase.SEALED)
    assert caught.value.state == "closed"


async def test_no_phase_is_gone_back_to() -> None:
    state = await opened()
    state.enter_phase(Phase.SEALED)
    state.enter_phase(Phase.DRAINING)

    assert state.phase == Phase.SEALED


async def test_the_route_of_a_class_is_found_once_until_something_changes() -> None:
    state = await opened()
    tables = [
        (Fact(), Kind.NOTIFY, state.notify_routes),
        (Which(), Kind.FIRST, state.request_routes),
    ]

    for event, kind, table in tables:
        route = state.find_route(event, kind, table)
        assert table == {type(event): route}
        assert state.find_route(event, kind, table) is route

    state.forget_routes()
    assert [table for _, _, table in tables] == [{}, {}]


@pytest.mark.parametrize("event", [Fact(), Which()])
@pytest.mark.parametrize("phase", [Phase.OPEN, Phase.DRAINING, Phase.SEALED, Phase.CLOSED])
async def test_a_bus_that_ends_takes_facts_for_longer_than_requests(phase: int, event: Any) -> None:
    state = await opened()
    state.enter_phase(phase)

    last = Phase.SEALED if isinstance(event, Fact) else Phase.OPEN
    if phase <= last:
        assert state.find_route(event, event.kind, {}) is not None
        return
    with pytest.raises(BusClosed) as caught:
        state.find_route(event, event.kind, {})
    assert (caught.value.verb, caught.value.state) == (event.kind.verb, Phase.NAMES[phase])


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Fact, ("Fact", "", "first", "", True)),
        (Fact(), ("Fact", "notify", "first", "publish", False)),
        (3, ("int", "", "first", "", False)),
        (int, ("type", "", "first", "", False)),
    ],
)
async def test_what_a_verb_does_not_take_is_named(event: Any, fields: tuple[Any, ...]) -> None:
    state = await opened()
    errors: list[WrongKind] = [wrong_kind(event, "first")]
    with pytest.raises(WrongKind) as caught:
        state.find_route(event, Kind.FIRST, state.request_routes)
    errors.append(caught.value)

    for error in errors:
        found = (error.event, error.kind, error.verb, error.right_verb, error.is_class)
        assert found == fields


async def test_a_dispatch_knows_its_event_its_task_and_its_limit() -> None:
    state, event = await opened(), Fact()

    first, second = state.frame(event, 3.0), state.frame(event, 3.0)

    assert first.event is event
    assert first.task is asyncio.current_task()
    assert first.limit_s == 3.0
    assert first.seq < second.seq
    with state.running(first):
        assert state.active == {first}
    assert state.active == set()
