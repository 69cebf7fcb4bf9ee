"""A sink as a plugin of the kernel: its mailboxes, what it takes and what it loses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from runbus._revealed import unrevealed
from runbus.errors import HookError, InvalidPlugin
from runbus.events import (
    ArtifactLogged,
    HistogramLogged,
    Lagged,
    ParamsLogged,
    RunRecorded,
    TextLogged,
)
from runbus.plugins._batches import type_of
from runbus.plugins._blocking import call_blocking, failing_as, is_final
from runbus.plugins._metadata import MetricType
from runbus.plugins._routing import selected
from runbus.plugins._upstream import look_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from runbus.abc import MetricSink, Scope
    from runbus.events import MetricBatch, MetricsProcessed
    from runbus.plugins._routing import Routing
    from runbus.plugins._upstream import Upstream

__all__ = ["Counts", "Opened", "PartlyLost", "SinkFace", "is_retryable"]

logger = logging.getLogger("runbus.plugins")

_FACTS = {
    ParamsLogged: MetricType.PARAMETER,
    ArtifactLogged: MetricType.ARTIFACT,
    TextLogged: MetricType.TEXT,
    HistogramLogged: MetricType.HISTOGRAM,
}
_POINTS = (MetricType.SCALAR, MetricType.SYSTEM)
_MOST_FACTS = 4096
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 30.0


class Counts:
    """What became of what came to a sink.

    Attributes:
        points: Points of metrics that it took.
        records: Other things that it took.
        lost: Points and other things that it raised for.
        missed: Batches and other things that never came to it, because it was too slow.
        retries: How often it was given the same thing again.
        error: The last error of what fails, points or other things; empty once each of them that
            failed has succeeded again.
    """

    def __init__(self) -> None:
        self.points = self.records = self.lost = self.missed = self.retries = 0
        self.error = ""

    def told(self) -> str:
        """Return what did not arrive, as the end of a sentence; empty if everything did."""
        left = [(self.lost, "lost"), (self.missed, "missed because it was too slow")]
        return " and ".join(f"{n:,} {how}" for n, how in left if n)


class PartlyLost(Exception):
    """A sink took a part of a batch only.

    Args:
        lost: How many points it did not take.
        error: Why it did not take the first of them.

    Attributes:
        lost: As above.
        error: As above.
        retryable: Whether to hand it the batch again: it continues where it failed.
    """

    def __init__(self, lost: int, error: BaseException, *, retryable: bool) -> None:
        super().__init__(lost, error)
        self.lost = lost
        self.error = error
        self.retryable = retryable


def is_retryable(error: BaseException) -> bool:
    """Tell whether the same call may succeed later."""
    return isinstance(error, ConnectionError | TimeoutError) or bool(
        getattr(error, "retryable", False)
    )


class Opened:
    """What is opened on entering and closed on leaving, also where opening failed."""

    def __init__(
        self, name: str, begin: Callable[[], Awaitable[None]], end: Callable[[], Awaitable[None]]
    ) -> None:
        self._name = name
        self._begin = begin
        self._end = end

    async def __aenter__(self) -> None:
        try:
            await self._begin()
        except BaseException:
            try:
                with anyio.move_on_after(5, shield=True):
                    await self._end()
            except Exception as error:
                logger.warning("plugin %r: after a failed start: %s", self._name, error)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end()


class SinkFace:
    """Hands a sink what comes, one thing at a time, from mailboxes of its own.

    Args:
        sink: The sink.
        counts: Where it is counted what becomes of what comes.
        limit_s: How long the rules may look at one batch.

    Attributes:
        name: The sink's name.
        requires: The plugins that it requires.
    """

    def __init__(
        self, sink: MetricSink, counts: Counts | None = None, *, limit_s: float = 30.0
    ) -> None:
        if not sink.name:
            raise InvalidPlugin(type(sink).__qualname__, "is a sink without a name")
        self.name = sink.name
        self.requires = tuple(sink.requires)
        self.sink = sink
        self.counts = counts or Counts()
        self._limit_s = limit_s
        self._one_at_a_time = anyio.Lock()
        self._wants: frozenset[MetricType] = frozenset()
        self._routings: list[Routing] = []
        self._upstream: Upstream
        self._failing: dict[str, str] = {}
        self._why = ""

    async def setup(self, scope: Scope) -> None:
        """Open the sink, and hand it what comes until the plugin closes."""
        await scope.enter(Opened(self.name, self._open, self._close))
        self._wants = frozenset(kind for kind in MetricType if self.sink.can_handle(kind.value))
        self._upstream, self._routings = await look_up(scope)
        for routing in self._routings:
            routing.came(self.name)
        if not self._wants.isdisjoint(_POINTS):
            batches = self._upstream.stream(scope)
            scope.start(self._read, scope, batches, self._take_batch, name="metrics")
        if not self._wants.isdisjoint(_FACTS.values()):
            facts = scope.stream(RunRecorded, maxsize=_MOST_FACTS)
            scope.start(self._read, scope, facts, self._take_fact, name="records")

    async def _open(self) -> None:
        with failing_as(self.name, "open"):
            await self.sink.open()

    async def _close(self) -> None:
        for routing in self._routings:
            routing.went(self.name)
        try:
            with failing_as(self.name, "close"):
                await self.sink.close()
        finally:
            if told := self.counts.told():
                taken = self.counts.points + self.counts.records
                why = f"; last {self._why}" if self._why else ""
                logger.warning("plugin %r: took %d, %s%s", self.name, taken, told, why)

    async def _read(
        self, scope: Scope, events: Any, take: Callable[[Scope, Any], Awaitable[None]]
    ) -> None:
        async for event in events:
            if isinstance(event, Lagged):
                if not self.counts.missed:
                    logger.warning("plugin %r is too slow: %d things were lost", self.name, event.n)
                self.counts.missed += event.n
            else:
                await take(scope, event)

    async def _take_batch(self, scope: Scope, event: MetricBatch | MetricsProcessed) -> None:
        batch = self._upstream.batch_of(event)
        if batch is None or type_of(batch) not in self._wants:
            return
        for routing in self._routings:
            rules = routing.chosen(self.name, batch)
            if rules is not None:
                batch = await call_blocking(
                    selected, rules, batch, plugin=self.name, doing="where", limit_s=self._limit_s
                )
        size = len(batch)
        if size:
            self.counts.points += await self._hand(
                scope, lambda: self.sink.write(batch), size, "points"
            )

    async def _take_fact(self, scope: Scope, fact: RunRecorded) -> None:
        kind = _FACTS.get(type(fact), MetricType.TEXT)
        source, name = fact.run_id or fact.job, getattr(fact, "name", None)
        if kind not in self._wants or not all(
            routing.lets_through(self.name, source, kind, name) for routing in self._routings
        ):
            return
        self.counts.records += await self._hand(
            scope, lambda: self.sink.record(fact), 1, kind.value
        )

    async def _hand(
        self, scope: Scope, give: Callable[[], Awaitable[None]], size: int, what: str
    ) -> int:
        """Let the sink have something, again and again if that may help; return what it took."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with self._one_at_a_time:
                    await give()
            except Exception as error:
                cause = error.error if isinstance(error, PartlyLost) else error
                self._note(what, cause)
                if is_final(cause) or not is_retryable(error) or scope.stopping:
                    lost = error.lost if isinstance(error, PartlyLost) else size
                    self.counts.lost += lost
                    if is_final(cause):
                        raise cause from cause.__cause__  # and the plugin has failed
                    return size - lost
            else:
                # Params that arrive do not mean that points do.
                if self._failing.pop(what, None) is not None:
                    self.counts.error = next(reversed(self._failing.values()), "")
                return size
            self.counts.retries += 1
            with anyio.move_on_after(pause_s):
                await scope.wait_stopping()
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _note(self, what: str, cause: BaseException) -> None:
        text = unrevealed(f"{type(cause).__name__}: {cause}")
        if isinstance(cause, HookError) and cause.plugin == self.name:
            text = f"{cause.hook} {cause.problem}"
        self._failing.pop(what, None)  # the last one comes last
        self._failing[what] = self.counts.error = text
        if text != self._why and not is_final(cause):  # which the kernel tells
            logger.warning("plugin %r: %s", self.name, text)
        self._why = text

    async def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what became of what came, and what the sink says itself."""
        well, details = await self.sink.health()
        return well and not self.counts.error, {**vars(self.counts), **details}
