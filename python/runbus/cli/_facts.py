"""Facts as labels with texts: what is told of one thing, not of many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus.cli._printer import printable
from runbus.cli._screen import width_of, wrapped
from runbus.cli._table import GAP, terminal_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_facts", "shown_path"]

_LABELS = 10
_NARROWEST = 20
"""Texts are not broken to less, however narrow the terminal is."""


def print_facts(facts: Sequence[tuple[str, str]], *, notes: str = "") -> None:
    """Print a line for each fact; on a terminal, long ones continue below where they began.

    Args:
        facts: The labels with the texts; a control character in one is shown escaped.
        notes: The label of texts that may have several lines.
    """
    facts = [(printable(label), text) for label, text in facts]
    room = max(_LABELS, *(width_of(label) + GAP for label, _ in facts))
    width = terminal_columns()
    for label, text in facts:
        lines = list(map(printable, text.splitlines() if label == notes else [text]))
        if width is not None:
            fitting = max(_NARROWEST, width - room)
            lines = [part for line in lines for part in wrapped(line, fitting)]
        blank = " " * (room - width_of(label))
        click.echo(f"{label}{blank}" + f"\n{' ' * room}".join(lines))


def shown_path(path: str) -> str:
    """Return a path as a terminal shows it: what is below the user's folder begins with `~`."""
    user = os.path.expanduser("~")
    is_below = terminal_columns() is not None and path.startswith(f"{user}{os.sep}")
    return f"~{path[len(user) :]}" if is_below else path
