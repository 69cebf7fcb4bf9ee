"""Which jobs of an experiment are still to be sent off: what its next leader begins with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus.config import stages
from runbus.jobs import JobState, current_record, read_jobs, read_requests
from runbus.supervisor import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.abc import JobSpec
    from runbus.jobs import JobRecord

__all__ = ["unsent"]


def unsent(folder: str, specs: Sequence[JobSpec]) -> list[JobSpec]:
    """Return which of some jobs are still to be sent off, each as of its next attempt. Blocks.

    Left out are those that have ended or that a backend has, those that somebody wants to end, and
    those that will be skipped because of how another one has ended.

    Args:
        folder: The experiment's folder.
        specs: The jobs as of their first attempts; nothing need be on record of them.

    Raises:
        JournalError: The journal cannot be read.
    """
    records = read_jobs(folder)
    asked = {request.job for request in read_requests(folder).values()}
    stage_of = stages({spec.name: spec.depends_on for spec in specs})
    found: dict[str, JobSpec] = {}
    ends: dict[str, JobState] = {}
    for spec in sorted(specs, key=lambda spec: stage_of[spec.name]):
        record = records.get(spec.name)
        known = record and current_record(folder, record)
        if known and known.state.is_terminal:
            ends[spec.name] = known.state
        elif known and known.handle:
            continue
        elif not asked.isdisjoint((None, spec.name)):
            ends[spec.name] = JobState.CANCELLED
        elif (record is None or record.attempt == 1) and _is_refused(spec, ends):
            ends[spec.name] = JobState.SKIPPED
        else:
            found[spec.name] = _next(folder, spec, record)
    return [found[spec.name] for spec in specs if spec.name in found]


def _is_refused(spec: JobSpec, ends: Mapping[str, JobState]) -> bool:
    own = [one for one in spec.depends_on if not one.experiment and one.job in ends]
    return any(refusal(one.when, ends[one.job]) for one in own)


def _next(folder: str, spec: JobSpec, record: JobRecord | None) -> JobSpec:
    """Return a job as of the attempt that comes next."""
    if record is None:
        return spec
    at = os.path.join(folder, record.folder)
    if not record.handle:
        return replace(spec, attempt=record.attempt, folder=at)
    following = record.attempt + 1  # that attempt is over, and nobody has noted it yet
    at = os.path.join(os.path.dirname(at), str(following))
    return replace(spec, attempt=following, folder=at)
