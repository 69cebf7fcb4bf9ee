"""What type checkers must see of the errors: checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from runbus.errors import HostError, JournalHeld, MailboxFull, RunNotFound, UsageError


class DoorShut(UsageError):
    """One that a plugin brings."""

    door: str
    tries: int = 1

    def __str__(self) -> str:
        return f"{self.door} is shut"


assert_type(DoorShut("front").tries, int)
assert_type(DoorShut(door="front", tries=2).hint, str | None)
assert_type(JournalHeld("a.journal").reason, str)
assert_type(RunNotFound("lr", ()).are_any, bool)
UsageError("a text")

DoorShut()  # type: ignore[call-arg]
DoorShut("front", "twice")  # type: ignore[arg-type]
DoorShut("front", door="back")  # type: ignore[misc]
HostError("host")  # type: ignore[call-arg]
MailboxFull("owner", "event", pending="many")  # type: ignore[arg-type]
UsageError()  # type: ignore[call-arg]
