"""Following the journals of a run while they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._core import MetricReader
from runbus.events import MetricBatch
from runbus.metrics._folder import journals_of, writer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RunTail"]


class RunTail:
    """Turns what is new in a run's journals into batches for the bus.

    Args:
        run_id: The run.
        folder: The run's folder; its journals need not exist yet.

    Attributes:
        has_begun: Whether `look` has seen that a process began to log.
    """

    def __init__(self, run_id: str, folder: str) -> None:
        self._run_id = run_id
        self._folder = folder
        self._readers: dict[str, MetricReader] = {}
        self.has_begun = False

    def look(self) -> bool:
        """Look whether a process has begun to log, and remember it."""
        self.has_begun = self.has_begun or bool(journals_of(self._folder))
        return self.has_begun

    def poll(self, max_points: int = 65_536) -> Iterator[MetricBatch]:
        """Yield a batch per journal that has something new, of at most `max_points` points each."""
        for path in journals_of(self._folder):
            reader = self._readers.get(path)
            if reader is None:
                reader = self._readers[path] = MetricReader(path)
            columns = reader.poll(max_points)
            if columns is None:
                continue
            yield MetricBatch(
                run_id=self._run_id,
                writer=writer_of(path),
                names=tuple(columns.names),
                series=columns.series,
                steps=columns.steps,
                times=columns.times,
                values=columns.values,
            )
