"""An executor as data."""

from __future__ import annotations

from typing import Any

import msgspec

from runbus.events import Timeouts

__all__ = ["ExecutorEntry"]


class ExecutorEntry(msgspec.Struct, frozen=True):
    """An executor as data, checked.

    Attributes:
        data: `{type: NAME, …}`: what its constructor is given. Another process makes it from that.
        timeouts: Those of its jobs that say nothing else.
    """

    data: dict[str, Any]
    timeouts: Timeouts = Timeouts()
