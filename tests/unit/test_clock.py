"""Time spans in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus._clock import format_duration

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0004, "0 s"), (0.1, "0.1 s"), (0.314, "0.31 s"), (3.14, "3.1 s"), (7, "7 s"),
        (9.6, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"),
        (3599.9, "1 h 0 min"), (7620, "2 h 7 min"), (86_400, "1 d 0 h"), (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_a_span_has_two_units_or_two_digits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 1e8))
def test_a_text_is_near_what_it_stands_for_and_never_over_full(seconds: float) -> None:
    parts = re.findall(r"([\d.]+) (\w+)", format_duration(seconds))
    told = sum(float(number) * _SECONDS[unit] for number, unit in parts)

    assert abs(told - seconds) <= max(0.0011, seconds / 15)
    limits = {"s": 60, "min": 60, "h": 24, "d": 10_000}
    assert all(float(number) < limits[unit] for number, unit in parts)
