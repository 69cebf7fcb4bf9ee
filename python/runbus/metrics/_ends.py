"""How runs end: the number in a journal's final record, and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runbus._secrets import redacted_text
from runbus.metrics._values import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CANCELLED", "DROPPED", "FAILED", "SUCCEEDED", "End", "worst"]

SUCCEEDED, FAILED, CANCELLED, DROPPED = 0, 1, 2, 3
"""The states a journal can end in; DROPPED where nobody called `finish`."""

_CANCELLED_BY = {
    ("builtins", "GeneratorExit"),
    ("asyncio.exceptions", "CancelledError"),
    ("optuna.exceptions", "TrialPruned"),
}
"""Exceptions of libraries that say so: known by name, because nobody is to pay for the import."""
_LONGEST_REASON = 2000
_STATUS_BITS = 8


class End(NamedTuple):
    """How a writer ended.

    Attributes:
        state: SUCCEEDED, FAILED, CANCELLED or DROPPED; None if it died without saying.
        reason: Why, in a line or a few; empty if there is nothing to say.
    """

    state: int | None
    reason: str = ""

    @classmethod
    def decoded(cls, number: int | None, reason: str = "") -> End:
        """Return what the number of a final record says.

        Args:
            number: The state in the low eight bits, the exit status of the process in those above;
                None without a final record.
            reason: What the writer recorded as the reason.
        """
        if number is None:
            return cls(None, "its process died without ending it")
        state, status = number & (1 << _STATUS_BITS) - 1, number >> _STATUS_BITS
        if state == SUCCEEDED:
            return cls(SUCCEEDED)
        if state == DROPPED:
            reason = reason or "dropped without finish()"
        elif status:
            reason = reason or f"exit code {status}"
        return cls(min(state, DROPPED), reason)

    @classmethod
    def by(
        cls, error: BaseException | None, cancelled_on: tuple[type[BaseException], ...] = ()
    ) -> End:
        """Return how a block ends that this exception leaves.

        Args:
            error: The exception; None if there is none.
            cancelled_on: Which ones mean that somebody has cancelled it.
        """
        if error is None:
            return cls(SUCCEEDED)
        if isinstance(error, SystemExit) and not isinstance(error, cancelled_on):
            if error.code is not None and not isinstance(error.code, int):
                return cls(FAILED, _short(str(error.code)))
            # As the system will tell others: the last eight bits.
            status = (error.code or 0) & 0xFF
            return cls(FAILED, f"exit code {status}") if status else cls(SUCCEEDED)
        kind = type(error)
        is_cancelled = isinstance(error, (KeyboardInterrupt, *cancelled_on)) or any(
            (one.__module__, one.__name__) in _CANCELLED_BY for one in kind.__mro__
        )
        try:
            text = str(error)
        except Exception:
            text = ""
        reason = f"{kind.__qualname__}: {text}" if text else kind.__qualname__
        return cls(CANCELLED if is_cancelled else FAILED, _short(reason))


def worst(ends: Iterable[End]) -> End:
    """Return the end that counts among those of several ranks: one that failed, before all others.

    Raises:
        ValueError: There are none.
    """
    order = (SUCCEEDED, CANCELLED, DROPPED, None, FAILED)
    return max(ends, key=lambda end: order.index(end.state))


def _short(reason: str) -> str:
    return redacted_text(clean_text(reason))[:_LONGEST_REASON]
