"""How far a job has come, how quickly, and when it will be done: from the points that it logs."""

from __future__ import annotations

import math
from collections import deque

from runbus._clock import format_duration
from runbus.cli._printer import format_number

__all__ = ["Advance", "rate_text", "share_text"]

_MARKS = 30
_APART_NS = 1_000_000_000
"""The rate is that of the last half minute: a mark each second, and the newest."""


class Advance:
    """What a job has done of what there is to do; its steps where it reports nothing else.

    One thread takes in what is logged, another may read the texts.
    """

    def __init__(self) -> None:
        self._done: float | None = None
        self._total: float | None = None
        self._marks: deque[tuple[int, float]] = deque(maxlen=_MARKS)
        self._newest: tuple[int, float] | None = None
        self._counts_steps = True
        self._rate_per_s = 0.0

    def note_steps(self, step: int, time_ns: int) -> None:
        """Take the last step for what is done, unless the job reports its progress."""
        if self._counts_steps:
            self._mark(time_ns, step)

    def note(self, done: float | None, total: float | None, time_ns: int) -> None:
        """Take in what the job has reported by now; a value is None if it has not."""
        self._total = total if total is not None and math.isfinite(total) else None
        if done is None or not math.isfinite(done):
            return
        if self._counts_steps:
            self._counts_steps = False
            self._forget()
        self._done = done
        self._mark(time_ns, done)

    @property
    def is_reported(self) -> bool:
        """Whether the job reports its progress."""
        return not self._counts_steps

    @property
    def text(self) -> str:
        """What is done of what there is to do; empty if nothing was reported."""
        return "" if (done := self._done) is None else share_text(done, self._total)

    @property
    def rate(self) -> str:
        """The rate in words, such as `12.5/s`; empty if it is not known yet."""
        return rate_text(rate) if (rate := self._rate_per_s) else ""

    @property
    def left(self) -> str:
        """How long the rest takes at this rate; empty if that is not known."""
        rate, done, total = self._rate_per_s, self._done, self._total
        if not rate or total is None or done is None or total <= done:
            return ""
        left_s = (total - done) / rate
        return format_duration(max(1, round(left_s))) if math.isfinite(left_s) else ""

    def _mark(self, time_ns: int, done: float) -> None:
        if self._newest is not None and (done < self._newest[1] or time_ns < self._newest[0]):
            self._forget()  # it began anew, or a clock was set back
        if not self._marks or time_ns - self._marks[-1][0] >= _APART_NS:
            self._marks.append((time_ns, done))
        self._newest = time_ns, done
        first_ns, first = self._marks[0]
        took_s = (time_ns - first_ns) / 1e9
        self._rate_per_s = (done - first) / took_s if took_s > 0 and done > first else 0.0

    def _forget(self) -> None:
        self._marks.clear()
        self._newest = None
        self._rate_per_s = 0.0


def share_text(done: float, total: float | None) -> str:
    """Return what is done of what there is to do, such as `200/1000 20%`."""
    if total is None or not math.isfinite(total) or total <= 0 or not math.isfinite(done):
        return format_number(done)
    share = min(1.0, max(0.0, done / total))
    return f"{format_number(done)}/{format_number(total)} {math.floor(share * 100)}%"


def rate_text(rate_per_s: float) -> str:
    """Return a rate by the second, the minute or the hour."""
    rates = ((rate_per_s, "s"), (rate_per_s * 60, "min"), (rate_per_s * 3600, "h"))
    rate, unit = next((one for one in rates if one[0] >= 1), rates[-1])
    return f"{rate:.1f}/{unit}" if rate < 10_000 else f"{rate:.3g}/{unit}"
