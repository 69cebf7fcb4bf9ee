"""Curves drawn with characters."""

from __future__ import annotations

import math
import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from runbus.errors import ExtraMissing, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Curve", "draw"]

_HEIGHT = 16
_MAX_WIDTH = 100
_MARGIN = 16
_COLORS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_MARKS = "ox+*#@"


class Curve(NamedTuple):
    """One line of a drawing: for each point where it lies, and how high."""

    label: str
    positions: Sequence[float]
    values: Sequence[float]


def draw(title: str, axis: str, curves: Sequence[Curve], *, log_scale: bool = False) -> str:
    """Return curves as a drawing, as wide as the terminal, at most 100 columns.

    Curves differ by color on a terminal, by their marks elsewhere. Points that are not
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
    figure.width = min(shutil.get_terminal_size().columns, _MAX_WIDTH) - _MARGIN
    figure.height = _HEIGHT
    figure.origin = False
    figure.x_label, figure.y_label = axis, f"log10 {title}" if log_scale else title
    figure.set_x_limits(*_span(positions))
    figure.set_y_limits(*_span(values))
    figure.register_label_formatter(float, _tick)
    figure.register_label_formatter(int, _tick)
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    figure.color_mode, figure.with_colors = "names", colored
    for index, (label, points) in enumerate(drawable):
        # Without colors each curve has a mark of its own, and only as many as there is room for.
        mark = None if colored or len(curves) == 1 else _MARKS[index % len(_MARKS)]
        shown = points[:: max(1, len(points) // 40)] if mark else points
        figure.plot(
            [position for position, _ in shown],
            [value for _, value in shown],
            lc=_COLORS[index % len(_COLORS)] if colored else None,
            interp=None if mark else "linear",
            label=label,
            marker=mark,
        )
    return str(figure.show(legend=True))


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


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:
    del delta
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)
