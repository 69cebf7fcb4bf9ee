"""Jobs of other experiments that jobs wait for: their ends, from the journals of those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._home import Home
from runbus.errors import FileUnreadable, HomeUnusable, JournalError
from runbus.jobs import FactReader, fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runbus.abc import JobSpec
    from runbus.jobs import JobRecord, JobState

__all__ = ["Elsewhere"]


class Elsewhere:
    """Looks for the ends of jobs in experiments that other processes lead.

    Args:
        folder: The folder of the experiment whose jobs wait.
    """

    def __init__(self, folder: str) -> None:
        self._home = Home.of(folder)
        self._wanted: dict[str, set[str]] = {}
        self._readers: dict[str, tuple[FactReader, dict[str, JobRecord]]] = {}

    def add(self, jobs: Iterable[JobSpec]) -> None:
        """Look for what some more jobs wait for."""
        for job in jobs:
            for one in job.depends_on:
                if one.experiment:
                    self._wanted.setdefault(one.experiment, set()).add(one.job)

    def ends(self) -> Iterator[tuple[str, str, JobState | None]]:
        """Yield which jobs are known to have ended since the last call, each once. Blocking.

        With each, its experiment and its state; None for a state that nobody can know any more,
        because the experiment was removed.
        """
        for experiment, wanted in [*self._wanted.items()]:
            records = self._read(experiment)
            for job in sorted(wanted):
                record = records.get(job) if records is not None else None
                if records is None or (record is not None and record.state.is_terminal):
                    wanted.remove(job)
                    yield experiment, job, record.state if record is not None else None
            if not wanted:
                del self._wanted[experiment]
                self._readers.pop(experiment, None)

    def _read(self, experiment: str) -> dict[str, JobRecord] | None:
        """Return what is recorded of another experiment's jobs; None if it is gone."""
        try:
            folder = self._home.find_experiment(experiment)
            # A folder without it is what is left of one that was removed.
            if folder is None or not os.path.lexists(os.path.join(folder, "experiment.json")):
                return None
            if experiment not in self._readers:
                self._readers[experiment] = FactReader(folder), {}
            reader, records = self._readers[experiment]
            for fact in reader.poll():
                if (record := fold(records.get(fact.job), fact)) is not None:
                    records[fact.job] = record
        except (FileUnreadable, HomeUnusable, JournalError):
            return {}  # it may be readable the next time, as on a file system that comes back
        return records
