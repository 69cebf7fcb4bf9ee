from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.config import Grid, guess, space_of_words, split_items
from runbus.config._sweep import parse_axes, parse_sweep
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
    assert guess(text) == value
    assert type(guess(text)) is type(value)


@given(st.integers() | st.floats(allow_nan=False))
def test_a_number_is_read_back_as_itself(number: float) -> None:
    assert guess(repr(number)) == number


def test_sweeps_span_a_grid_whose_last_axis_varies_fastest() -> None:
    assert list(Grid(parse_axes(["lr=0.1,1", "depth=2,3"])).points()) == [
        {"lr": "0.1", "depth": "2"},
        {"lr": "0.1", "depth": "3"},
        {"lr": "1", "depth": "2"},
        {"lr": "1", "depth": "3"},
    ]


@pytest.mark.parametrize(
    ("listed", "values"),
    [
        ("1", ["1"]),
        ("[1,2],[3]", ["[1,2]", "[3]"]),
        ("{a: [1,2], b: 3},adam(lr=1, b=(1,2))", ["{a: [1,2], b: 3}", "adam(lr=1, b=(1,2))"]),
        ("[1,2],[3,4", ["[1,2]", "[3,4"]),
        ("a],b", ["a]", "b"]),
        ("'a,b',\"c,d\",e", ["'a,b'", '"c,d"', "e"]),
        ("['a]',b],{c: 'd,}'}", ["['a]',b]", "{c: 'd,}'}"]),
        ("it's,that's", ["it's", "that's"]),
    ],
)
def test_commas_in_brackets_and_quotes_part_no_values(listed: str, values: list[str]) -> None:
    assert split_items(listed) == values


@given(st.text("ab,[](){}"))
def test_nothing_of_what_is_split_is_lost(listed: str) -> None:
    assert ",".join(split_items(listed)) == listed


def test_lists_are_swept_and_drawn() -> None:
    grid = space_of_words(["betas=[0.9,0.95],[0.8,0.9]"])
    drawn = space_of_words(["betas=choice([0.9,0.95],[0.8,0.9])"], points=2)

    assert grid is not None
    assert drawn is not None
    assert [one["betas"] for one in grid.points()] == ["[0.9,0.95]", "[0.8,0.9]"]
    assert {one["betas"] for one in drawn.points()} == {"[0.9,0.95]", "[0.8,0.9]"}


def test_no_sweep_is_no_space() -> None:
    assert space_of_words([]) is None


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
        parse_axes(["lr=1,2", "lr=3"])
