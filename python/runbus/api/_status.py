"""Where jobs stand. Reading that needs no executor, and does not wait for their import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.catalog import find_experiment, job_statuses
from runbus.errors import FieldInvalid

if TYPE_CHECKING:
    from runbus.catalog import JobStatus

__all__ = ["folder_of", "status"]


def status(batch: str) -> list[JobStatus]:
    """Return where the jobs of an experiment stand, in the order they were given.

    Args:
        batch: Its folder, or what `find_experiment` takes: its id, a project (the newest of it), or
            "latest".

    Raises:
        ExperimentNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
    """
    return job_statuses(folder_of(batch))


def folder_of(batch: str) -> str:
    """Return the folder of an experiment; see `status` for how it may be named."""
    given: object = batch
    if not isinstance(given, str):
        expected = "expected text: a folder, an id, a part of one, a project or latest"
        raise FieldInvalid("batch", repr(batch), expected)
    # No name of a batch has a separator.
    return batch if os.sep in batch else find_experiment(batch)
