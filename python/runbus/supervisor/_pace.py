"""How often a backend is looked at."""

from __future__ import annotations

__all__ = [
    "FASTEST_S",
    "IDLE_S",
    "NOTICE_S",
    "POLLED_SLOWEST_S",
    "PUSHED_SLOWEST_S",
    "UNREAD_S",
    "Pace",
]

FASTEST_S = 0.025
"""Seconds between two looks while something happens."""

PUSHED_SLOWEST_S = 0.5
"""Seconds between two looks at a backend that tells by itself: for what it cannot tell."""

NOTICE_S = 0.5
"""How soon it is noticed that somebody reads what was read by nobody."""

UNREAD_S = 5.0
"""The same, while nobody reads what its jobs write: looks serve the output, too."""

IDLE_S = 10.0
"""Seconds between two looks, at the most, for what nobody waits for and nothing was new of."""

POLLED_SLOWEST_S = 5.0
"""Seconds between two looks, at the most, at a backend that must be asked."""

_GROWTH = 1.5


class Pace:
    """Says when to look next: soon after something happened, ever later while nothing does.

    Args:
        fastest_s: Least number of seconds between two looks.
        slowest_s: Seconds between two looks, at the most.
    """

    __slots__ = ("_fastest_s", "_interval_s", "_last", "_slowest_s", "_soon_s")

    def __init__(self, fastest_s: float, slowest_s: float) -> None:
        self._fastest_s = fastest_s
        self._soon_s = max(fastest_s, FASTEST_S)
        self._slowest_s = max(slowest_s, fastest_s)
        self._interval_s = 0.0
        self._last = 0.0

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next look is due; 0 if it is."""
        return max(0.0, self._last + self._interval_s - now)

    def looked(self, now: float, *, has_changed: bool, slowest_s: float | None = None) -> None:
        """Take note of a look and of whether it showed anything new.

        Args:
            now: The time of the look.
            has_changed: Whether it showed anything new.
            slowest_s: Seconds to the next one, at the most, if other than usual.
        """
        self._last = now
        slower = max(self._interval_s * _GROWTH, self._soon_s)
        slowest_s = self._slowest_s if slowest_s is None else slowest_s
        self._interval_s = self._soon_s if has_changed else min(slower, slowest_s)

    def quicken(self, *, at_once: bool = False) -> bool:
        """Look soon, because something was done; or at once, because the backend told something.

        No sooner than the backend bears.

        Returns:
            Whether the next look is sooner than it was to be.
        """
        before, self._interval_s = self._interval_s, self._fastest_s if at_once else self._soon_s
        return self._interval_s < before
