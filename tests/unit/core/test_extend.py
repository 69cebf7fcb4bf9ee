"""`extend` takes arrays of all kinds and stores each number as the double that it is."""

from __future__ import annotations

import array
import ctypes
import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus._core import MetricReader, MetricWriter, read_metrics, summarize

pandas: Any = importlib.import_module("pandas")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[MetricWriter]:
    writer = MetricWriter(tmp_path / "journal")
    yield writer
    writer.close()


def stored(writer: MetricWriter, name: str = "x") -> tuple[list[int], np.ndarray[Any, Any]]:
    [(_, data)] = read_metrics([[writer.path]], [name])
    return data.steps.tolist(), np.asarray(data.values)


class Tensor:
    """Something that has DLPack and no buffer, as torch's tensors."""

    def __init__(self, array: np.ndarray[Any, Any], device: int = 1) -> None:
        self._array = array
        self._device = device

    def __repr__(self) -> str:
        return f"Tensor({self._array.tolist()}, {self._device})"

    def __dlpack__(self) -> object:
        capsule = self._array.__dlpack__()
        if self._device != 1:
            pointer = ctypes.pythonapi.PyCapsule_GetPointer
            pointer.restype = ctypes.c_void_p
            pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
            at = pointer(capsule, b"dltensor")
            ctypes.c_int32.from_address(at + 8).value = self._device
        return capsule


@pytest.mark.parametrize(
    "kind", ["f8", "f4", "f2", *(f"{k}{n}" for k in "iu" for n in (1, 2, 4, 8))]
)
@pytest.mark.parametrize("form", ["whole", "strided", "reversed", "dlpack", "dlpack strided"])
def test_arrays_of_every_kind_and_layout_are_taken(
    writer: MetricWriter, kind: str, form: str
) -> None:
    values = np.arange(0, 100, dtype=kind)
    if form.endswith("strided"):
        values = values[::3]
    if form == "reversed":
        values = values[::-1]
    writer.series("x").extend(Tensor(values) if form.startswith("dlpack") else values)

    steps, found = stored(writer)
    assert found.tolist() == values.astype(float).tolist()
    assert steps == list(range(len(values)))
    assert writer.accepted == len(values)


def test_every_half_is_the_double_that_numpy_makes_of_it(writer: MetricWriter) -> None:
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16)
    writer.series("x").extend(halves)

    _, found = stored(writer)
    assert (found.view(np.uint64) == halves.astype(np.float64).view(np.uint64)).all()


