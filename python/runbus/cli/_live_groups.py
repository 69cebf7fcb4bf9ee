"""Jobs that belong together as one row of the live table, where there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runbus._clock import format_duration
from runbus.cli._advance import rate_text
from runbus.cli._totals import Totals
from runbus.jobs import common_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.cli._live_row import Row
    from runbus.jobs import SweepAsked

__all__ = ["Group", "grouped"]

_MANY = 40
"""So many jobs have a row each."""


class Group(NamedTuple):
    """Jobs of which the names differ only in values or in a number at their end.

    Attributes:
        name: What their names have in common; of a sweep its own.
        rows: The jobs.
        totals: Where they stand.
        points: How many points a sweep has, those of earlier experiments among them; of others how
            many jobs there are.
        best: The best point of a sweep so far; empty if nobody knows.
    """

    name: str
    rows: Sequence[Row]
    totals: Totals
    points: int
    best: str = ""

    @property
    def state(self) -> str:
        """Where they stand, in a word: that of the jobs that matter most by now."""
        totals = self.totals
        if totals.running or totals.waiting:
            return "RUNNING" if totals.running or totals.ended else "PENDING"
        return max(totals.others, key=lambda state: totals.others[state], default="SUCCEEDED")

    @property
    def title(self) -> str:
        """The name, and how many there are."""
        return f"{self.name} ({self.points})"

    @property
    def progress(self) -> str:
        """How many have ended."""
        before = self.points - self.totals.jobs
        done = before + self.totals.ended
        return f"{done}/{self.points} {done * 100 // self.points}%"

    @property
    def told(self) -> str:
        """What there is to say of the best, and of those that have not succeeded."""
        totals = self.totals
        parts = [self.best] if self.best else []
        parts += [f"{count} {state.lower()}" for state, count in totals.others.items()]
        parts += [f"{totals.running} running"] if totals.running else []
        parts += [f"{totals.waiting} waiting"] if totals.waiting else []
        return " · ".join(parts)

    @property
    def rate(self) -> str:
        """How many ended in a second, of late; empty if that is not known, or if all did."""
        totals = self.totals
        is_over = totals.ended == totals.jobs
        return "" if is_over or not totals.rate_per_s else rate_text(totals.rate_per_s)

    @property
    def left(self) -> str:
        """How long the rest will take; empty if that is not known."""
        totals = self.totals
        unfinished = totals.running + totals.waiting
        if not totals.rate_per_s or not unfinished:
            return ""
        return format_duration(max(1, round(unfinished / totals.rate_per_s)))


def grouped(
    rows: Sequence[Row], sweeps: Sequence[SweepAsked] = (), best: Mapping[int, str] | None = None
) -> list[Group]:
    """Return the groups that stand for jobs, in their order; none if jobs have a row each.

    A sweep is one whatever it has. Where there is one other group, the totals above the table say
    the same, and where most jobs belong to no other, groups say nothing.

    Args:
        rows: The jobs.
        sweeps: The sweeps that they are points of.
        best: The best points of sweeps, by their numbers, counted from 0.
    """
    found = []
    for number, sweep in enumerate(sweeps):
        if some := [row for row in rows if row.name in sweep.jobs]:
            totals = Totals.of(row.record for row in some)
            points = max(sweep.total, totals.jobs)
            told = (best or {}).get(number, "")
            found.append(Group(sweep.title, some, totals, points, told))
    swept = {row.name for one in found for row in one.rows}
    return found + _by_name([row for row in rows if row.name not in swept])


def _by_name(rows: Sequence[Row]) -> list[Group]:
    """Return the groups of many jobs by their names."""
    if len(rows) <= _MANY:
        return []
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(common_name(row.name), []).append(row)
    if len(members) > len(rows) // 2:
        return []
    groups = [
        Group(name, some, Totals.of(row.record for row in some), len(some))
        for name, some in members.items()
        if len(some) > 1
    ]
    return groups if len(groups) > 1 else []
