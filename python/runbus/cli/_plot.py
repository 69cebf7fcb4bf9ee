"""Curves drawn with characters."""

from __future__ import annotations

import math
import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from runbus.cli._screen import cut, width_of
from runbus.errors import ExtraMissing, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Curve", "draw", "draw_beside"]

_HEIGHT = 16
_AROUND = 10
"""So many rows of a terminal are for axes, legend and what stands around them."""

_MAX_WIDTH = 200
_TICK = 10
"""The axis of positions has a tick every so many columns, at least."""

_MARGIN = 15
"""So many columns are for what stands left of the rows, and for the end of the axis."""

_LABEL = 12
"""Of the label of an axis, so much is left room for."""

_ALIKE = 20
"""Curves whose greatest values differ by more times than this are not drawn on one axis."""

_AROUND_PANEL = 5
"""So many rows of a drawing that stands above another are not for points, besides its legend."""

_HALF_DOT = 1 / 8
"""A value is drawn at the nearest of the four dots of a row."""

_COLORS = ("cyan", "magenta", "yellow", "green", "red", "blue")
_MARKS = "ox+*#@"
_MARKED = 20
"""So many points of a curve have its mark."""


class Curve(NamedTuple):
    """One line of a drawing: for each point where it lies, and how high."""

    label: str
    positions: Sequence[float]
    values: Sequence[float]


def draw_beside(
    axis: str,
    curves: Mapping[str, Sequence[Curve]],
    *,
    log_scale: bool = False,
    height: int | None = None,
) -> str:
    """Return the curves of several metrics as one drawing, or as several, one above the other.

    Those of a size share a drawing, and all the axis of positions: a loss beside a percentage would
    be a line at 0.

    Raises:
        ExtraMissing: plotille is not installed.
        UsageError: No point can be drawn, or the points are too far apart.
    """
    panels: list[_Panel] = []
    for name, some in curves.items():
        points = [point for curve in some for point in _drawable(curve, log_scale)]
        most = max((abs(value) for _, value in points), default=0.0)
        size = 0.0 if log_scale else most
        panel = next((panel for panel in panels if panel.takes(size)), None)
        if panel is None:
            panels.append(panel := _Panel([], [], size, []))
        panel.names.append(name)
        panel.curves.extend(some)
        panel.positions.extend(position for position, _ in points)
    if len(panels) == 1:
        title = ", ".join(panels[0].names)
        return draw(title, axis, panels[0].curves, log_scale=log_scale, height=height)
    positions = [position for panel in panels for position in panel.positions]
    room = shutil.get_terminal_size().lines // len(panels) - _AROUND_PANEL
    return "\n\n".join(
        draw(
            ", ".join(panel.names), axis, panel.curves, log_scale=log_scale,
            height=height or max(3, min(_HEIGHT, room - len(panel.curves))),
            span=_span(positions),
        )
        for panel in panels
    )  # fmt: skip


class _Panel(NamedTuple):
    names: list[str]
    curves: list[Curve]
    size: float
    positions: list[float]

    def takes(self, size: float) -> bool:
        """Whether curves of a size are to be seen beside these; what is 0 is seen anywhere."""
        least, most = sorted((self.size, size))
        return not least or most <= _ALIKE * least


