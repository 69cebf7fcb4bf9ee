"""Tables: whole ones for programs, and for a terminal as much as fits into its width.

On a terminal, long names and reasons are broken over several lines, columns that can be done
without are left out, and no cell that is shown is cut.
"""

from __future__ import annotations

import sys
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from runbus.cli._printer import colored, printable, state_style, unescaped
from runbus.cli._screen import cut, width_of, wrapped

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterable, Iterator, Sequence

__all__ = [
    "GAP",
    "SHOWN_METRICS",
    "print_part",
    "print_table",
    "table_width",
    "tell_left_out",
    "terminal_columns",
    "terminal_rows",
    "without",
]

GAP = 2

SHOWN_METRICS = 3
"""Of how many metrics a table shows the last value: of those that were logged first."""

_PLAIN_ROWS = 500
"""A longer table is printed plainly on a terminal, too."""

_FOLDED = (
    "name", "best", "metric", "project", "tags", "command", "path", "reason", "problem", "details"
)  # fmt: skip
"""The columns that a narrow terminal breaks; nobody can copy an id that is broken."""

_FOLDED_WIDTH = 8
"""No narrower than this are they broken."""

_FOLDED_SHARE = 4
"""Before they get less than one part in so many of a terminal, other columns are left out."""


_SHARE = 3
"""A value takes at most one part in so many of a terminal that has no room for the table."""

_SHORTEST = 16
"""And at least so many columns."""


def terminal_columns() -> int | None:
    """Return how wide the terminal is that standard output goes to; None if it goes elsewhere."""
    return _terminal_size().columns if sys.stdout.isatty() else None


def terminal_rows() -> int | None:
    """Return how high the terminal is that standard output goes to; None if it goes elsewhere."""
    return _terminal_size().lines if sys.stdout.isatty() else None


def _terminal_size() -> os.terminal_size:
    import shutil  # only for a terminal: it brings every kind of archive

    return shutil.get_terminal_size()


def without(
    header: Sequence[str], rows: Iterable[Sequence[str]], names: Container[str]
) -> tuple[list[str], list[list[str]]]:
    """Return a table without some of its columns."""
    kept = [at for at, name in enumerate(header) if name not in names]
    return [header[at] for at in kept], [[row[at] for at in kept] for row in rows]


