"""What can be drawn."""

from __future__ import annotations

import math

import pytest

from runbus.cli._plot import Curve, draw
from runbus.errors import UsageError


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], [3.0], [1e300, 1e300], [0.3, 0.1 + 0.2], [5e-324], [-1e308, 7e307]]
)
def test_any_finite_values_are_drawn(values: list[float]) -> None:
    drawn = draw("loss", "step", [Curve("run", range(len(values)), values)])

    assert "(loss)" in drawn
    assert "(step)" in drawn


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([math.nan, math.inf], "no point of 'loss' can be drawn"),
        ([1e308, -1e308], "-1e\\+308 and 1e\\+308 are too far apart"),
    ],
)
def test_what_cannot_be_drawn_is_a_usage_error(values: list[float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        draw("loss", "step", [Curve("run", range(len(values)), values)])
