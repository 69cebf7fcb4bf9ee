"""How a notebook shows runs: tables of HTML. Whatever a name holds, it is only text there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["table_html", "time_text"]


def table_html(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; everything in it is text."""
    head = _row(header, "th") if header else ""
    return f"<table>{head}{''.join(_row(row, 'td') for row in rows)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    import html  # only here: it knows every character by name

    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def time_text(time_ns: int) -> str:
    """Return a time of this place's clocks; nothing for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9)) if time_ns else ""
