"""Lists in which a sweep is one row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runbus.catalog._best import Best
    from runbus.catalog._fields import Fields
    from runbus.catalog._listings import Sweep
    from runbus.catalog._rows import RunRow

__all__ = ["SweepRow", "folded"]


_NOT_BEGUN = ("INTENT", "PENDING", "QUEUED", "PROVISIONING", "SKIPPED")


class SweepRow(NamedTuple):
    """The points of a sweep that an experiment has, as one row of a list of runs.

    Attributes:
        sweep: The sweep.
        rows: The rows of its runs, oldest first.
    """

    sweep: Sweep
    rows: Sequence[RunRow]

    @property
    def id(self) -> str:
        """The id of its experiment."""
        return self.sweep.folder.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Its name, or what the names of its jobs have in common."""
        return self.sweep.name

    @property
    def project(self) -> str:
        """What its runs are gathered under."""
        return self.rows[0].project

    @property
    def created_ns(self) -> int:
        """When its first run was made, Unix time in nanoseconds."""
        return min(row.created_ns for row in self.rows)

    @property
    def state(self) -> str:
        """Where it stands, in a word: that of the runs that matter most by now."""
        states = self._states()
        if len(self.rows) > states.total():
            has_begun = states or any(row.state == "RUNNING" for row in self.rows)
            return "RUNNING" if has_begun else "PENDING"
        del states["SUCCEEDED"]
        return max(states, key=lambda state: states[state], default="SUCCEEDED")

    @property
    def progress(self) -> str:
        """How many of its points are over, those of earlier experiments among them."""
        states = self._states()
        told = f"{self.sweep.before + states.total()}/{self.sweep.total}"
        del states["SUCCEEDED"]
        return "".join([told, *(f", {count} {state.lower()}" for state, count in states.items())])

    @property
    def begun(self) -> list[RunRow]:
        """The rows of the runs that may have measured something."""
        return [row for row in self.rows if row.state not in _NOT_BEGUN]

    def best(self, fields: Fields) -> Best | None:
        """Return its best point so far; None if nobody says what is best, or none has a number.

        Args:
            fields: What reads its points, and has read some of them.
        """
        from runbus.catalog._best import best_of

        if not self.sweep.goal:
            return None
        ids = [row.id for row in self.begun if not row.problem]
        return best_of(self.sweep.folder, ids, self.sweep.number, read=fields.read)

    def _states(self) -> Counter[str]:
        """Count the states of the runs that are over; one that a rule stopped early did well."""
        from runbus.jobs import TERMINAL, read_jobs

        states = Counter(row.state for row in self.rows)
        running = [state for state in states if state not in (*TERMINAL, "UNREADABLE")]
        for state in running:
            del states[state]
        if states["CANCELLED"]:
            jobs = read_jobs(self.sweep.folder).values()
            ids = {row.id for row in self.rows}
            early = sum(job.is_stopped_early for job in jobs if job.run_id in ids)
            states -= Counter({"CANCELLED": early})
            states["SUCCEEDED"] += early
        return +states


def folded(rows: Iterable[RunRow]) -> list[RunRow | SweepRow]:
    """Return rows in their order, those of a sweep as one in the place of the first.

    Args:
        rows: The rows, oldest first.
    """
    found: dict[object, RunRow | list[RunRow]] = {}
    for row in rows:
        if row.sweep is None:
            found[row.folder] = row
        else:
            known = found.setdefault(row.sweep, [])
            assert isinstance(known, list)
            known.append(row)
    return [
        SweepRow(one, given) if isinstance(given, list) else given  # type: ignore[arg-type]
        for one, given in found.items()
    ]
