"""Values on a device are kept at the call and fetched later: `log` never waits for a device.

There is no device here. `OnDevice` has what an array on one has (DLPack's protocol), and notes who
waits for it; `tests/services/test_torch.py` does the same with torch's own tensors.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from runbus._core import MetricReader, MetricWriter
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KIND_CUDA = 2


class OnDevice:
    """A number on a device; a thread that asks for it waits."""

    def __init__(self, value: Any, *, dtype: str = "float32", shape: tuple[int, ...] = ()) -> None:
        self.value = value
        self.dtype = dtype
        self.shape = shape
        self.asked_by: list[str] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return KIND_CUDA, 0

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("the array is copied, not exported")

    def copy(self) -> OnDevice:
        copy = OnDevice(self.value, dtype=self.dtype, shape=self.shape)
        copy.asked_by = self.asked_by
        return copy

    def item(self) -> Any:
        self.asked_by.append(threading.current_thread().name)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def __float__(self) -> float:
        raise AssertionError("synchronised")


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[MetricWriter]:
    writer = MetricWriter(tmp_path / "journal")
    yield writer
    writer.close()


def points(writer: MetricWriter) -> list[tuple[str, int, float, int]]:
    columns = MetricReader(writer.path).poll()
    if columns is None:
        return []
    count = len(columns)
    names = [columns.names[index] for index in struct.unpack(f"<{count}I", columns.series)]
    numbers = [
        struct.unpack(f"<{count}{code}", column)
        for code, column in (
            ("q", columns.steps),
            ("d", columns.values),
            ("q", columns.times),
        )
    ]
    return list(zip(names, *numbers, strict=True))


RUNGS: list[tuple[str, Callable[[MetricWriter, Any], None]]] = [
    ("log", lambda writer, value: writer.log("x", value, 5)),
    ("log step=", lambda writer, value: writer.log("x", value, step=5)),
    ("dict", lambda writer, value: writer.log({"x": value}, step=5)),
    ("nested", lambda writer, value: writer.log({"a": {"x": value}}, step=5)),
    ("keywords", lambda writer, value: writer.log(step=5, x=value)),
    ("append", lambda writer, value: writer.series("x").append(value, 5)),
    ("group", lambda writer, value: writer.group("x").log(5, value)),
]


@pytest.mark.parametrize("rung", [rung for _, rung in RUNGS], ids=[name for name, _ in RUNGS])
def test_no_call_asks_the_device_and_the_point_is_that_of_the_call(
    writer: MetricWriter, rung: Callable[[MetricWriter, Any], None]
) -> None:
    value = OnDevice(0.25)
    before = time.time_ns()
    rung(writer, value)
    after = time.time_ns()
    asked = list(value.asked_by)
    value.value = -1.0  # Changed in place after it was logged.

    writer.sync()

    assert threading.main_thread().name not in asked
    [(name, step, number, at)] = points(writer)
    assert (name.removeprefix("a/"), step, number) == ("x", 5, 0.25)
    assert before <= at <= after
    assert (writer.waiting, writer.accepted, writer.dropped) == (0, 1, 0)


def test_what_is_known_of_a_row_is_written_at_once(writer: MetricWriter) -> None:
    writer.log({"loss": OnDevice(0.5), "lr": 0.1, "b": {"c": 2.0}}, step=3)
    writer.group("x", "y").log(4, 1.0, OnDevice(7, dtype="int64"))

    assert {point[:3] for point in points(writer)} >= {("lr", 3, 0.1), ("b/c", 3, 2.0)}
    writer.fetch()
    assert {point[:3] for point in points(writer)} == {
        ("lr", 3, 0.1),
        ("b/c", 3, 2.0),
        ("loss", 3, 0.5),
        ("x", 4, 1.0),
        ("y", 4, 7.0),
    }


def test_automatic_steps_count_values_that_are_not_there_yet(writer: MetricWriter) -> None:
    for number in range(4):
        writer.log("x", OnDevice(float(number)) if number % 2 else float(number))
    writer.fetch()
    writer.log("x", 4.0)

    assert {point[1:3] for point in points(writer)} == {(n, float(n)) for n in range(5)}


def test_a_thread_fetches_without_being_asked(writer: MetricWriter) -> None:
    values = [OnDevice(float(number)) for number in range(50)]
    for value in values:
        writer.log("x", value)
    wait_until(lambda: writer.accepted >= 50)

    assert [point[2] for point in points(writer)] == [float(number) for number in range(50)]
    assert {name for value in values for name in value.asked_by} == {"runbus-devices"}


def test_a_full_list_is_fetched_by_the_call_that_fills_it(writer: MetricWriter) -> None:
    # A slow device: the thread has its first value until the call that fills the list waits for it.
    class Slow(OnDevice):
        def copy(self) -> OnDevice:
            return self

        def item(self) -> float:
            wait_until(lambda: writer.stalls)
            return 0.0

    writer.log("x", Slow(0.0))
    wait_until(lambda: not writer.waiting)
    value = OnDevice(1.0)
    for _ in range(16_383):
        writer.log("x", value)
    assert (writer.waiting, writer.stalls) == (16_383, 0)
    writer.log("x", value)

    assert (writer.waiting, writer.stalls, writer.accepted) == (0, 1, 16_385)
    assert [point[1] for point in points(writer)] == list(range(16_385))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (OnDevice(1.0, shape=(2,)), TypeError, "metric 'x'.*2 elements of float32"),
        (OnDevice(1.0, shape=(0, 3)), TypeError, "metric 'x'.*0 elements"),
        (OnDevice(1j, dtype="complex64"), TypeError, "metric 'x'.*complex64"),
    ],
    ids=["two", "none", "complex"],
)
def test_what_is_no_number_raises_at_once(
    writer: MetricWriter, value: OnDevice, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        writer.log("x", value)
    with pytest.raises(error, match=text):
        writer.log({"good": 1.0, "x": value})
    with pytest.raises(ValueError, match="twice"):
        writer.log({"a": {"b": OnDevice(1.0)}, "a/b": 1.0})
    assert (writer.waiting, writer.accepted, points(writer)) == (0, 0, [])


def test_one_element_of_any_shape_is_a_number(writer: MetricWriter) -> None:
    writer.log({"x": OnDevice(1.0, shape=(1, 1))})
    writer.close()
    assert [point[2] for point in points(writer)] == [1.0]


def test_what_cannot_be_fetched_is_counted_and_told(
    writer: MetricWriter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "runbus.metrics"):
        writer.log({"x": OnDevice(RuntimeError("the device is gone"))})
        writer.fetch()
        writer.log({"x": OnDevice("0.5", dtype="int64"), "y": OnDevice(1.0)})
        writer.close()

    assert (writer.accepted, writer.dropped) == (1, 2)
    first, second = (record.getMessage() for record in caplog.records)
    assert "1 values on a device" in first
    assert "the device is gone" in first
    assert "they are no numbers" in second


def test_a_forked_child_leaves_the_devices_alone(writer: MetricWriter) -> None:
    value = OnDevice(1.0)
    writer.log({"x": value})
    child = os.fork()
    if child == 0:
        value.asked_by.clear()
        writer.log({"x": value})
        writer.sync()
        os._exit(0 if (value.asked_by, writer.dropped) == ([], 1) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.log({"x": value})
    assert (writer.accepted, writer.waiting) == (1, 0)
