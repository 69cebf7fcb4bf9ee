"""The rows of the live table, and which of them there is room for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from runbus._clock import format_duration
from runbus.cli._printer import (
    colored,
    format_number,
    printable,
    state_style,
)
from runbus.cli._run_facts import native_words
from runbus.cli._screen import cut, uncolored, width_of
from runbus.cli._totals import Totals, first_of
from runbus.jobs import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.events import JobFact, MetricBatch
    from runbus.jobs import JobRecord

__all__ = ["SHOWN_METRICS", "Row", "picture_of"]

SHOWN_METRICS = 3
"""Of how many metrics a table shows the last value: of those that were logged first."""

_GAP = 2
_LEAST = 12
_NAME_SHARE = 3
"""Names that are long take one part in so many of the terminal, if the rest needs room."""


class Row:
    """One job in the live table.

    Args:
        name: The job's name.
        known: What is known of it already.

    Attributes:
        bar: What its progress bar shows.
    """

    def __init__(self, name: str, known: JobRecord | None) -> None:
        self.name = name
        self.bar = b""
        self.record = known
        self._step: int | None = None
        self._latest: dict[str, float | None] = {}

    def take_in(self, fact: JobFact) -> None:
        """Remember what happened to the job."""
        self.record = fold(self.record, fact)

    def measure(self, batch: MetricBatch) -> None:
        """Remember the latest value of each metric: from the end, so a batch costs little."""
        series = memoryview(batch.series).cast("I")
        values = memoryview(batch.values).cast("d")
        self._step = memoryview(batch.steps).cast("q")[-1]
        for name in batch.names:  # in the order of their first points, as in the result
            self._latest.setdefault(name, None)
        missing = set(range(len(batch.names)))
        for at in range(len(series) - 1, max(-1, len(series) - 1000), -1):
            if series[at] in missing:
                missing.remove(series[at])
                self._latest[batch.names[series[at]]] = values[at]
                if not missing:
                    break

    @property
    def state(self) -> str:
        if self.record is None:
            return "PENDING"
        return "SUSPENDED" if self.record.is_suspended else str(self.record.state)

    @property
    def step(self) -> str:
        return "" if self._step is None else str(self._step)

    @property
    def latest(self) -> str:
        """The last values of metrics; then what the job's progress bar or its backend says."""
        known = [(name, value) for name, value in list(self._latest.items()) if value is not None]
        said = [f"{printable(name)} {format_number(value)}" for name, value in known]
        said = said[:SHOWN_METRICS]
        record = self.record
        if record is not None and record.state.is_terminal:
            return "  ".join(said) if record.state == "SUCCEEDED" else printable(record.reason)
        if self.bar:
            said.append(printable(uncolored(self.bar.decode("utf-8", "replace")).strip()))
        elif record is not None and not record.is_suspended and (words := native_words(record)):
            said.append(printable(words))
        return "  ".join(said)

    @property
    def time(self) -> str:
        record = self.record
        if record is None or not record.started_ns:
            return ""
        if record.state.is_terminal:
            return format_duration(record.duration_s)
        # Whole seconds: a running clock shows no more.
        return format_duration(max(0, (time.time_ns() - record.started_ns) // 10**9))


def _record(row: Row) -> JobRecord | None:
    return row.record


class _Column(NamedTuple):
    title: str
    cells: list[str]
    is_right: bool = False


def picture_of(rows: Sequence[Row], columns: int, height: int) -> list[str]:
    """Return totals and a table: half as high as the terminal, and not as wide.

    Of more jobs than there is room for, those are shown that failed, that run, and that are next.
    """
    width = columns - 1  # a line that fills the last column breaks on some terminals
    room = max(1, height // 2 - 2)
    lines = []
    if len(rows) > 1:
        lines.append(cut(Totals.of(row.record for row in rows).text(width), width))
    if height < 6:
        return lines
    return lines + _table(first_of(rows, room, of=_record), width)


def _table(rows: Sequence[Row], width: int) -> list[str]:
    states = [row.state for row in rows]
    columns = [
        _Column("job", [printable(row.name) for row in rows]),
        _Column("state", states),
        _Column("step", [row.step for row in rows], is_right=True),
        _Column("latest", [row.latest for row in rows]),
        _Column("time", [row.time for row in rows], is_right=True),
    ]
    columns = [column for column in columns if column.title == "state" or any(column.cells)]
    widths = [max(map(width_of, [one.title, *one.cells])) for one in columns]
    _shrink(columns, widths, width)
    lines = []
    for at in range(-1, len(rows)):
        cells = []
        for column, room in zip(columns, widths, strict=True):
            text = cut(column.title if at < 0 else column.cells[at], room)
            blank = " " * (room - width_of(text))
            style = "bold" if at < 0 else state_style(text) if column.title == "state" else ""
            text = colored(text, style)
            cells.append(blank + text if column.is_right else text + blank)
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def _shrink(columns: list[_Column], widths: list[int], width: int) -> None:
    """Take from the latest values, then from the names, what the terminal has no room for."""
    share = max(_LEAST, width // _NAME_SHARE)
    shares = [("job", share), ("latest", _LEAST), ("job", _LEAST), ("latest", 0)]
    for title, least in shares:
        for at, column in enumerate(columns):
            over = sum(widths) + _GAP * (len(widths) - 1) - width
            if column.title == title and over > 0:
                widths[at] = max(min(widths[at], least), widths[at] - over)
    while len(columns) > 1 and sum(widths) + _GAP * (len(widths) - 1) > width:
        columns.pop()
        widths.pop()
    widths[0] = min(widths[0], width)
