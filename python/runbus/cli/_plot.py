"""Curves drawn with characters."""

from __future__ import annotations

import math
import os
import shutil
import sys
from typing import TYPE_CHECKING

from runbus.errors import ExtraMissing, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.metrics import Series

__all__ = ["draw"]

_HEIGHT = 16
_MAX_WIDTH = 100
_MARGIN = 16
_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_MARKS = "ox+*#@"


def draw(title: str, curves: Sequence[tuple[str, Series]], *, log_scale: bool = False) -> str:
    """Return curves over steps as a drawing, as wide as the terminal, at most 100 columns.

    Curves are told apart by colour on a terminal, by their marks elsewhere. Points that are not
    finite, and on a logarithmic axis those not above 0, are left out.

    Raises:
        ExtraMissing: plotille is not installed.
        UsageError: No point can be drawn.
    """
    try:
        import plotille
    except ModuleNotFoundError as error:
        raise ExtraMissing("drawing", "plotille", "plot") from error
    drawable = [(label, _drawable(series, log_scale)) for label, series in curves]
    steps = [step for _, points in drawable for step, _ in points]
    values = [value for _, points in drawable for _, value in points]
    if not steps:
        raise UsageError(f"no point of {title!r} can be drawn")
    figure = plotille.Figure()
    figure.width = min(shutil.get_terminal_size().columns, _MAX_WIDTH) - _MARGIN
    figure.height = _HEIGHT
    figure.origin = False
    figure.x_label, figure.y_label = "step", f"log10 {title}" if log_scale else title
    figure.set_x_limits(*_span(min(steps), max(steps)))
    figure.set_y_limits(*_span(min(values), max(values)))
    figure.register_label_formatter(float, _tick)
    figure.register_label_formatter(int, _tick)
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    figure.color_mode, figure.with_colors = "names", coloured
    for index, (label, points) in enumerate(drawable):
        # Without colours each curve has a mark of its own, and only as many as there is room for.
        mark = None if coloured or len(curves) == 1 else _MARKS[index % len(_MARKS)]
        shown = points[:: max(1, len(points) // 40)] if mark else points
        figure.plot(
            [step for step, _ in shown],
            [value for _, value in shown],
            lc=_COLOURS[index % len(_COLOURS)] if coloured else None,
            interp=None if mark else "linear",
            label=label,
            marker=mark,
        )
    return str(figure.show(legend=True))


def _drawable(series: Series, log_scale: bool) -> list[tuple[int, float]]:
    return [
        (step, math.log10(value) if log_scale else value)
        for step, value in zip(series.steps, series.values, strict=True)
        if math.isfinite(value) and (value > 0 or not log_scale)
    ]


def _span(low: float, high: float) -> tuple[float, float]:
    """Return limits that are not one point."""
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:
    del delta
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)
