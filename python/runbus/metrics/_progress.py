"""The metrics under which a run reports how much of its work is done."""

from __future__ import annotations

__all__ = ["DONE", "PROGRESS", "TOTAL"]

PROGRESS = "progress/"
DONE = f"{PROGRESS}done"
TOTAL = f"{PROGRESS}total"
