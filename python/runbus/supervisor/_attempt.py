"""One attempt of a job: what was seen of it, and when that is enough to call it over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from runbus.abc import JobRef, JobSpec, Observation
    from runbus.jobs import Patience
    from runbus.supervisor._output import JobOutput

__all__ = ["Attempt"]

GONE_LOOKS, GONE_S = 3, 2.0
"""A job that is neither there nor recorded as ended is LOST only after so many looks in a row,
over so many seconds."""


class Attempt:
    """An attempt that was submitted and has not ended."""

    __slots__ = (
        "_gone_looks",
        "_gone_since",
        "ended",
        "has_started",
        "job",
        "last",
        "output",
        "patience",
        "ref",
    )

    def __init__(self, job: JobSpec, ref: JobRef, output: JobOutput, patience: Patience) -> None:
        self.job = job
        self.ref = ref
        self.output = output
        self.patience = patience
        self.has_started = False
        self.ended = anyio.Event()
        self.last: Observation | None = None
        self._gone_looks = 0
        self._gone_since = 0.0

    def is_over(self, seen: Observation, now: float) -> bool:
        """Take in an observation made at `now` and return whether it, with those before, is final.

        One look at which the job is gone is no evidence: it may be starting, or its record on
        its way.
        """
        self.last = seen
        if seen.phase == "ended":
            return True
        if seen.phase != "gone":
            self._gone_looks = 0
            return False
        if not self._gone_looks:
            self._gone_since = now
        self._gone_looks += 1
        return self._gone_looks >= GONE_LOOKS and now - self._gone_since >= GONE_S
