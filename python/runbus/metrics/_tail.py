"""Following the journals of a run while they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._core import MetricReader, read_metrics
from runbus.events import MetricBatch
from runbus.metrics._folder import writers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RunTail"]


class RunTail:
    """Turns what is new in a run's journals into batches for the bus.

    A journal that is sealed while it is followed is read to its end all the same; the points of one
    that was sealed before come first, metric by metric.

    Args:
        run_id: The run.
        folder: The run's folder; its journals need not exist yet.

    Attributes:
        has_begun: Whether it is known that a process began to log: whoever tells it sets it then.
    """

    def __init__(self, run_id: str, folder: str) -> None:
        self._run_id = run_id
        self._folder = folder
        self._readers: dict[str, MetricReader] = {}
        self._sealed: set[str] = set()
        self.has_begun = False

    def look(self) -> bool:
        """Look whether a process has begun to log."""
        return self.has_begun or bool(writers_of(self._folder))

    def poll(self, max_points: int = 65_536) -> Iterator[MetricBatch]:
        """Yield batches of at most `max_points` points: one per journal that has something new."""
        for writer, paths in writers_of(self._folder).items():
            if writer in self._readers or writer in self._sealed:
                continue
            try:
                if paths[0].endswith(".journal"):
                    self._readers[writer] = MetricReader(paths[0])
                    continue
                series = read_metrics([paths])
            except FileNotFoundError:
                continue  # it was sealed just now: the next poll finds its segments
            self._sealed.add(writer)
            for name, data in series:
                for start in range(0, len(data), max_points):
                    part = slice(start, start + max_points)
                    yield MetricBatch(
                        run_id=self._run_id,
                        writer=writer,
                        names=(name,),
                        series=bytes(4 * len(data.steps[part])),
                        steps=data.steps[part].tobytes(),
                        times=data.times[part].tobytes(),
                        values=data.values[part].tobytes(),
                    )
        for writer, reader in self._readers.items():
            columns = reader.poll(max_points)
            if columns is None:
                continue
            yield MetricBatch(
                run_id=self._run_id,
                writer=writer,
                names=tuple(columns.names),
                series=columns.series,
                steps=columns.steps,
                times=columns.times,
                values=columns.values,
            )
