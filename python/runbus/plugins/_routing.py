"""Rules that say what of the metrics goes to which sink."""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from runbus._listed import listed
from runbus._revealed import unrevealed
from runbus.errors import FieldInvalid
from runbus.events import KernelStarted, SinkOpening
from runbus.plugins._batches import batch_of, metrics_of, source_of, type_of
from runbus.plugins._metadata import MetricType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from runbus.abc import Scope
    from runbus.events import MetricBatch
    from runbus.plugins._point import Metric

__all__ = ["Routing", "RoutingRule"]

logger = logging.getLogger("runbus.plugins")


class RoutingRule:
    """Lets a sink have what fits; a value.

    In patterns `*` stands for any text, also with slashes, `?` for a character, `[ab]` for one of
    several.

    Attributes:
        source: Pattern of the source: the id of a run, or the name of a collector.
        sink: The name of the sink.
        types: The kinds of things; all if None.
        where: Tells of a point of a metric whether it fits; all do if None. Called in a worker
            thread; one that raises lets nothing through.
        names: Pattern of the names of metrics, texts, histograms and artifacts.
    """

    __slots__ = ("names", "sink", "source", "types", "where")

    def __init__(
        self,
        source: str,
        sink: str,
        types: Iterable[MetricType | str] | None = None,
        where: Callable[[Metric], object] | None = None,
        *,
        names: str = "*",
    ) -> None:
        """Check what is said.

        Args:
            source: As above, as for the others.
            sink: As above.
            types: As above.
            where: As above.
            names: As above.

        Raises:
            FieldInvalid: Something cannot be what was given for it.
        """
        patterns: tuple[tuple[str, Any], ...]
        patterns = (("source", source), ("sink", sink), ("names", names))
        for field, pattern in patterns:
            if not pattern or not isinstance(pattern, str):
                raise FieldInvalid(field, repr(pattern)[:80], "is no text")
        if where is not None and not callable(where):
            raise FieldInvalid("where", repr(where)[:80], "is no function")
        self.source = source
        self.sink = sink
        self.types = None if types is None else _types(types)
        self.where = where
        self.names = names

    def __repr__(self) -> str:
        parts = [repr(self.source), repr(self.sink)]
        if self.types is not None:
            parts.append(f"types={sorted(map(str, self.types))}")
        if self.names != "*":
            parts.append(f"names={self.names!r}")
        if self.where is not None:
            parts.append(f"where={getattr(self.where, '__name__', 'function')}")
        return f"RoutingRule({', '.join(parts)})"


def _types(types: Any) -> frozenset[MetricType]:
    given = listed(sorted(types) if isinstance(types, set | frozenset) else types, "types")
    if not given:
        raise FieldInvalid("types", "[]", "lets nothing through", "leave it out for all types")
    try:
        return frozenset(map(MetricType, given))
    except ValueError:
        raise FieldInvalid("types", repr([*map(str, given)]), "is no list of types") from None


class _Kept:
    """A rule and what became of it."""

    __slots__ = ("error", "errors", "passed", "rule")

    def __init__(self, rule: RoutingRule) -> None:
        self.rule = rule
        self.passed = self.errors = 0
        self.error = ""

    def fits(self, source: str, kind: MetricType, name: str | None = None) -> bool:
        rule = self.rule
        return (
            (rule.types is None or kind in rule.types)
            and fnmatchcase(source, rule.source)
            and (name is None or fnmatchcase(name, rule.names))
        )

    @property
    def takes_all(self) -> bool:
        """Whether it asks for no more than source and type."""
        return self.rule.where is None and self.rule.names == "*"

    def takes(self, metric: Metric) -> bool:
        """Tell of a point from a fitting source whether it may pass."""
        if not fnmatchcase(metric.name, self.rule.names):
            return False
        if self.rule.where is None:
            return True
        try:
            return bool(self.rule.where(metric))
        except Exception as error:
            self.error = unrevealed(f"{type(error).__name__}: {error}")
            if not self.errors:
                logger.warning("%r lets nothing through: %s", self.rule, self.error)
            self.errors += 1
            return False


