"""What `log` takes, what it refuses, and what it says then."""

from __future__ import annotations

import contextlib
import decimal
import enum
import fractions
import gc
import inspect
import math
import os
import re
import struct
import sys
import threading
import time
import types
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runbus._core import Group, MetricReader, MetricWriter, Series, read_metrics, summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
from random import Random


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[MetricWriter]:
    writer = MetricWriter(tmp_path / "journal")
    yield writer
    writer.close()


def points(writer: MetricWriter) -> list[tuple[str, int, float]]:
    columns = MetricReader(writer.path).poll()
    if columns is None:
        return []
    count = len(columns)
    names = [columns.names[index] for index in struct.unpack(f"<{count}I", columns.series)]
    steps = struct.unpack(f"<{count}q", columns.steps)
    values = struct.unpack(f"<{count}d", columns.values)
    return list(zip(names, steps, values, strict=True))


def test_every_way_to_log_a_point_is_the_same(writer: MetricWriter) -> None:
    writer.log("loss", 0.5, 3)
    writer.log("loss", value=0.5, step=3)
    writer.log("loss", 0.5, step=3)
    writer.log({"loss": 0.5}, step=3)
    writer.log({"loss": 0.5}, None, 3)
    writer.log(step=3, loss=0.5)
    writer.log(None, step=3, loss=0.5)
    writer.series("loss").append(0.5, 3)
    writer.series("loss").append(0.5, step=3)
    writer.series("loss").append(value=0.5, step=3)
    writer.group("loss").log(3, 0.5)

    assert points(writer) == [("loss", 3, 0.5)] * 11
    assert (writer.accepted, writer.dropped, writer.last_error) == (11, 0, None)


def test_keywords_are_one_row_under_their_names(writer: MetricWriter) -> None:
    for index in range(3):
        writer.log(loss=index, step=7, acc=True)
        writer.log(value=np.float32(0.5))
        writer.log(step=None, **{"train/loss": 0.25}, model={"norm": 2})

    again = [("value", 8, 0.5), ("train/loss", 9, 0.25), ("model/norm", 9, 2.0)]
    rows = [[("loss", 7, float(index)), ("acc", 7, 1.0), *again] for index in range(3)]
    assert points(writer) == [point for row in rows for point in row]


def test_a_group_is_one_row_under_names_agreed_on_before(writer: MetricWriter) -> None:
    group = writer.group("loss", "acc")
    group.log(3, 0.5, 1)
    group.log(None, np.float32(0.25), np.array(2))
    group.log(np.int64(9), 0.125, False)

    assert group.names == ("loss", "acc")
    assert [step for _, step, _ in points(writer)] == [3, 3, 4, 4, 9, 9]
    assert [value for *_, value in points(writer)] == [0.5, 1.0, 0.25, 2.0, 0.125, 0.0]


def test_numbers_of_numpy_are_known_whatever_was_refused_before(writer: MetricWriter) -> None:
    for _ in range(40):
        with pytest.raises(TypeError):
            writer.log("x", np.str_("0.5"))
        writer.log("x", np.uint64(2**63), 0)
    for kind in (np.float16, np.float32, np.int8, np.uint16, np.intc, np.longlong, np.bool_):
        writer.log("y", kind(1), 0)
        writer.log({"y": kind(1), "z": kind(0)}, step=0)

    assert {value for name, _, value in points(writer) if name == "x"} == {2.0**63}
    assert {value for name, _, value in points(writer) if name == "y"} == {1.0}


