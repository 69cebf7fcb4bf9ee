"""What metrics add up to, as a table that fits the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runbus.cli._printer import format_number
from runbus.cli._table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.metrics import SeriesSummary

__all__ = ["print_summaries"]

_SPREAD = ("mean", "std", "p50", "p95", "p99", "first")
_HEADER = ("metric", "points", "last step", "last", "min @ step", "max @ step", *_SPREAD)
_OPTIONAL = (*reversed(_SPREAD), "points", "max @ step", "last step", "min @ step")


def print_summaries(summaries: Mapping[str, SeriesSummary]) -> None:
    """Print a row a metric; on a terminal, the columns that there is room for, best first."""
    rows = [
        [
            name,
            str(one.points),
            str(one.last_step),
            format_number(one.last),
            _at(one.min, one.min_step),
            _at(one.max, one.max_step),
            *(format_number(getattr(one, figure)) for figure in _SPREAD),
        ]
        for name, one in summaries.items()
    ]
    print_table(_HEADER, rows, right=_HEADER[1:], optional=_OPTIONAL)


def _at(value: float, step: int) -> str:
    return format_number(value) if math.isnan(value) else f"{format_number(value)} @ {step}"
