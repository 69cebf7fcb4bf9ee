"""A stream in memory: bounded, in order, and nothing is lost that was not acknowledged."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runbus.errors import DeliveryExpired, FieldInvalid, QueueFull, QueueNotFound
from runbus.hub import Delivery, MemoryStream


def stream(**options: Any) -> MemoryStream:
    made = MemoryStream(**options)
    made.initialize()
    made.create_queue("q")
    return made


def test_data_comes_out_in_the_order_in_which_it_went_in() -> None:
    one = stream()
    for number in range(3):
        one.push_data("q", {"number": number})

    assert [one.pull_data("q") for _ in range(4)] == [*({"number": n} for n in range(3)), None]


def test_neither_side_can_change_what_the_other_one_has() -> None:
    one = stream()
    data = {"values": [1]}
    one.push_data("q", data)
    data["values"].append(2)

    assert one.pull_data("q") == {"values": [1]}


def test_an_array_becomes_lists() -> None:
    one = stream()
    one.push_data("q", {"x": np.arange(4.0).reshape(2, 2), "n": np.int64(3)})

    assert one.pull_data("q") == {"x": [[0.0, 1.0], [2.0, 3.0]], "n": 3}


def test_what_json_cannot_hold_is_refused_and_nothing_is_put_anywhere() -> None:
    one = stream()
    with pytest.raises(FieldInvalid, match="JSON cannot hold it"):
        one.push_data("q", object())

    assert one.pull_data("q") is None


def test_what_was_not_acknowledged_in_time_is_handed_out_again_before_the_rest() -> None:
    one = stream(redeliver_after_s=0)
    one.push_data("q", "first")
    one.push_data("q", "second")
    slow = one.take("q")
    again = one.take("q")

    assert slow is not None
    assert again is not None
    assert (slow.data, again.data, slow.attempt, again.attempt) == ("first", "first", 1, 2)
    with pytest.raises(DeliveryExpired):
        one.acknowledge(slow)
    one.acknowledge(again)
    assert one.pull_data("q") == "second"


def test_what_is_held_is_handed_to_nobody_else() -> None:
    one = stream()
    one.push_data("q", "first")
    held = one.take("q")

    assert held is not None
    assert one.take("q") is None
    one.give_back(held)
    one.give_back(held)
    assert one.pull_data("q") == "first"


def test_a_consumer_that_disconnects_has_lost_nothing() -> None:
    one = stream()
    for number in range(3):
        one.push_data("q", number)
    one.take("q")
    one.take("q")
    one.disconnect()

    assert [one.pull_data("q") for _ in range(3)] == [0, 1, 2]


def test_messages_and_bytes_are_bounded_and_what_is_held_counts() -> None:
    one = stream(capacity=2, capacity_bytes=10)
    one.push_data("q", 1)
    one.push_data("q", 2)
    one.take("q")
    with pytest.raises(QueueFull, match="2 messages"):
        one.push_data("q", 3)
    one.flush_queue("q")
    with pytest.raises(QueueFull, match="10 bytes"):
        one.push_data("q", "0123456789")
    one.push_data("q", "0123")
    assert one.health_check()[1]["bytes"] == 7


def test_queues_are_bounded_in_number() -> None:
    one = stream()
    for number in range(999):
        one.create_queue(f"q{number}")
    with pytest.raises(QueueFull, match="1,000 queues"):
        one.create_queue("another")
    one.create_queue("q")


def test_an_unknown_queue_is_told_with_those_that_read_alike() -> None:
    one = stream()
    one.create_queue("bearings")
    for call in (one.pull_data, one.take, one.flush_queue, lambda name: one.push_data(name, 1)):
        with pytest.raises(QueueNotFound) as told:
            call("bearing")
        assert told.value.hint == "did you mean 'bearings'"


@pytest.mark.parametrize("queue_name", ["", 3])
def test_a_queue_has_a_name(queue_name: Any) -> None:
    with pytest.raises(FieldInvalid):
        stream().create_queue(queue_name)


@pytest.mark.parametrize("field", ["capacity", "capacity_bytes", "redeliver_after_s"])
def test_a_bound_that_makes_no_sense_is_refused(field: str) -> None:
    options: dict[str, Any] = {field: -1}
    with pytest.raises(FieldInvalid, match=field):
        MemoryStream(**options)


def test_threads_may_share_a_stream_and_each_message_goes_to_one_of_them() -> None:
    one = stream()
    taken: deque[int] = deque()

    def consume() -> None:
        while len(taken) < 400:
            if (delivery := one.take("q")) is not None:
                one.acknowledge(delivery)
                taken.append(delivery.data)

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(400):
        one.push_data("q", number)
    for thread in threads:
        thread.join(120)
    assert sorted(taken) == list(range(400))


class Stream(RuleBasedStateMachine):
    """What a stream does is what a list of all that is not acknowledged says."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = stream(capacity=5)
        self.waiting: list[int] = []
        self.held: list[Delivery] = []
        self.number = 0

    @rule()
    def push(self) -> None:
        if len(self.waiting) + len(self.held) == 5:
            with pytest.raises(QueueFull):
                self.stream.push_data("q", self.number)
            return
        self.stream.push_data("q", self.number)
        self.waiting.append(self.number)
        self.number += 1

    @rule()
    def take(self) -> None:
        found = self.stream.take("q")
        assert (found and found.data) == (self.waiting[0] if self.waiting else None)
        if found is not None:
            self.held.append(found)
            self.waiting.pop(0)

    @precondition(lambda self: self.held)
    @rule(at=st.integers(0, 4), is_done=st.booleans())
    def answer(self, at: int, is_done: bool) -> None:
        delivery = self.held.pop(at % len(self.held))
        if is_done:
            self.stream.acknowledge(delivery)
        else:
            self.stream.give_back(delivery)
            self.waiting.insert(0, delivery.data)

    @rule()
    def disconnect(self) -> None:
        self.stream.disconnect()
        self.waiting = [*sorted(one.data for one in self.held), *self.waiting]
        self.held = []

    @invariant()
    def counts_are_true(self) -> None:
        _, details = self.stream.health_check()
        counts = (details["waiting"]["q"], details["held"]["q"])
        assert counts == (len(self.waiting), len(self.held))
        kept = [*self.waiting, *(one.data for one in self.held)]
        assert details["bytes"] == sum(len(str(one)) for one in kept)


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