def table_width(columns: Iterable[Sequence[str]]) -> int:
    """Return how wide a table of such columns is, each with its name first."""
    widths = [max(width_of(printable(cell)) for cell in column) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> list[str]:
    """Print rows under a header.

    Args:
        header: The columns' names; the one called "state" is colored on a terminal.
        rows: The cells; a control character in one is shown escaped.
        right: The names of columns that hold numbers.
        optional: The names of columns that a narrow terminal can do without, those first that are
            missed least.

    Returns:
        The names of the columns that were left out.
    """
    columns = [_printable(column) for column in zip(header, *rows, strict=True)]
    at_right = {printable(name) for name in right}
    width = terminal_columns()
    if width is not None:
        columns = _fitting(columns, list(map(printable, optional)), width)
    widths = list(map(_width, columns))
    is_plain = width is None or len(columns[0]) > _PLAIN_ROWS or _least(columns, widths) > width
    if width is not None and not is_plain:
        widths = _folded(columns, widths, width)
    write = _plain if is_plain else _shown
    written = (line.rstrip() for line in write(columns, widths, at_right))
    # No cell does anything to a terminal by now.
    unescaped(sys.stdout).write("".join(f"{line}\n" for line in written))
    shown = {column[0] for column in columns}
    return [name for name in header if printable(name) not in shown]


def _printable(column: Sequence[str]) -> list[str]:
    return list(column) if "".join(column).isprintable() else list(map(printable, column))


def _width(column: Sequence[str]) -> int:
    """Return how wide a column is; of plain characters it is counted at once."""
    return max(map(len if "".join(column).isascii() else width_of, column))


def _plain(
    columns: Sequence[Sequence[str]], widths: Sequence[int], at_right: Container[str]
) -> Iterator[str]:
    """Yield the lines of a table whose rows take a line each."""
    padded = []
    for column, room in zip(columns, widths, strict=True):
        if not "".join(column).isascii():
            pad = partial(_padded, room=room, is_right=column[0] in at_right)
            padded.append(list(map(pad, column)))
        elif column[0] in at_right:
            padded.append([cell.rjust(room) for cell in column])
        else:
            padded.append([cell.ljust(room) for cell in column])
    return map((" " * GAP).join, zip(*padded, strict=True))


def _shown(
    columns: Sequence[Sequence[str]], widths: Sequence[int], at_right: Container[str]
) -> Iterator[str]:
    """Yield the lines of a table on a terminal: in colors, with long cells broken."""
    for at, cells in enumerate(zip(*columns, strict=True)):
        for line in _broken(cells, widths):
            told = []
            for column, cell, room in zip(columns, line, widths, strict=True):
                style = "bold" if not at else state_style(cell) if column[0] == "state" else ""
                shown = colored(cell, style) if cell else ""
                told.append(_padded(shown, room, is_right=column[0] in at_right))
            yield (" " * GAP).join(told)


def _padded(cell: str, room: int, *, is_right: bool) -> str:
    blank = " " * (room - width_of(cell))
    return blank + cell if is_right else cell + blank


def print_part(
    rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), how: str = "--json"
) -> None:
    """Print rows, of which the first is the header; on a terminal as many columns as have room.

    Where not all have, long values are cut, and standard error says what is missing.

    Args:
        rows: The cells.
        right: The names of columns that hold numbers.
        how: The option that prints all.
    """
    columns = list(zip(*rows, strict=True))
    width = terminal_columns()
    shown = [list(column) for column in columns]
    if width is not None and table_width(columns) > width:
        widest = max(_SHORTEST, width // _SHARE)
        shown = [[cut(printable(cell), widest) for cell in column] for column in columns]
        while len(shown) > 1 and table_width(shown) > width:
            shown.pop()
    header, *cells = zip(*shown, strict=True)
    print_table(header, cells, right=right)
    if shown != [list(column) for column in columns]:
        told = f"{len(shown)} of {len(columns)} columns are shown, long values cut"
        sys.stderr.write(f"{told}: {how} prints all\n")


def tell_left_out(names: Sequence[str], how: str = "") -> None:
    """Say on standard error which columns a terminal had no room for, and how to see them."""
    if names:
        told = f"there is no room for {', '.join(map(printable, names))}"
        sys.stderr.write(f"{told}{how and f': {how}'}\n")


def _fitting(columns: list[list[str]], optional: list[str], width: int) -> list[list[str]]:
    """Leave out what can be done without, until the rest fits or nothing more can be left out."""
    for name in optional:
        widths = list(map(_width, columns))
        if _least(columns, widths, max(_FOLDED_WIDTH, width // _FOLDED_SHARE)) <= width:
            break
        columns = [column for column in columns if column[0] != name]
    return columns


def _least(
    columns: Sequence[Sequence[str]], widths: Sequence[int], folded: int = _FOLDED_WIDTH
) -> int:
    """Return how wide the table is if all that can be broken is broken to so many columns."""
    least = (
        min(width, folded) if column[0] in _FOLDED else width
        for column, width in zip(columns, widths, strict=True)
    )
    return sum(least) + GAP * (len(widths) - 1)


def _folded(columns: Sequence[Sequence[str]], widths: list[int], width: int) -> list[int]:
    """Return the widths after the widest of the columns that may be broken gave room."""
    widths = list(widths)
    while (over := sum(widths) + GAP * (len(widths) - 1) - width) > 0:
        folded = [at for at, column in enumerate(columns) if column[0] in _FOLDED]
        first, *others = sorted(folded, key=lambda at: widths[at], reverse=True)
        next_one = max([_FOLDED_WIDTH, *(widths[at] for at in others)])
        step = widths[first] - next_one or 1
        widths[first] -= min(over, step)
    return widths


def _broken(cells: Sequence[str], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    """Return the lines of a row."""
    if all(width_of(cell) <= width for cell, width in zip(cells, widths, strict=True)):
        return [cells]
    parts = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    return list(zip_longest(*parts, fillvalue=""))
