"""Tells now and then which plugin is waited for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.bus import Timers

__all__ = ["Reminder"]

logger = logging.getLogger("runbus.kernel")

_WAITING_EVERY_S = 10.0


class Reminder:
    """Logs every 10 seconds which plugin is waited for."""

    def __init__(self, timers: Timers, name: str) -> None:
        self._timers = timers
        self._name = name
        self._waited_s = 0.0
        self._timer = self._timers.call_later(_WAITING_EVERY_S, self._remind)

    def _remind(self) -> None:
        self._waited_s += _WAITING_EVERY_S
        logger.warning("still waiting for: %s (%.0f s)", self._name, self._waited_s)
        self._timer = self._timers.call_later(_WAITING_EVERY_S, self._remind)

    def cancel(self) -> None:
        """Log no more."""
        self._timer.cancel()
