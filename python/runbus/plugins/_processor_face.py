"""A processor as a plugin of the kernel: a stage between the sources and the sinks after it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any

from runbus._revealed import unrevealed
from runbus.errors import MailboxFull
from runbus.events import Lagged, MetricsProcessed, SinkOpening
from runbus.plugins._batches import batch_of, metrics_of
from runbus.plugins._blocking import is_final
from runbus.plugins._point import Metric
from runbus.plugins._sink_face import Opened
from runbus.plugins._upstream import Stage, look_up

if TYPE_CHECKING:
    from runbus.abc import Scope
    from runbus.events import MetricBatch
    from runbus.plugins._managed import ProcessorPlugin
    from runbus.plugins._managed_life import ManagedLife
    from runbus.plugins._upstream import Upstream

__all__ = ["ProcessorFace"]

logger = logging.getLogger("runbus.plugins")


class ProcessorFace:
    """Lets a processor see every point, and emits what it makes of them.

    Sinks and processors that begin after it get that in the place of what it got. A sink whose
    mailbox is full loses what is too much for it, as its health shows, and slows nobody down.

    Args:
        life: The processor.

    Attributes:
        name: The processor's name.
        requires: The plugins that it requires.
        seen: How many points it saw.
        made: How many points it made of them.
        failed: How many it raised for; they go no further.
        missed: Batches that never came to it, because it was too slow.
        refused: Batches that it made and that did not reach every reader, because one had no room.
        error: The last error; empty after a batch without one.
    """

    def __init__(self, life: ManagedLife) -> None:
        self.name = life.name
        self.requires = life.metadata.plugins
        self.seen = self.made = self.failed = self.missed = self.refused = 0
        self.error = ""
        self._life = life
        self._plugin: ProcessorPlugin = life.plugin  # type: ignore[assignment]
        self._upstream: Upstream
        self._stage = Stage(life.name)

    async def setup(self, scope: Scope) -> None:
        """Start the processor, and let it see what comes until the plugin closes."""
        await scope.enter(Opened(self.name, self._life.begin, self._life.end))
        self._upstream, _ = await look_up(scope)
        batches = self._upstream.stream(scope)
        scope.on(SinkOpening, self._opened)
        scope.start(self._read, scope, batches, name="metrics", drain=True)
        scope.start(self._end, scope, batches, name="end of metrics")

    async def _opened(self, event: SinkOpening) -> list[Stage]:
        return [self._stage]

    async def _end(self, scope: Scope, events: Any) -> None:
        """Let what waits be the last, once those before it make nothing any more."""
        await scope.wait_stopping()
        await self._upstream.ended()
        events.seal()

    async def _read(self, scope: Scope, events: Any) -> None:
        try:
            await self._process_all(scope, events)
        finally:
            self._stage.ended.set()

    async def _process_all(self, scope: Scope, events: Any) -> None:
        async for event in events:
            if isinstance(event, Lagged):
                self.missed += event.n
                continue
            batch = self._upstream.batch_of(event)
            if batch is None or (made := await self._process(batch)) is None:
                continue
            try:
                scope.bus.emit_nowait(MetricsProcessed(processor=self.name, batch=made))
            except MailboxFull:  # of a sink that chose to block: it alone loses
                self.refused += 1

    async def _process(self, batch: MetricBatch) -> MetricBatch | None:
        self.seen += len(batch)
        try:
            made, failed, reason = await self._life.call(
                _made_of, self._plugin, batch, doing="process"
            )
        except Exception as error:
            if is_final(error):
                raise  # and the plugin has failed
            self.failed += len(batch)
            self._note(unrevealed(f"{type(error).__name__}: {error}"))
            return None
        self.made += len(made)
        self.failed += failed
        self._note(reason)
        return made if len(made) else None

    def _note(self, error: str) -> None:
        if error and error != self.error:
            logger.warning("plugin %r: points go no further: %s", self.name, error)
        self.error = error

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what became of the points, and what the processor says itself."""
        told = ("seen", "made", "failed", "missed", "refused", "error")
        counts = {name: getattr(self, name) for name in told}
        return not self.error, {**counts, "status": await self._life.status()}


def _made_of(plugin: ProcessorPlugin, batch: MetricBatch) -> tuple[MetricBatch, int, str]:
    """Return what a processor makes of a batch, how many points it fails for, and why."""
    points: list[tuple[str, float, int, int]] = []
    failed, reason = 0, ""
    for metric in metrics_of(batch):
        try:
            made = plugin.process(metric)
            several = [made] if isinstance(made, Metric) or made is None else made
            points += [_checked(one) for one in _iterated(several) if one is not None]
        except Exception as error:
            failed += 1
            reason = reason or unrevealed(f"{type(error).__name__}: {error}")
    return batch_of(points, batch.run_id, batch.writer, batch.position), failed, reason


def _iterated(made: Any) -> list[Any]:
    if not isinstance(made, Iterable) or isinstance(made, str | bytes):
        raise TypeError(f"process() returned {type(made).__name__}, not a Metric")
    return list(made)


def _checked(metric: Any) -> tuple[str, float, int, int]:
    if not isinstance(metric, Metric):
        raise TypeError(f"process() returned {type(metric).__name__}, not a Metric")
    fields: tuple[Any, ...] = (metric.name, metric.value, metric.step, metric.time_ns)
    name, value, step, time_ns = fields
    is_number: bool = isinstance(value, Real)
    if not isinstance(name, str) or not name or not is_number:
        raise TypeError(f"process() returned the point {name!r} with the value {value!r}")
    if not -(1 << 63) <= step < 1 << 63:
        raise ValueError(f"process() returned the step {step}, which has more than 64 bits")
    return name, value if type(value) is int else float(value), int(step), int(time_ns)