@given(bits=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_doubles_are_kept_bit_for_bit(tmp_path_factory: Any, bits: list[int]) -> None:
    writer = MetricWriter(tmp_path_factory.mktemp("any") / "journal")
    values = np.array(bits, dtype=np.uint64).view(np.float64)
    writer.series("x").extend(values)

    assert stored(writer)[1].view(np.uint64).tolist() == bits
    writer.close()


class Interface:
    """An array by numpy's own protocol, and no other."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._array.__array_interface__


class Gradient(Tensor):
    """A tensor that gives its memory away only without its gradient."""

    requires_grad = True

    def __dlpack__(self) -> object:
        if self.requires_grad:
            raise BufferError("use tensor.detach()")
        return super().__dlpack__()

    def detach(self) -> Tensor:
        return Tensor(self._array)


@pytest.mark.parametrize("form", [Interface, Gradient, pandas.Series, polars.Series])
def test_what_turns_into_an_array_is_one(writer: MetricWriter, form: Any) -> None:
    values = np.array([0.5, -1.0, 2.0])
    writer.series("x").extend(form(values))
    writer.series("x").extend(form(np.arange(3)), form(np.arange(3)))

    assert stored(writer)[1].tolist() == [0.5, -1.0, 2.0, 0.0, 1.0, 2.0]


def test_what_is_no_array_of_numpy_is_taken_too(writer: MetricWriter) -> None:
    series = writer.series("x")
    series.extend([1, 2.5, np.float32(0.5)])
    series.extend((True, False))
    series.extend(array.array("f", [0.25]))
    series.extend(b"\x07")
    series.extend(memoryview(array.array("q", [-3])))
    series.extend(np.array([True, False]))
    series.extend([])

    steps, found = stored(writer)
    assert found.tolist() == [1, 2.5, 0.5, 1, 0, 0.25, 7, -3, 1, 0]
    assert steps == list(range(10))


@pytest.mark.parametrize(
    "steps",
    [range(5), range(10, -10, -4), [3, 1, 4, 1, 5], np.array([3, 1, 4, 1, 5], dtype=np.uint8)],
    ids=str,
)
def test_steps_are_any_ints(writer: MetricWriter, steps: Any) -> None:
    writer.series("x").extend(np.zeros(5), steps)
    writer.log("after", 1.0)

    assert stored(writer)[0] == list(steps)
    assert stored(writer, "after")[0] == [list(steps)[-1] + 1]


def test_more_points_than_a_record_holds_are_one_series(writer: MetricWriter) -> None:
    values = np.random.default_rng(1).normal(size=100_000)
    steps = np.cumsum(np.random.default_rng(2).integers(0, 3, size=100_000))
    writer.log("x", 7.0, -1)
    writer.series("x").extend(values, steps)
    writer.series("x").extend(values)

    found_steps, found = stored(writer)
    last = int(steps[-1])
    assert found_steps == [-1, *steps.tolist(), *range(last + 1, last + 100_001)]
    assert (found == np.concatenate([[7.0], values, values])).all()
    reader = MetricReader(writer.path)
    assert dict(summarize([[reader.path]]))["x"][:2] == (200_001, last + 100_000)
    polled = 0
    while columns := reader.poll(1000):
        assert len(columns) <= 1000 + 4096
        polled += len(columns)
    assert (polled, reader.damage) == (200_001, [])


@pytest.mark.parametrize(
    ("values", "steps", "error", "text"),
    [
        (5, None, TypeError, "'x' must be an array of numbers, not int"),
        ("12", None, TypeError, "not str"),
        (np.zeros((2, 2)), None, TypeError, "must have one dimension, not 2"),
        (np.float64(1.0), None, TypeError, "one dimension, not 0"),
        (np.array([1j]), None, TypeError, "format 'Zd' are no numbers"),
        (np.array(["a"]), None, TypeError, "no numbers"),
        (np.array([1j], dtype=">c16"), None, TypeError, "are no numbers"),
        (
            np.array([1, "a"], dtype=object),
            None,
            TypeError,
            "^number 1 of the values of metric 'x'",
        ),
        ([1, "a"], None, TypeError, "^number 1 of the values of metric 'x' must be a number"),
        (np.array(["2020"], "M8[D]"), None, TypeError, "values of metric 'x': cannot include"),
        (np.ma.array([1j, 2], mask=[False, True]), None, TypeError, "format 'Zd' are no numbers"),
        (np.zeros(2), np.array([True, False]), TypeError, "steps must be ints"),
        (np.zeros(3), range(2), ValueError, "3 values and 2 steps"),
        (np.zeros(3), np.arange(4), ValueError, "3 values and 4 steps"),
        (np.zeros(1), [0.5], TypeError, "step must be an int, not float"),
        (np.zeros(1), np.array([0.5]), TypeError, "steps must be ints"),
        (np.zeros(1), range(2**63, 2**63 + 1), OverflowError, "64 bits"),
        (np.zeros(1), np.array([2**63], dtype=np.uint64), OverflowError, "64 bits"),
        (Tensor(np.zeros(3), device=2), None, TypeError, "not in the memory of the CPU"),
        (Tensor(np.zeros((3, 3))), None, TypeError, "one dimension, not 2"),
    ],
    ids=str,
)
def test_wrong_arrays_raise_and_nothing_is_written(
    writer: MetricWriter, values: Any, steps: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        writer.series("x").extend(values, steps)
    assert (writer.accepted, writer.dropped) == (0, 0)


def test_what_is_masked_is_nan(writer: MetricWriter) -> None:
    series = writer.series("x")
    series.extend(np.ma.array([1.0, 1e20, 3.0], mask=[False, True, False]))
    series.extend(np.ma.array([1, 2]))
    series.extend(np.array([True, False]))
    series.extend(np.ma.array([1, 2], mask=[False, True]))

    ((_, data),) = read_metrics([[writer.path]])
    assert str(data.values.tolist()) == "[1.0, nan, 3.0, 1.0, 2.0, 1.0, 0.0, 1.0, nan]"


def test_no_automatic_step_goes_beyond_64_bits(writer: MetricWriter) -> None:
    writer.log("x", 1.0, 2**63 - 3)
    with pytest.raises(OverflowError, match="pass step="):
        writer.series("x").extend(np.zeros(3))
    writer.series("x").extend(np.zeros(2))
    with pytest.raises(OverflowError, match="pass step="):
        writer.series("x").extend(np.zeros(1))
    assert writer.accepted == 3


def test_an_array_is_let_go(writer: MetricWriter) -> None:
    grows = bytearray(8)
    writer.series("x").extend(grows)
    grows += b"more"  # A view that was kept would forbid it.
    with pytest.raises(TypeError):
        writer.series("x").extend(memoryview(grows).cast("c"))
    grows += b"more"
    assert writer.accepted == 8
