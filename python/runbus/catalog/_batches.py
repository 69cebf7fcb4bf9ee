"""The batches of a home: experiments with jobs."""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from runbus._home import Home
from runbus._secrets import redacted_text
from runbus.catalog._lookup import not_removed
from runbus.errors import NotFound, RunbusError
from runbus.jobs import Asked, JobRecord, current_record, read_jobs

__all__ = ["Batch", "batches"]


class Batch(NamedTuple):
    """A batch, as a list of batches shows it.

    Attributes:
        id: Its id.
        project: What its runs are gathered under.
        created_ns: When it was made, Unix time in nanoseconds; 0 if that is not known.
        jobs: How many jobs it has; those whose runs were removed do not count.
        records: Where the jobs stand, in their order; None, at the end, for each of which nothing
            is recorded.
        folder: Its folder.
        problem: Which file is wrong, and how; empty if all is well.
    """

    id: str
    project: str
    created_ns: int
    jobs: int
    records: list[JobRecord | None]
    folder: str
    problem: str = ""

    @property
    def states(self) -> dict[str, int]:
        """How many jobs are in which state."""
        counted = Counter(str(one.state) if one else "PENDING" for one in self.records)
        return dict(counted)


def batches(
    project: str | None = None, *, home: str | os.PathLike[str] | None = None
) -> list[Batch]:
    """Return the batches of a project, or all batches, oldest first.

    Args:
        project: The project; all if None.
        home: The home folder, instead of `$RUNBUS_HOME` or `~/.runbus`.

    Raises:
        HomeUnusable: The home folder cannot be read.
    """
    title = None if project is None else redacted_text(project)  # as its folder is called
    folders = sorted(Home(home).experiment_folders(title, problems={}), key=os.path.basename)
    return [batch for folder in folders if (batch := _batch(folder)) is not None]


def _batch(folder: str) -> Batch | None:
    """Return what an experiment's folder holds; None if it is no batch, but a run without jobs."""
    id_, title = os.path.basename(folder), os.path.basename(os.path.dirname(folder))
    try:
        asked = Asked.read(folder)
        known = read_jobs(folder)
    except NotFound:
        return None
    except RunbusError as error:
        return Batch(id_, title, 0, 0, [], folder, str(error))
    recorded = [current_record(folder, known[job.name]) for job in asked.jobs if job.name in known]
    records = [*not_removed(folder, recorded), *[None] * (len(asked.jobs) - len(recorded))]
    return Batch(id_, asked.project, asked.created_ns, len(records), records, folder)
