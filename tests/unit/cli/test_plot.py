"""What can be drawn."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runbus
from runbus.cli._app import run_command
from runbus.cli._plot import Curve, draw
from runbus.errors import UsageError


@pytest.mark.parametrize(
    "values", [[1.0, 2.0], [3.0], [1e300, 1e300], [0.3, 0.1 + 0.2], [5e-324], [-1e308, 7e307]]
)
def test_any_finite_values_are_drawn(values: list[float]) -> None:
    drawn = draw("loss", "step", [Curve("run", range(len(values)), values)])

    assert "(loss)" in drawn
    assert "> step" in drawn


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


@pytest.mark.parametrize("last", [1, 5, 99, 100_000, 12_345_678])
def test_ticks_of_steps_are_whole_numbers_that_are_evenly_apart(last: int) -> None:
    drawn = draw("loss", "step", [Curve("run", [0, last], [0.0, 1.0])])

    axis = next(line for line in drawn.splitlines() if re.fullmatch(r" +\|[ \d]+", line))
    ticks = [int(text) for text in axis.partition("|")[2].split()]
    steps = {after - before for before, after in itertools.pairwise(ticks)}
    assert len(steps) == 1
    assert ticks[0] == 0
    assert ticks[-1] + 2 * steps.pop() >= last


def rows_of(drawn: str) -> list[tuple[float, bool]]:
    """Return of each row of values what it begins at, and whether it has points."""
    rows = (line.split(" | ") for line in drawn.splitlines() if re.match(r" +[-\d.e+]+ \| ", line))
    return [(float(begin), bool(re.search("[\u2801-\u28ff]", points))) for begin, points in rows]


@given(st.integers(-1000, 1000), st.floats(1, 1e6), st.integers(5, 20), st.integers(1, 9999))
@settings(max_examples=30, deadline=None)
def test_axes_end_at_the_data(low: int, span: float, height: int, last: int) -> None:
    drawn = draw("loss", "step", [Curve("r", [0, last], [low, low + span])], height=height)

    rows = rows_of(drawn)
    assert 2 <= len(rows) <= height
    assert rows[0][1]  # the greatest value is in the first row, the least in the last
    assert rows[-1][1]
    ends, ticks = drawn.splitlines()[-4:-2]
    assert ends.endswith("> step")
    assert all(int(tick) <= last for tick in ticks.partition("|")[2].split())


def test_the_greatest_value_is_in_the_row_that_is_called_so() -> None:
    curves = [Curve("r", range(3), [0.0, 0.25, 0.7])]

    assert [begin for begin, _ in rows_of(draw("loss", "step", curves, height=16))] == [
        pytest.approx(at * 0.05) for at in range(14, -1, -1)
    ]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (40, 12)])
def test_a_drawing_fits_the_terminal(
    columns: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    curves = [Curve(f"run {at}", range(50), [float(at)] * 50) for at in range(2)]
    lines = draw("loss", "epoch", curves).splitlines()

    assert max(map(len, lines)) <= columns
    assert max(map(len, lines)) > columns - 30
    assert len(lines) < rows


def test_without_colors_curves_are_lines_with_marks_and_a_legend_of_marks() -> None:
    curves = [Curve(name, range(50), [slope * at for at in range(50)])
              for name, slope in (("a", 1.0), ("b", 2.0))]  # fmt: skip
    drawn = draw("loss", "step", curves)

    assert drawn.splitlines()[-2:] == ["o a", "x b"]
    assert len(re.findall("[\u2801-\u28ff]", drawn)) > 50
    assert len(draw("loss", "step", curves, height=5).splitlines()) < len(drawn.splitlines())


def test_metrics_of_very_different_sizes_have_drawings_of_their_own_over_the_same_steps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    with runbus.init(name="r") as run:
        for step in range(101):
            run.log({"loss": 1 / (step + 1), "acc": step / 101, "off": 0}, step=step)
            if step <= 50:
                run.log({"util": 90.0, "mem": 30.0}, step=step)

    assert run_command(["plot", "latest", "loss", "util", "acc", "mem", "off"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    titles = [line.split(")")[0].strip(" (") for line in lines if line.endswith("^")]
    assert titles == ["loss, acc, off", "util, mem"]
    ticks = [line for line in lines if re.fullmatch(r" +\| [0-9 ]+", line)]
    assert len(ticks) == 2
    assert ticks[0] == ticks[1]
    # On an axis of logarithms all are to be seen.
    assert run_command(["plot", "latest", "loss", "util", "--log"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.endswith("^")]) == 1


def test_several_metrics_of_a_run_are_drawn_and_without_one_it_asks_for_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with runbus.init(name="r") as run:
        for step in range(9):
            run.log({"loss": 1 / (step + 1), "acc": step / 9}, step=step)

    assert run_command(["plot", "latest", "loss", "-m", "acc"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["o loss", "x acc"]
    assert run_command(["plot", "latest", "-m", "acc"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("r")
    assert run_command(["plot", "latest"]) == 2
    assert "name a metric to draw; r has loss, acc" in capsys.readouterr().err
