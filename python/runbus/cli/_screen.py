"""The bottom of a terminal, which is drawn again in place."""

from __future__ import annotations

import os
import re
import sys

from runbus.cli._printer import unescaped

__all__ = ["Screen", "clear_screen", "cut", "uncolored", "width_of", "wrapped"]

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_PARTS = re.compile(r"[^\s/]*(?:/+|\s+|$)")


class Screen:
    """Knows what it has drawn last, and how to draw something else there.

    Args:
        file: The terminal's descriptor.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._drawn: list[str] = []

    def size(self) -> tuple[int, int]:
        """Return the terminal's columns and rows; 80 and 24 where it is unknown."""
        try:
            columns, rows = os.get_terminal_size(self._file)
        except OSError:
            columns, rows = 0, 0
        return columns or 80, rows or 24

    def change(self, lines: list[str], columns: int, *, has_text: bool) -> tuple[str, str]:
        """Return what to send before some lines of text, and after them.

        Args:
            lines: What is to be drawn below the text, in the place of what is there.
            columns: How wide the terminal is by now.
            has_text: Whether there is any text between them.
        """
        if lines == self._drawn and not has_text:
            return "", ""
        # A terminal that was made narrower has broken the lines that had been drawn.
        rows = sum(-(-max(1, width_of(line)) // columns) for line in self._drawn)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        before = f"\r{up}\x1b[J" if rows else ""
        self._drawn = lines
        return before, "\n".join(lines)


def clear_screen() -> None:
    """Clear the terminal that standard output is, and begin at its top.

    (click's own goes through what makes control characters visible.)
    """
    out = unescaped(sys.stdout)
    out.write("\x1b[H\x1b[2J")
    out.flush()


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes; colors take none."""
    if "\x1b" in text:
        text = uncolored(text)
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def uncolored(text: str) -> str:
    """Return a text without what colors it on a terminal."""
    return _COLORS.sub("", text)


def cut(text: str, columns: int) -> str:
    """Return a text without colors that takes at most so many columns; a cut ends with `…`."""
    if width_of(text) <= columns:
        return text
    if columns < 1:
        return ""
    if text.isascii():
        return f"{text[: columns - 1]}…"
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, columns - 1)}…"


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text without colors as lines of at most so many columns, 2 or more.

    They are broken at spaces and after slashes; one word that is too long is broken anywhere.
    """
    if width_of(text) <= columns:
        return [text]
    lines = [""]
    for part in _PARTS.findall(text):
        if width_of(lines[-1] + part.rstrip()) > columns:
            *whole, part = [*_pieces(part.rstrip(), columns), part[len(part.rstrip()) :]]
            lines += whole
        lines[-1] += part
    return [line.rstrip() for line in lines if line.strip()]


def _pieces(word: str, columns: int) -> list[str]:
    if word.isascii():
        return [word[at : at + columns] for at in range(0, len(word), columns)]
    from rich.cells import chop_cells

    return chop_cells(word, columns)
