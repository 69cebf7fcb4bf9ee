"""What is known of runs by name: fields, params, and what the points of a metric amount to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from runbus.errors import MetricNotFound, UsageError, near_matches

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterable, Mapping, Sequence

    from runbus.catalog._measured import MeasuredRuns
    from runbus.catalog._rows import RunRow
    from runbus.catalog._runs import RunRecord
    from runbus.metrics import SeriesSummary

__all__ = ["AGGREGATES", "FIELDS", "Fields", "Value"]

FIELDS = ("id", "name", "project", "state", "created", "tags", "folder", "command", "commit")
"""What every run has; other names are those of params, then of metrics."""

AGGREGATES = ("last", "min", "max", "mean")
"""What the points of a metric amount to; all but the mean have a step: `loss:min@step`."""

_STEP = "@step"

_OVER = ("SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT", "SKIPPED")
"""Of a run in such a state nothing more is to be expected, unless its files change."""

Value = str | float | bool | None

T = TypeVar("T")


class _Aggregate(NamedTuple):
    """A metric, what of its points is asked for, and whether it is the step of that."""

    metric: str
    kind: str
    is_step: bool

    @classmethod
    def parse(cls, name: str) -> _Aggregate | None:
        """Return what a name such as `loss:min@step` asks for; None if it is another name."""
        body = name.removesuffix(_STEP)
        metric, colon, kind = body.rpartition(":")
        if not colon:
            return cls(body, "last", is_step=True) if body != name and body else None
        if not metric or kind not in AGGREGATES:
            return None
        return cls(metric, kind, body != name)

    def of(self, summary: SeriesSummary) -> Value:
        value = getattr(summary, self.kind)
        if isinstance(value, float) and math.isnan(value) and self.kind != "last":
            return None  # no number was logged
        if not self.is_step:
            return float(value) if isinstance(value, float) else int(value)
        return int(getattr(summary, f"{self.kind}_step"))


class Fields:
    """Reads what runs have of a name, and keeps in mind what it has read.

    A name is that of a field, else of a param, else of a metric, of which the last value counts;
    `loss:min` is the smallest one, `loss:min@step` the step at which it was logged first. `last`,
    `max` and `mean` are the others.

    Args:
        at_step: Only what was logged at this step counts of metrics: the last point there.
    """

    def __init__(self, at_step: int | None = None) -> None:
        self.at_step = at_step
        self._params: dict[str, dict[str, object]] = {}
        self._shown: dict[str, dict[str, str | None]] = {}
        self._summaries: dict[str, dict[str, SeriesSummary]] = {}
        self._index: MeasuredRuns | None = None
        self._known: dict[str, bool] = {}

    def look_at(
        self, rows: Iterable[RunRow], *, home: str | os.PathLike[str] | None = None
    ) -> None:
        """Take from the index what it has of runs that will be asked for: quicker by far.

        Args:
            rows: The runs.
            home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.
        """
        from runbus._home import Home
        from runbus.catalog._measured import MeasuredRuns

        self._index = MeasuredRuns(Home(home))
        folders = [row.folder for row in rows if not row.problem]
        for folder, known in self._index.of(folders):
            self._params[folder], self._shown[folder] = known.params, known.shown
            if known.summaries is not None:
                self._summaries[folder] = known.summaries
        self._known = {folder: folder in self._summaries for folder in self._params}

    def save(self, rows: Iterable[RunRow]) -> None:
        """Have the index remember what was read since `look_at`, of runs that are over."""
        if self._index is None:
            return
        from runbus.catalog._measured import Measured

        self._index.keep(
            {
                row.folder: Measured(
                    self._params[row.folder],
                    self._shown.get(row.folder, {}),
                    self._summaries.get(row.folder),
                )
                for row in rows
                if row.state in _OVER and row.folder in self._params and row.folder in self._shown
                if self._known.get(row.folder) is not (row.folder in self._summaries)
            }
        )

    def has(self, row: RunRow) -> bool:
        """Whether what a run has measured is in mind: nothing has to be read from its folder."""
        return row.folder in self._summaries

    def read(self, run: RunRecord) -> dict[str, SeriesSummary]:
        """Return what the metrics of a run amount to, and keep in mind all that `save` keeps.

        Raises:
            RunUnreadable: Its files cannot be read.
        """
        self._params_of(run)
        self.shown_names(run)
        return self._summaries_of(run)

    def of(self, row: RunRow, name: str) -> Value:
        """Return what a run has of a name; None if it has nothing, or cannot be read.

        Raises:
            UsageError: It asks for the step of a mean, or for an aggregate of one step.
        """
        match name:
            case "created":
                return row.created_ns
            case "tags":
                return ", ".join(row.tags)
            case "id" | "name" | "project" | "state" | "folder":
                return str(getattr(row, name))
        if row.run is None:
            return None
        if name == "command":
            return " ".join(row.run.info.origin.argv) or None
        if name == "commit":
            return row.run.info.origin.commit or None
        params = self._params_of(row.run)
        name = self._logged_name(row.run, name, params)
        if name in params:
            value = params[name]
            return value if isinstance(value, str | int | float | bool | None) else str(value)
        return self._metric(row.run, name)

    def check(self, rows: Sequence[RunRow], name: str) -> None:
        """Make sure that there is something of a name.

        Raises:
            UsageError: There are runs, and none has a field, param or metric of that name, or none
                has logged it at the step.
        """
        if not rows or name in FIELDS or any(self.of(row, name) is not None for row in rows):
            return
        runs = [row.run for row in rows if row.run is not None]
        metrics = dict.fromkeys(metric for run in runs for metric in self._names(run))
        if self.at_step is not None and name in metrics:
            raise UsageError(self._nothing_there(runs, name))
        if (asked := _Aggregate.parse(name)) is not None and asked.metric in metrics:
            return  # nothing but NaN was logged
        params = [param for run in runs for param in self.params(run)]
        metric, colon, kind = name.removesuffix(_STEP).rpartition(":")
        if colon and metric in metrics:
            near = near_matches(kind, AGGREGATES) or AGGREGATES
            told = f"; did you mean {f'{metric}:{near[0]}'!r}" if len(near) == 1 else ""
            raise UsageError(
                f"{kind!r} is not one of {', '.join(AGGREGATES)}, which metrics amount to{told}"
            )
        self._say_unknown(name, asked, [*FIELDS, *params, *metrics])

    def _say_unknown(self, name: str, asked: _Aggregate | None, known: Iterable[str]) -> None:
        base = name if asked is None else asked.metric
        near = near_matches(base, dict.fromkeys(known))
        hint = f"; fields are {', '.join(FIELDS)}"
        if near:
            hint = f"; did you mean {near[0] + name[len(base) :]!r}"
        raise UsageError(f"no run has a field, param or metric {base!r}{hint}")

    def _nothing_there(self, runs: Iterable[RunRecord], name: str) -> str:
        """Say at which steps near the one that is asked for a metric was logged."""
        assert self.at_step is not None
        steps: set[int] = set()
        for run in runs:
            if name in self._names(run):
                steps.update(map(int, run.metrics(name).steps))
        before = max((step for step in steps if step < self.at_step), default=None)
        after = min((step for step in steps if step > self.at_step), default=None)
        near = " and ".join(str(step) for step in (before, after) if step is not None)
        return f"no run has logged {name!r} at step {self.at_step}; the steps next to it are {near}"

    def params(self, run: RunRecord) -> dict[str, object]:
        """Return the params of a run as views show them: under other names, and without some."""
        return self._as_shown(run, self._params_of(run))

    def values(self, run: RunRecord) -> dict[str, Value]:
        """Return the value of each metric as views show them: the last one, or that at the step."""
        if self.at_step is None:
            known = {name: one.last for name, one in self._summaries_of(run).items()}
        else:
            table = run.metrics(["*"], steps=self._steps)
            points = {name: table[name].values for name in table}
            known = {name: _number(values[-1]) for name, values in points.items() if len(values)}
        return self._as_shown(run, known)

    def _params_of(self, run: RunRecord) -> dict[str, object]:
        if (known := self._params.get(run.folder)) is None:
            known = self._params[run.folder] = run.params
        return known

    def shown_names(self, run: RunRecord) -> dict[str, str | None]:
        """Return what views call metrics and params of a run that have another name there.

        None is for those that are not shown.
        """
        if (known := self._shown.get(run.folder)) is None:
            known = self._shown[run.folder] = run.shown_names
        return known

    def _as_shown(self, run: RunRecord, known: Mapping[str, T]) -> dict[str, T]:
        if not (names := self.shown_names(run)):
            return dict(known)
        shown = ((names.get(name, name), value) for name, value in known.items())
        return {name: value for name, value in shown if name is not None}

    def _logged_name(self, run: RunRecord, name: str, params: Container[str]) -> str:
        """Return the name under which something was logged that views call otherwise."""
        for logged, shown in self.shown_names(run).items():
            if shown is None or not name.startswith(shown):
                continue
            rest = name[len(shown) :]
            if rest == "" or (logged not in params and rest[0] in ":@"):
                return logged + rest
        return name

    @property
    def _steps(self) -> slice:
        assert self.at_step is not None
        return slice(self.at_step, self.at_step + 1)

    def _metric(self, run: RunRecord, name: str) -> Value:
        if self.at_step is not None:
            return self._value_at_step(run, name)
        summaries = self._summaries_of(run)
        if name in summaries:
            return summaries[name].last
        if (asked := _Aggregate.parse(name)) is None or asked.metric not in summaries:
            return None
        if asked.is_step and asked.kind == "mean":
            raise UsageError(f"{name!r} asks for the step of a mean, which has none")
        return asked.of(summaries[asked.metric])

    def _value_at_step(self, run: RunRecord, name: str) -> Value:
        try:
            values = run.metrics(name, steps=self._steps).values
        except MetricNotFound:
            asked = _Aggregate.parse(name)
            if asked is not None and asked.metric in self._names(run):
                raise UsageError(f"{name!r} is of all steps, and one is asked for") from None
            return None
        return _number(values[-1]) if len(values) else None

    def _names(self, run: RunRecord) -> Iterable[str]:
        return self._summaries_of(run) if self.at_step is None else run.metric_names()

    def _summaries_of(self, run: RunRecord) -> dict[str, SeriesSummary]:
        if (known := self._summaries.get(run.folder)) is None:
            known = self._summaries[run.folder] = run.summaries()
        return known


def _number(value: float) -> float:
    return int(value) if isinstance(value, int) else float(value)
