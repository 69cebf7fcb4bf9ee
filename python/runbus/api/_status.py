"""Where jobs stand. Reading that needs no executor, and does not wait for their import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus._clock import format_duration
from runbus.catalog import Batch, JobStatus, find_experiment, job_statuses
from runbus.errors import FieldInvalid

if TYPE_CHECKING:
    from typing import Self

__all__ = ["ExperimentList", "ExperimentStatus", "folder_of", "status"]


class ExperimentStatus(list[JobStatus]):
    """Where the jobs of an experiment stand; as a text and in a notebook, a line for each."""

    @classmethod
    def of(cls, folder: str) -> Self:
        """Look at the experiment in a folder; empty if there is none yet."""
        return cls(job_statuses(folder) if folder else ())

    def __repr__(self) -> str:
        records = [one.record for one in self]
        width = max((len(record.name) for record in records), default=0)
        lines = []
        for record in records:
            time = f"  {format_duration(record.duration_s)}" if record.duration_s else ""
            why = f"  {record.reason}" if record.reason else ""
            lines.append(f"{record.name:<{width}}  {record.state}{time}{why}")
        return "\n".join(lines)


class ExperimentList(list[Batch]):
    """Experiments; as a text and in a notebook, a line for each."""

    def __repr__(self) -> str:
        lines = []
        for one in self:
            counted = ", ".join(f"{number} {state}" for state, number in one.states.items())
            lines.append(f"{one.id}  {one.project}  {one.problem or counted}")
        return "\n".join(lines)


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
