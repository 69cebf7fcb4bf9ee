"""When a job is to end early: its rules, and the points that it has logged."""

from __future__ import annotations

import math
import operator
import re
from typing import TYPE_CHECKING, NamedTuple

from runbus.events.values import BOUND, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runbus.events import EarlyStop

__all__ = ["EarlyStopRules"]

_BOUND = re.compile(BOUND)
_PATIENCE = re.compile(PATIENCE)

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class _Bound(NamedTuple):
    """`val/loss > 3 after 500`: a value that must not be reached from some step on."""

    metric: str
    compared: str
    limit: float
    after: float

    def reason(self, step: int, value: float) -> str | None:
        if step < self.after:
            return None
        if self.compared == "is nan":
            is_reached = math.isnan(value)
        else:
            is_reached = _COMPARED[self.compared](value, self.limit)
        if not is_reached:
            return None
        limit = "" if self.compared == "is nan" else f" {self.compared} {self.limit:g}"
        return f"{self.metric} is {value:g}{limit} at step {step}"


class _Patience:
    """`min:val/loss for 500`: the best value must be surpassed within so many steps."""

    def __init__(self, goal: str, metric: str, steps: int) -> None:
        self.metric = metric
        self._sign = 1 if goal == "min" else -1
        self._steps = steps
        self._best = math.inf
        self._at: int | None = None

    def reason(self, step: int, value: float) -> str | None:
        signed = self._sign * value
        if self._at is None or signed < self._best:
            self._best = math.inf if math.isnan(signed) else signed
            self._at = step
            return None
        if step - self._at < self._steps:
            return None
        best = self._sign * self._best
        return f"{self.metric} was best with {best:g} at step {self._at}, and this is step {step}"


class EarlyStopRules:
    """Judges what a run logs by the rules of its job.

    Args:
        stop: The rules.

    Attributes:
        metrics: What they look at.
    """

    def __init__(self, stop: EarlyStop) -> None:
        self._rules: list[_Bound | _Patience] = [*_bounds(stop.stop_when)]
        if found := _PATIENCE.fullmatch(stop.patience):
            self._rules.append(_Patience(found[1], found[2], int(found[3])))
        self.metrics = frozenset(rule.metric for rule in self._rules)

    def reason(self, metric: str, step: int, value: float) -> str | None:
        """Take in a point; return why the job is to end, or None if it may go on."""
        for rule in self._rules:
            if rule.metric == metric and (told := rule.reason(step, value)) is not None:
                return told
        return None


def _bounds(text: str) -> Iterator[_Bound]:
    for one in re.split(r"\s+or\s+", text):
        if found := _BOUND.fullmatch(one.strip()):
            metric, compared, limit, after = found.groups()
            yield _Bound(
                metric,
                "is nan" if compared is None else compared,
                float(limit or "nan"),
                int(after) if after else -math.inf,
            )
