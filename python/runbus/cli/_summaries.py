"""What metrics add up to, as a table that fits the terminal."""

from __future__ import annotations

import math
import shutil
import sys
from typing import TYPE_CHECKING

from runbus.cli._printer import format_number, printable
from runbus.cli._table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.metrics import SeriesSummary

__all__ = ["print_summaries"]

_GAP = 2


def print_summaries(summaries: Mapping[str, SeriesSummary]) -> None:
    """Print a row a metric; on a terminal, the columns that there is room for, best first."""
    columns = _columns(summaries)
    if sys.stdout.isatty():
        columns = _fitting(columns, shutil.get_terminal_size().columns)
    header = [column[0] for column in columns]
    rows = zip(*(column[1:] for column in columns), strict=True)
    print_table(header, [list(row) for row in rows], right=header[1:])


def _columns(summaries: Mapping[str, SeriesSummary]) -> list[list[str]]:
    """Return each column with its name first, those first that people look for first."""
    ones = list(summaries.values())
    columns = [
        ["metric", *map(printable, summaries)],
        ["points", *(str(one.points) for one in ones)],
        ["last step", *(str(one.last_step) for one in ones)],
        ["last", *(format_number(one.last) for one in ones)],
        ["min @ step", *(_at(one.min, one.min_step) for one in ones)],
        ["max @ step", *(_at(one.max, one.max_step) for one in ones)],
    ]
    return columns + [
        [name, *(format_number(getattr(one, name)) for one in ones)]
        for name in ("mean", "std", "p50", "p95", "p99", "first")
    ]


def _fitting(columns: list[list[str]], width: int) -> list[list[str]]:
    """Return the first columns that are together at most `width` wide."""
    used, count = 0, 0
    for column in columns:
        used += max(map(len, column)) + _GAP
        if used > width + _GAP:
            break
        count += 1
    return columns[: max(count, 4)]


def _at(value: float, step: int) -> str:
    return format_number(value) if math.isnan(value) else f"{format_number(value)} @ {step}"
