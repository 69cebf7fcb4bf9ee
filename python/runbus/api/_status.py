"""Where jobs stand. Reading that needs no executor, and does not wait for their import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus.catalog import job_statuses

if TYPE_CHECKING:
    from runbus.catalog import JobStatus

__all__ = ["status"]


def status(folder: str) -> list[JobStatus]:
    """Return where the jobs of the experiment in `folder` stand, in the order they were given.

    Raises:
        ExperimentNotFound: There is no experiment in that folder.
    """
    return job_statuses(folder)
