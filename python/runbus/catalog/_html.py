"""How a notebook shows runs: tables of HTML. Whatever a name holds, it is only text there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runbus.catalog._runs import RunRecord

__all__ = ["RunList", "run_html", "table_html"]

_SHOWN = 100
"""A longer list is cut, with a word."""

T = TypeVar("T")


class RunList(list["RunRecord"]):
    """A list of runs, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [
            [run.id, run.name, run.project, str(run.state), _time(run.info.created_ns)]
            for run in self[-_SHOWN:]
        ]
        left_out = f"<p>… and {len(self) - _SHOWN} before them</p>" if len(self) > _SHOWN else ""
        return table_html(["id", "name", "project", "state", "created"], rows) + left_out


def run_html(run: RunRecord) -> str:
    """Return a run as two tables: what it is, and its metrics."""
    facts = [
        ["run", run.id],
        ["name", run.name],
        ["project", run.project],
        ["state", f"{run.state}{f': {run.reason}' if run.reason else ''}"],
        ["created", _time(run.info.created_ns)],
        *(["param", f"{name} = {value}"] for name, value in run.params.items()),
        *(["tags", ", ".join(run.tags)] for _ in run.tags[:1]),
        ["folder", run.folder],
    ]
    metrics = [
        [name, str(one.points), str(one.last_step), f"{one.last:.6g}", f"{one.min:.6g}",
         f"{one.max:.6g}"]
        for name, one in run.summaries().items()
    ]  # fmt: skip
    header = ["metric", "points", "last step", "last", "min", "max"]
    return table_html([], facts) + (table_html(header, metrics) if metrics else "")


def table_html(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; everything in it is text."""
    head = _row(header, "th") if header else ""
    return f"<table>{head}{''.join(_row(row, 'td') for row in rows)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    import html  # only here: it knows every character by name

    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _time(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9)) if time_ns else ""
