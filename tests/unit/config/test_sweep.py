from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.config import expand_sweeps, parse_sweep, parse_value
from runbus.errors import SweepInvalid


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.1", 0.1),
        ("1e-3", 1e-3),
        ("-2", -2),
        ("true", True),
        ("False", False),
        ("none", None),
        ("adam", "adam"),
        ("3 layers", "3 layers"),
    ],
)
def test_a_word_is_read_as_what_it_looks_like(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(st.integers() | st.floats(allow_nan=False))
def test_a_number_is_read_back_as_itself(number: float) -> None:
    assert parse_value(repr(number)) == number


def test_sweeps_span_a_grid_whose_last_axis_varies_fastest() -> None:
    assert expand_sweeps(["lr=0.1,1", "depth=2,3"]) == [
        {"lr": "0.1", "depth": "2"},
        {"lr": "0.1", "depth": "3"},
        {"lr": "1", "depth": "2"},
        {"lr": "1", "depth": "3"},
    ]


def test_no_sweep_is_one_point() -> None:
    assert expand_sweeps([]) == [{}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr", "there is no '='"),
        ("=1,2", "there is no name before '='"),
        ("lr=", "lr has no values"),
        ("lr=1,,2", "one of the values of lr is empty"),
        ("lr=1,1", "a value of lr is given twice"),
        ("--lr=1", "'--lr' is not a name"),
    ],
)
def test_a_sweep_that_cannot_be_read_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(SweepInvalid) as caught:
        parse_sweep(text)

    assert caught.value.reason == reason
    assert repr(text) in str(caught.value)


def test_a_name_cannot_be_swept_twice() -> None:
    with pytest.raises(SweepInvalid, match="lr is swept already"):
        expand_sweeps(["lr=1,2", "lr=3"])
