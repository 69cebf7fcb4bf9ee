"""Curves drawn with characters."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from runbus.cli._screen import cut, width_of
from runbus.errors import ExtraMissing, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Curve", "draw"]

_HEIGHT = 16
_AROUND = 10
"""So many rows of a terminal are for axes, legend and what stands around them."""

_MAX_WIDTH = 200
_TICK = 10
"""The axis of positions has a tick every so many columns."""

_MARGIN = 16
_COLORS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_MARKS = "ox+*#@"
_MARKED = 20
"""So many points of a curve have its mark."""


class Curve(NamedTuple):
    """One line of a drawing: for each point where it lies, and how high."""

    label: str
    positions: Sequence[float]
    values: Sequence[float]


def draw(
    title: str,
    axis: str,
    curves: Sequence[Curve],
    *,
    log_scale: bool = False,
    height: int | None = None,
) -> str:
    """Return curves as a drawing, as wide as the terminal, at most 200 columns.

    Curves differ by color on a terminal, by their marks elsewhere. Ticks of whole positions, such
    as steps, are whole numbers. Points that are not
    finite, and on a logarithmic axis those not above 0, are left out.

    Raises:
        ExtraMissing: plotille is not installed.
        UsageError: No point can be drawn, or the points are too far apart.
    """
    try:
        import plotille
    except ModuleNotFoundError as error:
        raise ExtraMissing("drawing", "plotille", "plot") from error
    drawable = [(curve.label, _drawable(curve, log_scale)) for curve in curves]
    positions = [position for _, points in drawable for position, _ in points]
    values = [value for _, points in drawable for _, value in points]
    if not positions:
        raise UsageError(f"no point of {title!r} can be drawn")
    figure = plotille.Figure()
    columns, rows = shutil.get_terminal_size()
    width = max(_TICK, min(columns, _MAX_WIDTH) - _MARGIN) // _TICK * _TICK
    figure.width = width
    figure.height = height or max(2, min(_HEIGHT, rows - _AROUND - len(curves)))
    figure.origin = False
    figure.x_label, figure.y_label = axis, f"log10 {title}" if log_scale else title
    if all(float(position).is_integer() for position in positions):
        figure.set_x_limits(*_whole_span(positions, width // _TICK))
        figure.x_ticks_fkt = _whole_tick
    else:
        figure.set_x_limits(*_span(positions))
    figure.set_y_limits(*_span(values))
    figure.register_label_formatter(float, _tick)
    figure.register_label_formatter(int, _tick)
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    figure.color_mode, figure.with_colors = "names", colored
    for index, (label, points) in enumerate(drawable):
        # Without colors each curve has a mark of its own, and only as many as there is room for.
        mark = None if colored or len(curves) == 1 else _MARKS[index % len(_MARKS)]
        figure.plot(
            [position for position, _ in points],
            [value for _, value in points],
            lc=_COLORS[index % len(_COLORS)] if colored else None,
            interp="linear",
            label=label,
        )
        if mark and points:
            shown = points[:: max(1, len(points) // _MARKED)]
            figure.scatter(
                [position for position, _ in shown], [value for _, value in shown], marker=mark
            )
    legend = figure.show(legend=True) if len(curves) < 2 or colored else _marked(figure, curves)
    lines = [_named(line, axis, columns) for line in str(legend).splitlines()]
    return "\n".join(line if width_of(line) <= columns else _cut(line, columns) for line in lines)


def _named(line: str, axis: str, columns: int) -> str:
    """Return a line; that of the axis of positions with its name within the columns."""
    drawn, arrow, end = line.partition(f"-> ({axis})")
    if not arrow or end.strip():
        return line
    name = f"> {axis}"
    return drawn[: max(0, columns - width_of(name))] + name


def _cut(line: str, columns: int) -> str:
    """Cut a line that is too wide; of ticks, leave out the last one."""
    line = line.rstrip()
    if re.fullmatch(r" +\|[ \d.e+-]+", line) and width_of(line) > columns:
        return line.rpartition(" ")[0].rstrip()
    return cut(line, columns)


def _marked(figure: Any, curves: Sequence[Curve]) -> str:
    """Return a drawing with a legend that tells curves by their marks."""
    labels = (f"{_MARKS[at % len(_MARKS)]} {curve.label}" for at, curve in enumerate(curves))
    return "\n".join([figure.show(legend=False), "", *labels])


def _drawable(curve: Curve, log_scale: bool) -> list[tuple[float, float]]:
    return [
        (position, math.log10(value) if log_scale else value)
        for position, value in zip(curve.positions, curve.values, strict=True)
        if math.isfinite(position) and math.isfinite(value) and (value > 0 or not log_scale)
    ]


def _span(numbers: Sequence[float]) -> tuple[float, float]:
    """Return limits that are not one point.

    Raises:
        UsageError: They are too far apart.
    """
    low, high = min(numbers), max(numbers)
    if math.isinf(high - low):
        raise UsageError(f"{low:g} and {high:g} are too far apart to be drawn")
    # Where a half is nothing beside it, the numbers around it are its neighbors.
    margin = max(0.5, abs(low) * 1e-9)
    return (low, high) if low < high else (low - margin, high + margin)


def _whole_span(numbers: Sequence[float], ticks: int) -> tuple[float, float]:
    """Return limits of whole numbers between which ticks lie on whole numbers.

    Raises:
        UsageError: They are too far apart.
    """
    low, high = _span(numbers)
    low, high = math.floor(low), math.ceil(high)
    return low, low + max(1, -(-(high - low) // ticks)) * ticks


def _whole_tick(low: float, high: float) -> str:
    del high
    return f"{round(low)}"


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:
    del delta
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)
