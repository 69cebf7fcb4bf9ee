"""What stands before a sink or a processor, and the batches that come to it from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from runbus.events import MetricBatch, MetricsProcessed, SinkOpening
from runbus.plugins._routing import Routing

if TYPE_CHECKING:
    from runbus.abc import Scope

__all__ = ["Stage", "Upstream", "look_up"]

_MOST_PROCESSED = 1024


class Stage:
    """A processor, as those after it know it.

    Attributes:
        name: The processor's name.
        ended: Set when it makes nothing any more.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = anyio.Event()


class Upstream:
    """Where batches come from: the last processor before a plugin, or else the sources themselves.

    Args:
        stage: The processor; None if there is none.
    """

    def __init__(self, stage: Stage | None) -> None:
        self._stage = stage

    def stream(self, scope: Scope) -> Any:
        """Return the stream of what comes, of which `batch_of` tells what is meant."""
        if self._stage is not None:
            return scope.stream(MetricsProcessed, maxsize=_MOST_PROCESSED)
        # Full, it is passed over, and served from the journals at its own pace.
        return scope.stream(MetricBatch, overflow="block")

    def batch_of(self, event: MetricBatch | MetricsProcessed) -> MetricBatch | None:
        """Return the batch that comes with an event; None if it is for others."""
        if not isinstance(event, MetricsProcessed):
            return event
        is_next = self._stage is not None and event.processor == self._stage.name
        return event.batch if is_next else None

    async def ended(self) -> None:
        """Wait until the processor makes nothing any more; the sources are not waited for."""
        if self._stage is not None:
            await self._stage.ended.wait()


async def look_up(scope: Scope) -> tuple[Upstream, list[Routing]]:
    """Return what stands before a plugin that opens, and who knows rules for it."""
    answers = await scope.bus.collect(SinkOpening(sink=scope.name))
    items = [item for _, item in answers]
    stages = [item for item in items if isinstance(item, Stage) and not item.ended.is_set()]
    routings = [item for item in items if isinstance(item, Routing)]
    return Upstream(stages[-1] if stages else None), routings
