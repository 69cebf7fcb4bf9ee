"""Rows of runs that have to be read from their folders."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runbus.catalog._index import Index, Seen
from runbus.catalog._listings import INDEX_FILE, Listings, Sweep
from runbus.catalog._rows import UNREADABLE, RunRow
from runbus.catalog._runs import END_STATES, RunRecord, Unreadable, found_in
from runbus.jobs import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runbus._home import Home

__all__ = ["Looks", "rebuild_index"]


class Looks:
    """Reads rows from folders, and keeps in mind for the index what is over.

    Args:
        home: The home folder.
        listings: What has the index open already.
    """

    def __init__(self, home: Home, listings: Listings) -> None:
        self._index = Index(home, listings)

    def rows(self, folder: str) -> Iterator[RunRow]:
        """Yield the rows of an experiment, the last one first."""
        for found in found_in(folder, self._index.read(folder)):
            yield self._row(found)

    @staticmethod
    def unreadable(folder: str, problem: str) -> RunRow:
        """Return the row of a folder that cannot be read."""
        name, project = os.path.basename(folder), _project_of(folder)
        return RunRow(name, "", project, UNREADABLE, [], 0, folder, problem)

    def save(self, *, worth: int | None = None) -> int:
        """Extend the index by what is over; returns how many experiments were added.

        Args:
            worth: How many runs there must be; as many as it is worth, if None.
        """
        return self._index.save() if worth is None else self._index.save(worth=worth)

    def _row(self, found: RunRecord | Unreadable) -> RunRow:
        if isinstance(found, Unreadable):
            return self.unreadable(*found)
        job = found.info.job
        row = RunRow.of(found, None if job is None else self._sweep_of(found, job))
        if row.state in (END_STATES if job is None else TERMINAL):
            self._index.note(row.folder, Seen(row.state, row.tags))
        return row

    def _sweep_of(self, run: RunRecord, job: str) -> Sweep | None:
        folder = run.experiment_folder
        sweeps, of_job = self._index.sweeps(folder)
        number = of_job.get(job)
        return None if number is None else Sweep(folder, number, *sweeps[number])


def rebuild_index(home: Home) -> int:
    """Make the index anew and return how many experiments are in it."""
    path = os.path.join(home.path, INDEX_FILE)
    for file in (f"{path}-journal", path):  # what a writer that died left must not be put into it
        with suppress(OSError):
            os.unlink(file)
    with Listings(home) as listings:
        looks = Looks(home, listings)
        for folder in home.experiment_folders(problems={}):
            for _ in looks.rows(folder):
                pass
        return looks.save(worth=0)


def _project_of(folder: str) -> str:
    """Return the project of a run's or an experiment's folder, as far as paths tell."""
    parent = os.path.dirname(folder)
    if os.path.basename(parent) == "runs":
        parent = os.path.dirname(os.path.dirname(parent))
    return os.path.basename(parent)
