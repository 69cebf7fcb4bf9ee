"""A series over another one, beside the plainest way to say it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

import runbus

if TYPE_CHECKING:
    from pathlib import Path

steps = st.integers(-4, 12)
marks = st.lists(st.tuples(steps, st.floats(allow_nan=False)), max_size=12)


def said_plainly(step: int, marks: list[tuple[int, float]]) -> float:
    best: tuple[int, float] | None = None
    for mark in marks:
        if mark[0] <= step and (best is None or mark[0] >= best[0]):
            best = mark
    return math.nan if best is None else best[1]


@given(points=st.lists(steps, min_size=1, max_size=20), marks=marks, is_sorted=st.booleans())
def test_each_point_lies_where_the_axis_was_at_its_step(
    tmp_path_factory, points: list[int], marks: list[tuple[int, float]], is_sorted: bool
) -> None:
    home: Path = tmp_path_factory.mktemp("home")
    if is_sorted:
        points.sort()
        marks.sort(key=lambda mark: mark[0])
    with runbus.init(home=home) as run:
        for step in points:
            run.log("value", 0.0, step)
        # There may be no points of it: then it is no metric of the run.
        run.log("axis", 0.0, 1 << 40)
        for step, value in marks:
            run.log("axis", value, step)
    table = runbus.open_run(run.id, home=home).metrics()

    found = table["value"].over(table["axis"]).tolist()

    expected = [said_plainly(step, marks) for step in points]
    assert [repr(value) for value in found] == [repr(value) for value in expected]