def draw(
    title: str,
    axis: str,
    curves: Sequence[Curve],
    *,
    log_scale: bool = False,
    height: int | None = None,
    span: tuple[float, float] | None = None,
) -> str:
    """Return curves as a drawing, as wide as the terminal, at most 200 columns.

    Curves differ by color on a terminal, by their marks elsewhere. Ticks are 1, 2, 2.5 or 5 times
    a power of ten; those of whole positions, such as steps, are whole numbers. Points that are not
    finite, and on a logarithmic axis those not above 0, are left out.

    Args:
        title: What stands at the axis of values.
        axis: What stands at that of positions.
        curves: The curves.
        log_scale: Whether the values are shown by their logarithms.
        height: The rows of the drawing; by the terminal if None.
        span: The first and the last position of the axis; those of the points if None.

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
    room = min(columns, _MAX_WIDTH) - _MARGIN - min(width_of(axis), _LABEL)
    width = figure.width = max(_TICK, room)
    figure.origin = figure.with_x_axis = False
    figure.y_label = f"log10 {title}" if log_scale else title
    left, right = span or _span(positions)
    # The last point lies in the last of the two dots of a column, not behind it.
    figure.set_x_limits(left, _behind(left, right, 2 * width))
    rows = height or max(2, min(_HEIGHT, rows - _AROUND - len(curves)))
    low, high, figure.height = _rows(*_span(values), rows)
    figure.set_y_limits(low, high)
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
    above, _, *drawn = figure.show(legend=False).splitlines()  # the second row has no points
    is_whole = all(float(position).is_integer() for position in positions)
    below = _axis(left, right, width, axis, is_whole=is_whole)
    legend = _legend([curve.label for curve in curves], colored=colored)
    lines = [above, *drawn, *below, "", *legend]
    # Only the end of the axis and long labels may be too wide.
    return "\n".join(line if width_of(line) <= columns else cut(line, columns) for line in lines)


def _legend(labels: Sequence[str], *, colored: bool) -> list[str]:
    """Return a row for each curve, told by its color, or by its mark."""
    if not colored and len(labels) > 1:
        return [f"{_MARKS[at % len(_MARKS)]} {label}" for at, label in enumerate(labels)]
    import plotille

    return [
        plotille.color(f"⠤⠤ {label}", fg=_COLORS[at % len(_COLORS)], no_color=not colored)
        for at, label in enumerate(labels)
    ]


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


def _behind(low: float, high: float, dots: int) -> float:
    """Return the limit with which the last of so many dots is that of `high`."""
    limit = high + (high - low) / (dots - 1)
    return limit if math.isfinite(limit - low) else high


def _nice(least: float) -> float:
    """Return the least of 1, 2, 2.5 and 5 times a power of ten that is not below a number."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((n * power for n in (1, 2, 2.5, 5) if n * power >= least), 10 * power)


def _rows(low: float, high: float, most: int) -> tuple[float, float, int]:
    """Return limits with which each row begins at a tick, and how many rows that makes.

    The first row has the least value, the last one the greatest.
    """
    step = _nice(max((high - low) / most, 1e-300))
    while True:
        first = math.floor(low / step + _HALF_DOT)
        rows = math.floor(high / step + _HALF_DOT) - first + 1
        if rows <= most:
            break
        step = _nice(step * 1.01)
    bottom, top = first * step, (first + rows) * step
    is_exact = bottom - step <= low and high < top and math.isfinite(top - bottom)
    return (bottom, top, rows) if is_exact else (low, high, most)


def _axis(low: float, high: float, width: int, label: str, *, is_whole: bool) -> list[str]:
    """Return the two lines of an axis of positions: ticks, and what they are."""
    step = _nice(max((high - low) / (width / _TICK), 1e-300))
    if is_whole:
        step = max(1.0, step if step.is_integer() else 2 * step)
    line, texts = ["-"] * width, [" "] * width
    at = math.ceil(low / step)
    free = 0
    while (tick := at * step) <= high:
        column = round((tick - low) / (high - low) * (2 * width - 1)) // 2
        text = f"{round(tick)}" if is_whole else f"{tick:.6g}"
        line[column] = "|"
        if free <= column and column + len(text) <= width:
            texts[column : column + len(text)] = text
            free = column + len(text) + 1
        at += 1
    return [f"{'-' * 11}|-{''.join(line)}> {label}", f"{' ' * 11}| {''.join(texts)}".rstrip()]


def _tick(value: float, chars: int, delta: float, left: bool = False) -> str:
    del delta
    text = f"{value:.4g}"
    return text.ljust(chars) if left else text.rjust(chars)
