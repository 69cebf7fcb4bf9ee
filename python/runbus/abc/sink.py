"""The port of sinks: what takes in what runs measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbus.events import MetricBatch, RunRecorded

__all__ = ["MetricSink"]


class MetricSink(ABC):
    """Takes in what runs measure and record; a plugin of a kernel by its base class.

    One method is called at a time. What comes while one runs waits: metrics in the journals of
    their runs, so that nothing is lost and nobody is slowed down by a sink that takes its time.
    Blocking code belongs into a worker thread; `runbus.plugins.BackendPlugin` is the base class
    that has it there.

    An error with `retryable = True`, a `ConnectionError` or a `TimeoutError` lets the sink have the
    same thing again after a pause that grows to 30 seconds. Any other loses that one thing for this
    sink, which is counted and shown by its health. Cancelled, a method lets go at once.

    Attributes:
        name: Unique among the plugins of a kernel.
        requires: Names of plugins that must be there.
    """

    name: str = ""
    requires: tuple[str, ...] = ()

    async def open(self) -> None:  # noqa: B027 - few need it
        """Begin; called once, before anything else. An error keeps the kernel from starting."""

    def can_handle(self, kind: str) -> bool:
        """Tell whether the sink wants things of a kind; asked once a kind, after `open`.

        Args:
            kind: A value of `runbus.plugins.MetricType`.
        """
        return True

    @abstractmethod
    async def write(self, batch: MetricBatch) -> None:
        """Take points of one run or collector; those of one writer come in its order.

        After a failure of the process, points that were taken may come again: `batch.writer` and
        `batch.position` tell which.
        """

    async def record(self, fact: RunRecorded) -> None:  # noqa: B027
        """Take something other than a metric: params, an artifact, a text, a histogram."""

    async def close(self) -> None:  # noqa: B027
        """End; called once, after everything that came has been taken, or after a failed `open`."""

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the sink is well, and what there is to tell, within 2 seconds."""
        return True, {}
