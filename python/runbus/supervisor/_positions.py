"""How far what a run logs and records had been handed on: a small file in the run's folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._files import add_check, read_file, take_check, write_file
from runbus.codec import DecodeError, decode_json, encode_json
from runbus.errors import FileUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    CheckLead = Callable[[], None] | None

__all__ = ["NOTE_S", "Positions"]

NOTE_S = 1.0
"""How often it is noted."""

_LARGEST = 1 << 63


class Positions:
    """Keeps where to continue in each journal after a crash of the process that read them.

    Output has `LogMarks` instead: a history, whose last line is the position.

    Args:
        folder: The run's folder.
        name: What is read: "metrics" or "records".
        check_lead: Raises if this process does not lead the experiment any more: what it would
            note may be ahead of what the next leader has told. None for one that only follows: it
            writes nothing, and begins at the start.

    Attributes:
        last: The bytes of each journal that had been handed on when that was last noted.
    """

    __slots__ = ("_check_lead", "_path", "last")

    def __init__(self, folder: str, name: str, check_lead: CheckLead) -> None:
        self._path = os.path.join(folder, f"{name}.cursor")
        self._check_lead = check_lead
        self.last: dict[str, int] = {}
        if check_lead is None or not os.access(self._path, os.F_OK):
            return
        try:
            found = decode_json(take_check(read_file(self._path), self._path), dict[str, int])
            self.last = {name: at for name, at in found.items() if 0 <= at < _LARGEST}
        except (OSError, FileUnreadable, DecodeError):
            pass  # what is handed on twice is no loss

    def note(self, positions: Mapping[str, int]) -> None:
        """Note how far journals have been handed on, if that is new; others stay as they are.

        Raises:
            LeaseLost: Another process leads the experiment now.
        """
        merged = {**self.last, **positions}
        if merged == self.last:
            return
        if self._check_lead is None:
            self.last = merged
            return
        self._check_lead()
        try:
            # Not awaited: after a power failure what is handed on twice is no loss.
            write_file(self._path, add_check(encode_json(merged)), is_durable=False)
            self.last = merged
        except OSError:
            pass  # for example on a full disk