@pytest.mark.parametrize(
    ("arguments", "keywords", "text"),
    [
        ((), {}, "missing 1 required positional argument: 'step'"),
        ((1, 2.0), {}, r"a step and 2 values, .* \(1 given\)"),
        ((1, 2.0, 3.0, 4.0), {}, r"\(3 given\)"),
        ((1, 2.0), {"b": 3.0}, "unexpected keyword argument 'b'"),
        ((1.5, 2.0, 3.0), {}, "step must be an int, not float"),
        ((1, 2.0, "x"), {}, "metric 'b' must be a number, not str"),
    ],
)
def test_wrong_arguments_of_a_group_raise(
    writer: MetricWriter, arguments: Any, keywords: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        writer.group("a", "b").log(*arguments, **keywords)
    assert writer.accepted == 0


def test_a_group_needs_distinct_names(writer: MetricWriter) -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        writer.group("a", "b", "a")
    with pytest.raises(ValueError, match="at least one name"):
        writer.group()
    with pytest.raises(TypeError):
        writer.group("a", 1)  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize(
    ("arguments", "keywords", "text"),
    [
        (("x", 1.0), {"stepp": 3}, "unexpected keyword argument 'stepp'"),
        (("x", 1.0, 2), {"step": 3}, "multiple values for argument 'step'"),
        (({"x": 1.0},), {"y": 3}, "unexpected keyword argument 'y'"),
        ((), {"step": 3}, "missing 1 required positional argument"),
        ((), {"x": "text"}, "metric 'x' must be a number, not str"),
        ((), {"x": 1.0, "step": 0.5}, "step must be an int, not float"),
    ],
)
def test_wrong_keywords_raise(
    writer: MetricWriter, arguments: Any, keywords: Any, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        writer.log(*arguments, **keywords)
    assert writer.accepted == 0


def test_the_hot_methods_tell_their_signatures() -> None:
    signatures = [inspect.signature(m) for m in (MetricWriter.log, Series.append, Group.log)]

    assert [str(signature) for signature in signatures] == [
        "(self, name_or_values=None, /, value=None, step=None, **values)",
        "(self, /, value, step=None)",
        "(self, step, /, *values)",
    ]
    with pytest.raises(TypeError, match="Series' object"):
        Series.append("no series", 1.0)  # type: ignore[arg-type,unused-ignore]


def test_the_automatic_step_follows_the_last_one(writer: MetricWriter) -> None:
    writer.log("a", 1.0)
    writer.log({"a": 1.0, "b": 1.0})
    writer.log("a", 1.0, 10)
    writer.series("b").append(1.0)
    writer.log("a", 1.0, None)

    assert [step for _, step, _ in points(writer)] == [0, 1, 1, 10, 11, 12]


class Half:
    def __float__(self) -> float:
        return 0.5


class Index:
    def __index__(self) -> int:
        return 7


class Color(enum.IntEnum):
    RED = 4


class AsArray:
    """What turns into an array and is nothing else."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray[Any, Any]:
        return self._array


class Loss(float):
    def __float__(self) -> float:
        raise AssertionError("a float is taken as it is")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (3, 3.0),
        (True, 1.0),
        (-(2**53), -(2.0**53)),
        (2**60, 2.0**60),
        (Half(), 0.5),
        (Index(), 7.0),
        (Color.RED, 4.0),
        (Loss(1.5), 1.5),
        (decimal.Decimal("0.25"), 0.25),
        (fractions.Fraction(1, 4), 0.25),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.uint64(2**63), 2.0**63),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (np.array([0.5], dtype=np.float32), 0.5),
        (np.array([[3]]), 3.0),
        (np.longdouble(0.5), 0.5),
        (AsArray(np.array([0.5])), 0.5),
        (np.ma.array([7], mask=[False]), 7.0),
    ],
    # Without addresses, which are others in each process.
    ids=lambda value: f"{type(value).__name__}-{re.sub(' at 0x.*', '', str(value))}",
)
def test_numbers_of_all_kinds_are_taken(writer: MetricWriter, value: Any, stored: float) -> None:
    writer.log("x", value, 1)
    writer.log({"x": value}, step=1)
    writer.log({"x": value, "y": {"x": value}}, step=1)
    writer.series("x").append(value, 1)

    assert {found for *_, found in points(writer)} == {stored}
    assert writer.accepted == 5


class Broken:
    def __float__(self) -> float:
        raise RuntimeError("the device is gone")


class Impatient:
    def __float__(self) -> float:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ("0.5", TypeError, "metric 'x' must be a number, not str"),
        (b"0.5", TypeError, "metric 'x' must be a number, not bytes"),
        (None, TypeError, "metric 'x' must be a number, not NoneType"),
        ([0.5], TypeError, "metric 'x' must be a number, not list"),
        (1j, TypeError, "metric 'x' must be a number, not complex"),
        (np.complex128(1j), TypeError, "metric 'x' .*not a real number"),
        (np.str_("0.5"), TypeError, "metric 'x'"),
        (np.array([1.0, 2.0]), TypeError, r"metric 'x' \(ndarray\) cannot be converted"),
        (np.array([]), TypeError, r"metric 'x' \(ndarray\)"),
        (np.clongdouble(1j), TypeError, "metric 'x' .*not a real number"),
        (AsArray(np.array([1.0, 2.0])), TypeError, "metric 'x'"),
        (Broken(), TypeError, "metric 'x'.*the device is gone"),
        (fractions.Fraction(10**400), OverflowError, "metric 'x'"),
        (np.ma.array([7j], mask=[True]), TypeError, "metric 'x'.*not a real number"),
        (Impatient(), KeyboardInterrupt, "^$"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_number_raises_naming_the_metric(
    writer: MetricWriter, value: Any, error: type[BaseException], text: str
) -> None:
    series = writer.series("x")
    with pytest.raises(error, match=text):
        writer.log("x", value)
    with pytest.raises(error, match=text):
        writer.log({"good": 1.0, "x": value})
    with pytest.raises(error, match=text):
        series.append(value)

    assert (writer.accepted, points(writer)) == (0, [])


def test_what_is_masked_is_nan(writer: MetricWriter) -> None:
    writer.log("x", np.ma.masked)  # type: ignore[arg-type,call-overload,unused-ignore]
    writer.log({"x": np.ma.array([7.0], mask=[True])})
    writer.log({"x": np.ma.array([7], mask=[True])})

    assert [str(value) for *_, value in points(writer)] == ["nan", "nan", "nan"]


def test_the_cause_of_a_failed_conversion_is_kept(writer: MetricWriter) -> None:
    with pytest.raises(TypeError) as raised:
        writer.log("x", Broken())  # type: ignore[arg-type,call-overload,unused-ignore]
    assert isinstance(raised.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (1.0, TypeError, "step must be an int, not float"),
        ("1", TypeError, "step must be an int, not str"),
        (True, TypeError, "step must be an int, not bool"),
        (2**63, OverflowError, "step must fit into 64 bits"),
        (-(2**63) - 1, OverflowError, "step must fit into 64 bits"),
    ],
)
def test_a_wrong_step_raises(
    writer: MetricWriter, step: Any, error: type[Exception], text: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: writer.log("x", 1.0, step),
        lambda: writer.log("x", 1.0, step=step),
        lambda: writer.log({"x": 1.0}, step=step),
        lambda: writer.series("x").append(1.0, step),
    ]
    for call in calls:
        with pytest.raises(error, match=text):
            call()
    assert writer.accepted == 0


def test_steps_of_numpy_are_ints(writer: MetricWriter) -> None:
    writer.log("x", 1.0, np.int32(5))
    assert points(writer) == [("x", 5, 1.0)]


def test_no_automatic_step_follows_the_greatest(writer: MetricWriter) -> None:
    writer.log("x", 1.0, 2**63 - 1)
    with pytest.raises(OverflowError, match="pass step="):
        writer.log("x", 1.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "must not be empty"),
        ("ä" * 513, "1026 bytes of UTF-8: the limit is 1024"),
        ("a\ud800", r"'a\\ud800' holds a lone surrogate"),
    ],
    ids=["empty", "long", "surrogate"],
)
def test_a_wrong_name_raises(writer: MetricWriter, name: str, text: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: writer.log(name, 1.0),
        lambda: writer.log({"good": 1.0, name: 1.0}),
        lambda: writer.log({"good": {name: 1.0}}),
        lambda: writer.series(name),
    ]
    for call in calls[: 2 if "limit" in text else 4]:
        with pytest.raises(ValueError, match=text):
            call()
    assert writer.accepted == 0


def test_names_are_any_text(writer: MetricWriter) -> None:
    names = ["x" * 1024, "größe", "a b", "\0", "损失", "🙂", "train/loss"]
    for name in names:
        writer.log(name, 1.0)
    assert [name for name, *_ in points(writer)] == names


def test_equal_names_of_different_objects_are_one_series(writer: MetricWriter) -> None:
    class Text(str):
        __slots__ = ()

    for name in ("loss", "".join(["lo", "ss"]), Text("loss"), np.str_("loss")):
        writer.log(name, 1.0)
        writer.log({name: 1.0})
    assert dict(summarize([[writer.path]]))["loss"][0] == 8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((5, 1.0), "a metric name or a mapping of names to numbers, not int"),
        ((b"x", 1.0, 2), "a metric name or a mapping of names to numbers, not bytes"),
        (([("x", 1.0)],), "not list"),
        (("x",), "metric 'x' must be a number, not NoneType"),
        (({"x": 1.0}, 3), "pass the step as step="),
        (({1: 1.0},), "metric names must be str, not int"),
        (({"a": {2: 1.0}},), "metric names must be str, not int"),
        ((), "required positional argument"),
        (("x", 1.0, 2, 3), "positional arguments"),
    ],
)
def test_wrong_arguments_raise(writer: MetricWriter, arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        writer.log(*arguments)
    assert writer.accepted == 0


def test_nested_mappings_are_flattened(writer: MetricWriter) -> None:
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": 3, "f": {}}
    writer.log(nested, step=5)
    writer.log(OrderedDict(x=1.0), step=6)
    writer.log(types.MappingProxyType({"x": 2.0}), step=7)

    expected = [("a/b", 5, 1), ("a/c/d", 5, 2), ("e", 5, 3), ("x", 6, 1), ("x", 7, 2)]
    assert points(writer) == expected


def test_a_nested_dict_of_the_same_keys_is_read_anew_each_time(writer: MetricWriter) -> None:
    shapes: list[dict[str, Any]] = [
        {"a": {"b": 1.0, "c": {"d": 2}}, "e": 3.0},
        {"a": {"b": 4.0, "c": {"d": 5}}, "e": 6.0},
        {"a": {"b": 7.0, "c": 8.0}, "e": 9.0},
        {"a": {"c": {"d": 1.5}, "b": 2.5}, "e": 3.5},
        {"a": 0.5, "e": 1.5},
        {"a": {"b": 4.5, "c": {"d": 5.5, "f": 1.0}}, "e": 6.5},
        {"a": {}, "e": -1.0},
        {"a": OrderedDict(b=1.25), "e": 2.25},
        {"a": {"b": 4.0, "c": {"d": 5}}, "e": 6.0},
    ]
    expected = []
    for step, values in enumerate(shapes * 3):
        writer.log(values, step=step)
        expected += [(name, step, float(value)) for name, value in flat(values).items()]
    for step, values in enumerate(shapes * 3):
        writer.log(step=step, **values)
        expected += [(name, step, float(value)) for name, value in flat(values).items()]

    # Values of one row come in the order in which their names came first.
    assert sorted(points(writer)) == sorted(expected)


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}/")
        else:
            found[prefix + name] = value
    return found


def test_a_dict_that_changes_while_it_is_read_first_does_no_harm(writer: MetricWriter) -> None:
    class Grows:
        def __init__(self, inner: dict[str, Any]) -> None:
            self._inner = inner

        def __float__(self) -> float:
            self._inner["more"] = 1.0
            return 0.5

    inner: dict[str, Any] = {}
    inner["x"] = Grows(inner)
    writer.log({"a": inner, "b": 1.0})
    writer.log({"a": inner, "b": 1.0})
    inner["x"] = 2.0
    writer.log({"a": inner, "b": 1.0})
    del inner["more"]
    writer.log({"a": inner, "b": 1.0})

    assert [(name, value) for name, _, value in points(writer)] == [
        ("a/x", 0.5),
        ("b", 1.0),
        ("a/x", 0.5),
        ("a/more", 1.0),
        ("b", 1.0),
        ("a/x", 2.0),
        ("a/more", 1.0),
        ("b", 1.0),
        ("a/x", 2.0),
        ("b", 1.0),
    ]


def test_a_mapping_that_contains_itself_or_a_name_twice_raises(writer: MetricWriter) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        writer.log(endless)
    with pytest.raises(ValueError, match="'a/b' occurs twice"):
        writer.log({"a": {"b": 1.0}, "a/b": 2.0})
    assert writer.accepted == 0


def test_a_wrong_value_in_a_known_shape_leaves_nothing_of_its_row(writer: MetricWriter) -> None:
    """The values before it are in their places by then, and the next row may be shorter."""
    wide = {f"m{index}": float(index) for index in range(100)}
    group = writer.group(*wide)
    wrong: Any = {**wide, "m99": "high"}
    for _ in range(2):
        writer.log(wide, step=0)
        writer.log(step=0, a=1.0, b=2.0)
    for refuse in (
        lambda: writer.log(wrong, step=1),
        lambda: group.log(1, *wrong.values()),
        lambda: writer.log(step=1, a=1.0, b=wrong["m99"]),
    ):
        for _ in range(2):
            with pytest.raises(TypeError, match="must be a number, not str"):
                refuse()
            writer.log("loss", 0.5)
    writer.log("loss", 0.25)

    assert [point for point in points(writer) if point[0] == "loss"] == [
        *(("loss", step, 0.5) for step in range(1, 7)),
        ("loss", 7, 0.25),
    ]
    assert writer.accepted == len(points(writer)) == 2 * 102 + 7


def test_an_empty_mapping_logs_nothing(writer: MetricWriter) -> None:
    writer.log({})
    writer.log("x", 1.0)
    assert points(writer) == [("x", 0, 1.0)]


def test_dicts_of_the_same_keys_in_another_order_keep_their_values(writer: MetricWriter) -> None:
    for _ in range(3):
        writer.log({"a": 1.0, "b": 2.0}, step=0)
        writer.log({"b": 2.0, "a": 1.0}, step=0)
        writer.log({"a": 1.0}, step=0)
        writer.log({"a": 1.0, "c": 3.0}, step=0)
    expected = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert all(value == expected[name] for name, _, value in points(writer))
    assert writer.accepted == 21


def test_a_value_that_logs_or_changes_its_own_dict_does_no_harm(writer: MetricWriter) -> None:
    class Meddler:
        def __float__(self) -> float:
            writer.log("inner", 1.0, 0)
            values.clear()
            values["other"] = 2.0
            return 0.5

    values: dict[str, Any] = {}
    for _ in range(3):
        values.clear()
        values.update({"a": 1.0, "meddler": Meddler(), "z": 3.0})
        writer.log(values, step=0)
    writer.log("x", Meddler(), 0)
    writer.log({"other": 2.0}, step=0)

    found = points(writer)
    row = [("inner", 0, 1.0), ("a", 0, 1.0), ("meddler", 0, 0.5), ("z", 0, 3.0)]
    assert found == [*row * 3, ("inner", 0, 1.0), ("x", 0, 0.5), ("other", 0, 2.0)]


def test_a_collector_run_in_the_middle_of_a_log_may_log(writer: MetricWriter) -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            writer.log("collected", 1.0, 0)

    old = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for index in range(200):
            Cycle()
            writer.log({f"new-{index}": 1.0, "b": 2}, step=0)
            writer.log(f"n-{index}", index, 0)
    finally:
        gc.set_threshold(*old)
    gc.collect()
    assert dict(summarize([[writer.path]]))["collected"][0] == 200


def test_a_flood_of_names_is_counted_and_the_known_ones_go_on(writer: MetricWriter) -> None:
    count = 100_000
    for index in range(count):
        writer.log(f"m{index}{'-' * 1_000}", 1.0)
    lost = writer.dropped
    assert 0 < lost < count / 2
    assert writer.accepted == count - lost
    assert "names of metrics" in str(writer.last_error)

    known, new = f"m7{'-' * 1_000}", f"m{count}{'-' * 1_000}"
    writer.log(known, 1.0)
    writer.log({known: 1.0, new: 2.0, "a": {"b": 3.0}})
    writer.series(new).append(1.0)
    writer.series(new).extend([1.0, 2.0])
    writer.group(new, known).log(None, 1.0, 2.0)
    assert writer.accepted + writer.dropped == count + 1 + 3 + 1 + 2 + 2
    assert writer.accepted == count - lost + 3


@pytest.mark.parametrize("names", [17, 9])
def test_rows_of_any_names_in_any_order_come_back_under_their_names(
    writer: MetricWriter, names: int
) -> None:
    """More sets of names than a journal holds, each in its own order."""
    random = Random(0)
    known = [f"task/{index}" for index in range(names)]
    expected: dict[str, list[tuple[int, float]]] = {}
    for step in range(20_000):
        chosen = random.sample(known, random.randint(1, names))
        row = {name: float(random.random()) for name in chosen}
        if step % 3 == 0:
            writer.log(row, step=step)
        elif step % 3 == 1:
            writer.log(step=step, **row)
        else:
            writer.group(*row).log(step, *row.values())
        for name, value in row.items():
            expected.setdefault(name, []).append((step, value))
    writer.close()

    assert writer.dropped == 0
    found = {
        name: list(zip(data.steps, data.values, strict=True))
        for name, data in read_metrics([[writer.path]])
    }
    assert found == expected


def test_threads_share_a_writer(writer: MetricWriter) -> None:
    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(number: int) -> None:
        for step in range(5_000):
            writer.log(f"thread-{number}", float(step), step)
            writer.log({"shared": 1.0, f"n{number}": 2.0}, step=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(old)

    assert writer.accepted == 60_000
    for number in range(4):
        [(_, data)] = read_metrics([[writer.path]], [f"thread-{number}"])
        assert data.steps.tolist() == data.values.tolist() == list(range(5_000))


def test_a_subclass_takes_arguments_of_its_own(tmp_path: Path) -> None:
    class Run(MetricWriter):
        def __init__(self, path: Path, project: str, *, tags: list[str]) -> None:
            self.project = project
            self.tags = tags

    run = Run(tmp_path / "journal", "digits", tags=["a"])
    run.log("x", 1.0)

    assert (run.project, run.tags, run.accepted) == ("digits", ["a"], 1)
    with pytest.raises(TypeError, match="takes one positional argument, the path"):
        MetricWriter(tmp_path / "other", "digits")
    assert not (tmp_path / "other").exists()


def test_a_subclass_may_have_a_log_of_its_own(tmp_path: Path) -> None:
    class Loud(MetricWriter):
        def log(self, *args: Any, **kwargs: Any) -> None:
            super().log(f"loud/{args[0]}", *args[1:], **kwargs)

    class Louder(Loud):
        pass

    class Plain(MetricWriter):
        pass

    for number, kind in enumerate((Loud, Louder, Plain)):
        writer = kind(tmp_path / str(number))
        writer.log("x", 1.0, 3)
        assert points(writer) == [("x" if kind is Plain else "loud/x", 3, 1.0)]
    with pytest.raises(TypeError, match="Plain' object"):
        Plain.log(MetricWriter(tmp_path / "base"), "x", 1.0)  # type: ignore[arg-type,unused-ignore]


def test_a_closed_writer_refuses_and_keeps_its_counts(writer: MetricWriter) -> None:
    series = writer.series("x")
    series.append(1.0)
    writer.close(2)
    writer.close(0)
    calls: list[Callable[[], object]] = [
        lambda: writer.log("x", 1.0),
        lambda: writer.log({"x": 1.0}),
        lambda: writer.log({}),
        lambda: series.append(1.0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="finished run"):
            call()
    writer.sync()
    assert (writer.closed, writer.accepted, writer.dropped) == (True, 1, 0)
    assert MetricReader(writer.path).end_state == 2


def test_files_that_exist_or_cannot_be_made_raise_their_own_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    MetricWriter(path).close()
    with pytest.raises(FileExistsError) as raised:
        MetricWriter(path)
    assert raised.value.filename == str(path)
    with pytest.raises(FileNotFoundError):
        MetricWriter(tmp_path / "no" / "journal")
    with pytest.raises(NotADirectoryError):
        MetricWriter(path / "journal")
    with pytest.raises(FileNotFoundError):
        MetricReader(tmp_path / "no")


def test_reading_beside_a_writer(tmp_path: Path) -> None:
    before = time.time_ns()
    writer = MetricWriter(tmp_path / "journal")
    after = time.time_ns()
    reader = MetricReader(writer.path)
    assert (reader.poll(), reader.is_live, reader.end_state) == (None, True, None)
    assert reader.writer_pid == os.getpid()
    assert before <= reader.created_ns <= after
    writer.log("x", math.nan, 4)
    writer.log("x", -1.0, 3)
    columns = reader.poll()
    assert columns is not None
    assert len(columns) == 2
    assert reader.poll() is None
    assert dict(summarize([[writer.path]]))["x"][:5] == (2, 3, -1.0, -1.0, -1.0)
    assert read_metrics([[writer.path]], ["unknown"]) == []
    writer.close()
    assert (reader.is_live, reader.end_state, reader.poll()) == (False, 0, None)


def test_no_reference_is_kept_or_lost(writer: MetricWriter) -> None:
    name, value, row, step = "loss" * 9, 0.75, {"a" * 9: 0.75, "b" * 9: 0.25}, 2**40
    series, group = writer.series("s"), writer.group("a", "b")
    wrongs: Any = (0.5, "1")

    def every_call() -> None:
        writer.log(name, value, step)
        writer.log(name, value, step=step)
        writer.log(row, step=step)
        writer.log(step=step, x=value, y=value)
        series.append(value, step)
        group.log(step, value, value)
        for wrong in wrongs:
            with contextlib.suppress(TypeError):
                series.append(value, wrong)

    every_call()
    every_call()
    objects = (name, value, row, step, *row, *row.values(), None, writer, series, group)
    before = [sys.getrefcount(found) for found in objects]
    for _ in range(1000):
        every_call()
    after = [sys.getrefcount(found) for found in objects]

    # None is everybody's: other threads may take some.
    assert [abs(a - b) < 100 for a, b in zip(before, after, strict=True)] == [True] * len(objects)


def test_a_run_that_keeps_its_series_is_collected(tmp_path: Path) -> None:
    class Run(MetricWriter):
        pass

    run = Run(tmp_path / "journal")
    run.loss = run.series("loss")  # type: ignore[attr-defined]
    run.both = run.group("loss", "acc")  # type: ignore[attr-defined]
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None
    assert not MetricReader(tmp_path / "journal").is_live
