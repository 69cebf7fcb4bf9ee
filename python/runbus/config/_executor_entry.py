"""An executor as data."""

from __future__ import annotations

from typing import Any

import msgspec

from runbus.events import Timeouts

__all__ = ["TIMES", "ExecutorEntry"]

TIMES = {"timeout": "run_s", "queue_timeout": "queue_s", "idle_timeout": "idle_s"}
"""What every executor takes in data, and what that is called among the time-outs of its jobs."""


class ExecutorEntry(msgspec.Struct, frozen=True):
    """An executor as data, checked.

    Attributes:
        data: `{type: NAME, …}`: what its constructor is given. Another process makes it from that.
        timeouts: Those of its jobs that say nothing else.
    """

    data: dict[str, Any]
    timeouts: Timeouts = Timeouts()

    @property
    def said(self) -> dict[str, Any]:
        """All of it as people write it: with the time-outs, in seconds, among its fields."""
        if "_target_" in self.data:  # written by import path, it takes its own fields alone
            return self.data
        times = {key: getattr(self.timeouts, of_jobs) for key, of_jobs in TIMES.items()}
        return {**self.data, **{key: one for key, one in times.items() if one is not None}}
