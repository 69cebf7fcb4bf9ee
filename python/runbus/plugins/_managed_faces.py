"""Managed plugins as plugins of the kernel, each by its base class."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from runbus.abc import Collector, MetricSink
from runbus.events import ArtifactLogged, ParamsLogged, TextLogged
from runbus.plugins._blocking import LIMIT_S, is_final
from runbus.plugins._collector_face import CollectorFace
from runbus.plugins._managed import BackendPlugin, CollectorPlugin, ProcessorPlugin
from runbus.plugins._managed_life import ManagedLife
from runbus.plugins._metadata import MetricType
from runbus.plugins._processor_face import ProcessorFace
from runbus.plugins._sink_face import Opened, PartlyLost, SinkFace, is_retryable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runbus.abc import Scope
    from runbus.events import MetricBatch, MetricPoint, RunRecorded
    from runbus.plugins._collector_face import SampledRun
    from runbus.plugins._managed import PluginBase

__all__ = ["adapt", "face_for", "managed"]

_SLICE_S = 0.5
"""How long one call into a worker thread hands over points: each call has its own time limit."""


def managed(
    plugin: PluginBase,
    config: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    run: SampledRun | None = None,
    limit_s: float = LIMIT_S,
) -> Any:
    """Return the plugin of the kernel that a managed plugin becomes with a configuration.

        Kernel(plugins=[managed(Tracker(), {"server_url": "https://…"})])

    What the configuration does not say is read from `configure_plugins`, variables such as
    `RUNBUS_PLUGIN_TRACKER_SERVER_URL` and the section `plugins` of `runbus.yaml`: that is all that
    a managed plugin has which is given to a kernel by itself.

    Args:
        plugin: An instance of a class derived from `PluginBase`.
        config: What `initialize` gets, once it fits the plugin's `config_schema`.
        name: What it goes by in the kernel; what it says itself if empty.
        run: Where a collector's samples are logged; none if None.
        limit_s: How long one call of the plugin's code may take, in seconds, unless its `call_s`
            says so. One that takes longer is left behind, and the plugin has failed.

    Raises:
        InvalidPlugin: It does not say what it is.
    """
    return face_for(ManagedLife(plugin, config, limit_s=limit_s, name=name), run)


def adapt(plugin: PluginBase) -> Any:
    """Return the plugin of the kernel that a managed plugin is by itself."""
    return managed(plugin)


def face_for(life: ManagedLife, run: SampledRun | None = None) -> Any:
    """Return the plugin of the kernel that a managed plugin becomes, by its base class."""
    plugin = life.plugin
    if isinstance(plugin, BackendPlugin):
        return SinkFace(BlockingSink(life, plugin))
    if isinstance(plugin, CollectorPlugin):
        return CollectorFace(BlockingCollector(life, plugin), run)
    if isinstance(plugin, ProcessorPlugin):
        return ProcessorFace(life)
    return LifeFace(life)


class LifeFace:
    """A managed plugin of another kind: it is started and stopped."""

    def __init__(self, life: ManagedLife) -> None:
        self.name = life.name
        self.requires = life.metadata.plugins
        self._life = life

    async def setup(self, scope: Scope) -> None:
        """Start it, until the plugin closes."""
        await scope.enter(Opened(self.name, self._life.begin, self._life.end))

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what it says itself."""
        return not self._life.is_stuck, {"status": await self._life.status()}


class BlockingSink(MetricSink):
    """A sink whose methods block."""

    def __init__(self, life: ManagedLife, plugin: BackendPlugin) -> None:
        self.name = life.name
        self.requires = life.metadata.plugins
        self._life = life
        self._plugin = plugin
        self._wants: frozenset[str] = frozenset()
        self._batch: MetricBatch | None = None
        self._points: Iterator[MetricPoint] = iter(())
        self._again: MetricPoint | None = None
        self._left = self._lost = 0
        self._why: Exception | None = None

    async def open(self) -> None:
        await self._life.begin()
        self._wants = await self._life.call(self._ask, doing="can_handle_type")

    def _ask(self) -> frozenset[str]:
        return frozenset(kind for kind in MetricType if self._plugin.can_handle_type(kind))

    def can_handle(self, kind: str) -> bool:
        return kind in self._wants

    async def write(self, batch: MetricBatch) -> None:
        if batch is not self._batch:
            self._batch, self._points, self._again = batch, batch.points(), None
            self._left, self._lost, self._why = len(batch), 0, None
        while self._left:
            try:
                failure = await self._life.call(self._log_some, doing="log_metric")
            except Exception as error:
                if not is_final(error):
                    raise
                raise PartlyLost(self._left + self._lost, error, retryable=False) from error
            if failure is not None:
                raise PartlyLost(self._left + self._lost, failure, retryable=True) from failure
        self._batch = None
        if self._why is not None:
            raise PartlyLost(self._lost, self._why, retryable=False) from self._why

    def _log_some(self) -> Exception | None:
        """Hand over points for a while; return an error after which it may be tried again."""
        until_s = time.monotonic() + _SLICE_S
        log_metric, left = self._plugin.log_metric, self._left
        again, self._again = self._again, None
        try:
            for point in chain((again,), self._points) if again else self._points:
                name, step, _, value = point
                try:
                    log_metric(name, value, step)
                except Exception as error:
                    if is_retryable(error):
                        self._again = point
                        return error
                    self._lost += 1
                    self._why = self._why or error
                left -= 1
                if time.monotonic() >= until_s:
                    break
        finally:
            self._left = left
        return None

    async def record(self, fact: RunRecorded) -> None:
        plugin = self._plugin
        if isinstance(fact, ParamsLogged):
            await self._life.call(plugin.log_params, dict(fact.params), doing="log_params")
        elif isinstance(fact, ArtifactLogged):
            await self._life.call(plugin.log_artifact, fact.path, fact.name, doing="log_artifact")
        elif isinstance(fact, TextLogged):
            await self._life.call(
                plugin.log_text, fact.name, fact.text, fact.step, doing="log_text"
            )

    async def close(self) -> None:
        await self._life.end()

    async def health(self) -> tuple[bool, dict[str, Any]]:
        return not self._life.is_stuck, {"status": await self._life.status()}


class BlockingCollector(Collector):
    """A collector whose methods block."""

    def __init__(self, life: ManagedLife, plugin: CollectorPlugin) -> None:
        self.name = life.name
        self.requires = life.metadata.plugins
        self._life = life
        self._plugin = plugin

    async def open(self) -> None:
        await self._life.begin()
        self.interval_s = self._plugin.config.get("interval_s", self._plugin.interval_s)

    @property
    def timeout_s(self) -> float:  # type: ignore[override]
        """The worker thread has its own end, after which the plugin has failed."""
        return self._life.limit_s + 1

    async def collect(self) -> Mapping[str, Any]:
        return await self._life.call(self._plugin.collect, doing="collect")

    async def close(self) -> None:
        await self._life.end()

    async def health(self) -> tuple[bool, dict[str, Any]]:
        return not self._life.is_stuck, {"status": await self._life.status()}


def adapt_sink(sink: MetricSink) -> SinkFace:
    """Return the plugin of the kernel that a sink is."""
    return SinkFace(sink)


def adapt_collector(collector: Collector) -> CollectorFace:
    """Return the plugin of the kernel that a collector is."""
    return CollectorFace(collector)
