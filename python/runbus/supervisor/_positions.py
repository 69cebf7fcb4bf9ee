"""How far what a run logs and records had been handed on: a small file in the run's folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.codec import DecodeError, decode_json, encode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NOTE_S", "Positions"]

NOTE_S = 1.0
"""How often it is noted."""

_LARGEST = 1 << 63


class Positions:
    """Keeps where to go on in each journal after a crash of whoever read them.

    Args:
        folder: The run's folder.
        name: What is read: "metrics" or "records".
        leads: Whether this process leads the experiment. Who does not notes nothing, and begins at
            the start: whoever looks on wants the values there are.

    Attributes:
        last: The bytes of each journal that had been handed on when that was last noted.
    """

    __slots__ = ("_leads", "_path", "last")

    def __init__(self, folder: str, name: str, *, leads: bool = True) -> None:
        self._path = os.path.join(folder, f"{name}.cursor")
        self._leads = leads
        self.last: dict[str, int] = {}
        if not leads:
            return
        try:
            with open(self._path, "rb") as file:
                found = decode_json(file.read(), dict[str, int])
                self.last = {name: at for name, at in found.items() if 0 <= at < _LARGEST}
        except (OSError, DecodeError):
            pass  # what is handed on twice is no loss

    def note(self, positions: Mapping[str, int]) -> None:
        """Note how far journals have been handed on, if that is new; others stay as they are."""
        merged = {**self.last, **positions}
        if not self._leads or merged == self.last:
            return
        try:
            with open(f"{self._path}.new", "wb") as file:
                file.write(encode_json(merged))
            os.replace(f"{self._path}.new", self._path)
            self.last = merged
        except OSError:
            pass  # likewise, on a full disk
