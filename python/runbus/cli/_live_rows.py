"""The rows of the live table, and which of them there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runbus.cli._live_groups import Group, grouped
from runbus.cli._printer import colored, printable, state_style
from runbus.cli._screen import cut, width_of
from runbus.cli._totals import Totals, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.cli._live_row import Row
    from runbus.jobs import JobRecord, SweepAsked

__all__ = ["picture_of"]

_GAP = 2
_LEAST = 12
_LATEST = 24
"""Rather than that less of the latest values is shown, other columns are left out."""

_OPTIONAL = ("rate", "left", "step")
_NAME_SHARE = 3
"""Names that are long take one part in so many of the terminal, if the rest needs room."""


def _record(row: Row) -> JobRecord | None:
    return row.record


class _Column(NamedTuple):
    title: str
    cells: list[str]
    is_right: bool = False


def picture_of(
    rows: Sequence[Row],
    columns: int,
    height: int,
    sweeps: Sequence[SweepAsked] = (),
    best: Mapping[int, str] | None = None,
) -> list[str]:
    """Return totals and a table: half as high as the terminal, and not as wide.

    Sweeps, and many jobs, are shown as groups; below them, as there is room, those that failed,
    that run, and that are next.
    """
    width = columns - 1  # a line that fills the last column breaks on some terminals
    room = max(1, height // 2 - 2)
    lines = []
    if len(rows) > 1:
        lines.append(cut(Totals.of(row.record for row in rows).text(width), width))
    if height < 6:
        return lines
    groups = grouped(rows, sweeps, best)
    if len(groups) > max(1, room // 2):
        groups = _most_urgent(groups, max(1, room // 2))
    single = first_of(rows, max(1, room - len(groups)), of=_record)
    return lines + _table(groups, single if len(groups) < room else (), width)


def _most_urgent(groups: Sequence[Group], room: int) -> list[Group]:
    """Return the groups of which jobs run, then those that wait, then those that are over."""
    running = [one for one in groups if one.totals.running]
    waiting = [one for one in groups if one.totals.waiting and not one.totals.running]
    over = [one for one in groups if not one.totals.running and not one.totals.waiting]
    chosen = [*running, *waiting, *over][:room]
    return [one for one in groups if one in chosen]


def _table(groups: Sequence[Group], rows: Sequence[Row], width: int) -> list[str]:
    columns = [
        _Column("job", [printable(one.title) for one in groups]
                + [printable(row.name) for row in rows]),
        _Column("state", [one.state for one in groups] + [row.state for row in rows]),
        _Column("step", [""] * len(groups) + [row.step for row in rows], is_right=True),
        _Column("progress", [one.progress for one in groups] + [row.progress for row in rows],
                is_right=True),
        _Column("latest", [one.told for one in groups] + [row.latest for row in rows]),
        _Column("time", [""] * len(groups) + [row.time for row in rows], is_right=True),
        _Column("left", [one.left for one in groups] + [row.left for row in rows], is_right=True),
        _Column("rate", [one.rate for one in groups] + [row.rate for row in rows], is_right=True),
    ]  # fmt: skip
    columns = [column for column in columns if column.title == "state" or any(column.cells)]
    widths = [max(map(width_of, [one.title, *one.cells])) for one in columns]
    told = max((width_of(one.best) for one in groups), default=0)
    _shrink(columns, widths, width, max(_LATEST, min(told, width // 2)))
    lines = []
    for at in range(-1, len(groups) + len(rows)):
        cells = []
        for column, room in zip(columns, widths, strict=True):
            text = cut(column.title if at < 0 else column.cells[at], room)
            blank = " " * (room - width_of(text))
            style = "bold" if at < 0 else state_style(text) if column.title == "state" else ""
            text = colored(text, style)
            cells.append(blank + text if column.is_right else text + blank)
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def _shrink(columns: list[_Column], widths: list[int], width: int, latest: int) -> None:
    """Take from the latest values, then from the names, what the terminal has no room for.

    Before they become short, columns are left out that can be done without.

    Args:
        columns: The columns.
        widths: How wide each is, which changes.
        width: How wide all may be.
        latest: How much of the latest values is shown rather than such columns.
    """

    def over() -> int:
        return sum(widths) + _GAP * (len(widths) - 1) - width

    def take(title: str, least: int) -> None:
        for at, column in enumerate(columns):
            if column.title == title and over() > 0:
                widths[at] = max(min(widths[at], least), widths[at] - over())

    take("job", max(_LEAST, width // _NAME_SHARE))
    take("latest", latest)
    for title in _OPTIONAL:
        for at, column in enumerate(columns):
            if column.title == title and over() > 0:
                del columns[at], widths[at]
                break
    for title, least in (("latest", _LEAST), ("job", _LEAST), ("latest", 0)):
        take(title, least)
    while len(columns) > 1 and over() > 0:
        columns.pop()
        widths.pop()
    widths[0] = min(widths[0], width)
