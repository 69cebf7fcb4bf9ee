"""A run as a list shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runbus.errors import RunbusError

if TYPE_CHECKING:
    from runbus.catalog._listings import Sweep
    from runbus.catalog._runs import RunRecord

__all__ = ["UNREADABLE", "RunRow"]

UNREADABLE = "UNREADABLE"
"""The state of a run in a list, if a file of it is damaged or may not be read."""


@dataclass(slots=True)
class RunRow:
    """A run, or a folder that should be one, as a list of runs shows it.

    Attributes:
        id: The run's id; the name of its folder, if the run cannot be read.
        name: What people call it; empty if the run cannot be read.
        project: What it is gathered under.
        state: Where it stands: a `JobState`, or `UNREADABLE`.
        tags: Its tags.
        created_ns: When it was made, Unix time in nanoseconds; 0 if that is not known.
        folder: Its folder.
        problem: Which file is wrong, and how; empty if all is well.
        sweep: The sweep that it is a point of; None if it is of none.
    """

    id: str
    name: str
    project: str
    state: str
    tags: list[str]
    created_ns: int
    folder: str
    problem: str = ""
    sweep: Sweep | None = None
    _run: RunRecord | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, run: RunRecord, sweep: Sweep | None = None) -> RunRow:
        """Look at a run; whatever is wrong with its files becomes a part of the row."""
        about = run.info
        fields = about.id, about.name, about.project
        try:
            state, tags = str(run.state), run.tags
        except (RunbusError, OSError) as error:
            return cls(*fields, UNREADABLE, [], about.created_ns, run.folder, str(error))
        return cls(*fields, state, tags, about.created_ns, run.folder, "", sweep, run)

    @property
    def run(self) -> RunRecord | None:
        """The run; None if it cannot be read."""
        if self._run is None and not self.problem:
            from runbus.catalog._runs import RunRecord

            self._run = RunRecord.unread(self.folder)
        return self._run
