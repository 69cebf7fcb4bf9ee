"""One job in the live table: what is known of it, and what its columns show."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runbus._clock import format_duration
from runbus.cli._advance import Advance
from runbus.cli._printer import format_number, printable
from runbus.cli._run_facts import is_being_cancelled, native_words
from runbus.cli._screen import uncolored
from runbus.cli._table import SHOWN_METRICS
from runbus.jobs import fold
from runbus.metrics import DONE, PROGRESS, TOTAL, is_sampler

if TYPE_CHECKING:
    from runbus.events import JobFact, MetricBatch
    from runbus.jobs import JobRecord

__all__ = ["Row"]


class Row:
    """One job in the live table.

    Args:
        name: The job's name.
        known: What is known of it already.

    Attributes:
        bar: What its progress bar shows.
    """

    def __init__(self, name: str, known: JobRecord | None) -> None:
        self.name = name
        self.bar = b""
        self.record = known
        self._step: int | None = None
        self._latest: dict[str, float | None] = {}
        self._advance = Advance()

    def take_in(self, fact: JobFact) -> None:
        """Remember what happened to the job."""
        self.record = fold(self.record, fact)

    def measure(self, batch: MetricBatch) -> None:
        """Remember the latest value of each metric: from the end, so a batch costs little."""
        if is_sampler(batch.writer):
            return
        series = memoryview(batch.series).cast("I")
        values = memoryview(batch.values).cast("d")
        times = memoryview(batch.times).cast("q")
        for name in batch.names:  # in the order of their first points, as in the result
            self._latest.setdefault(name, None)
        missing = set(range(len(batch.names)))
        for at in range(len(series) - 1, max(-1, len(series) - 1000), -1):
            if series[at] in missing:
                missing.remove(series[at])
                self._latest[batch.names[series[at]]] = values[at]
                if not missing:
                    break
        self._step = memoryview(batch.steps).cast("q")[-1]
        self._advance.note(self._latest.get(DONE), self._latest.get(TOTAL), times[-1])
        self._advance.note_steps(self._step, times[-1])

    @property
    def state(self) -> str:
        record = self.record
        if record is None:
            return "PENDING"
        if is_being_cancelled(record):
            return "CANCELLING"
        return "SUSPENDED" if record.is_suspended else str(record.state)

    @property
    def step(self) -> str:
        return "" if self._step is None or self._advance.is_reported else str(self._step)

    @property
    def progress(self) -> str:
        """What is done of what there is to do."""
        return self._advance.text

    @property
    def rate(self) -> str:
        """How quickly it goes on, while it runs."""
        return self._advance.rate if self._is_running else ""

    @property
    def left(self) -> str:
        """How long it will take yet, while it runs."""
        return self._advance.left if self._is_running else ""

    @property
    def _is_running(self) -> bool:
        return self.record is not None and self.record.state == "RUNNING"

    @property
    def latest(self) -> str:
        """The last values of metrics; then what the job's progress bar or its backend says."""
        known = [
            (name, value)
            for name, value in list(self._latest.items())
            if value is not None and not name.startswith(PROGRESS)
        ]
        said = [f"{printable(name)} {format_number(value)}" for name, value in known]
        said = said[:SHOWN_METRICS]
        record = self.record
        if record is not None and record.state.is_terminal:
            return "  ".join(said) if record.state == "SUCCEEDED" else printable(record.reason)
        if self.bar:
            said.append(printable(uncolored(self.bar.decode("utf-8", "replace")).strip()))
        elif record is not None and not record.is_suspended and (words := native_words(record)):
            said.append(printable(words))
        return "  ".join(said)

    @property
    def time(self) -> str:
        record = self.record
        if record is None or not record.started_ns:
            return ""
        if record.state.is_terminal:
            return format_duration(record.duration_s)
        # Whole seconds: a running clock shows no more.
        return format_duration(max(0, (time.time_ns() - record.started_ns) // 10**9))