class Routing:
    """A plugin that knows rules; put it before the sinks that it is about.

        Kernel(plugins=[Routing(RoutingRule("gpu-*", "tracker", types=["system"])), Tracker()])

    A sink that no rule names gets everything that it can handle; one that rules name gets what at
    least one of them lets through, and that once. Rules may be added and removed at any time. One
    whose sink is not there waits for it, which `waiting` and the plugin's health show.

    Attributes:
        name: `routing`.
    """

    name = "routing"

    def __init__(self, *rules: RoutingRule) -> None:
        self._kept = [_Kept(rule) for rule in rules]
        self._sinks: set[str] = set()

    async def setup(self, scope: Scope) -> None:
        """Answer the sinks."""
        scope.on(SinkOpening, self._opened)
        scope.on(KernelStarted, self._warn)

    async def _opened(self, event: SinkOpening) -> list[Routing]:
        return [self]

    async def _warn(self, event: KernelStarted) -> None:
        for rule in self.waiting:
            logger.warning("%r waits: there is no such sink", rule)

    @property
    def rules(self) -> tuple[RoutingRule, ...]:
        """The rules, in the order in which they came."""
        return tuple(one.rule for one in self._kept)

    @property
    def waiting(self) -> tuple[RoutingRule, ...]:
        """The rules whose sink is not there."""
        return tuple(one.rule for one in self._kept if one.rule.sink not in self._sinks)

    def add(self, rule: RoutingRule) -> RoutingRule:
        """Let a rule hold from the next batch on; return it."""
        self._kept = [*self._kept, _Kept(rule)]
        return rule

    def remove(self, rule: RoutingRule) -> bool:
        """Let a rule hold no more, from the next batch on; return whether it did."""
        left = [one for one in self._kept if one.rule is not rule]
        did = len(left) < len(self._kept)
        self._kept = left
        return did

    def came(self, sink: str) -> None:
        """Note that a sink is there."""
        self._sinks.add(sink)

    def went(self, sink: str) -> None:
        """Note that a sink is there no more."""
        self._sinks.discard(sink)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Tell what became of the rules."""
        return not any(one.errors for one in self._kept), self.status()

    def status(self) -> dict[str, Any]:
        """Return what became of the rules."""
        return {
            "rules": [
                {
                    "rule": repr(one.rule),
                    "passed": one.passed,
                    "waits": one.rule.sink not in self._sinks,
                    "errors": one.errors,
                    "error": one.error,
                }
                for one in self._kept
            ]
        }

    # -- asked by a sink

    def lets_through(self, sink: str, source: str, kind: MetricType, name: str | None) -> bool:
        """Tell of something other than a metric whether a sink gets it."""
        rules = [one for one in self._kept if one.rule.sink == sink]
        return not rules or any(one.fits(source, kind, name) for one in rules)

    def chosen(self, sink: str, batch: MetricBatch) -> tuple[_Kept, ...] | None:
        """Return the rules to look at for each point of a batch; None if a sink gets all of it."""
        rules = [one for one in self._kept if one.rule.sink == sink]
        if not rules:
            return None
        source, kind = source_of(batch), type_of(batch)
        fitting = tuple(one for one in rules if one.fits(source, kind))
        for one in fitting:
            if one.takes_all:
                one.passed += len(batch)
                return None
        return fitting


def selected(rules: Sequence[_Kept], batch: MetricBatch) -> MetricBatch:
    """Return those points of a batch that one of the rules lets through. Calls foreign code."""
    points = []
    for metric in metrics_of(batch):
        for one in rules:
            if one.takes(metric):
                one.passed += 1
                points.append((metric.name, metric.value, metric.step, metric.time_ns))
                break
    return batch_of(points, batch.run_id, batch.writer, batch.position)
