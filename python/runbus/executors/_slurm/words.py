"""What programs of Slurm print, line by line, whatever is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["digits", "split", "told", "whole_lines"]


def whole_lines(output: bytes) -> Iterator[str]:
    """Yield the whole lines: one that was cut off says nothing."""
    *whole, _ = output.decode("utf-8", "replace").split("\n")
    yield from whole


def split(line: str, count: int) -> list[str]:
    """Return so many fields and the rest; empty ones for what is missing."""
    fields = line.split("|", count)
    return fields + [""] * (count + 1 - len(fields))


def told(text: str) -> str:
    """Return a field; empty where Slurm has only said that it has nothing to say."""
    text = text.strip()
    return "" if text in {"None", "(null)", "None assigned", "n/a", "N/A"} else text


def digits(text: str) -> int | None:
    """Return a number; None if it is none."""
    # Longer ones are no times and no codes.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
