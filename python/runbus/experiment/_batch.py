"""The jobs of a batch file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runbus._secrets import Secret
from runbus.abc import Dependency
from runbus.config import ValueField
from runbus.experiment._job import Job
from runbus.experiment._sweep import swept

if TYPE_CHECKING:
    from runbus.config import Batch, BatchJob, Output

__all__ = ["jobs_of_batch"]


def jobs_of_batch(batch: Batch, folder: str) -> list[Job]:
    """Return the jobs of a batch file: one for each point of a job with a sweep.

    What waits for a job with a sweep waits for all of its points.

    Args:
        batch: The batch.
        folder: The folder of the file: paths in it are relative to that.

    Raises:
        SpaceInvalid: The file of a sweep is another by now.
    """
    made: dict[str, list[Job]] = {}
    for job in batch.jobs:
        one = _job(batch, job, folder)
        space = job.space(folder)
        made[job.name] = [one] if space is None else swept(one, space, name=job.name)
    for name, jobs in made.items():
        asked = jobs[0].dependencies
        if all(one.experiment or len(made.get(one.job, "?")) == 1 for one in asked):
            continue
        waits = [one for one in asked if one.experiment]
        waits += [
            Dependency(job=each.name if isinstance(each, Job) else each.job, when=one.when)
            for one in asked
            if not one.experiment
            for each in made.get(one.job, [one])
        ]
        made[name] = [replace(job, depends_on=waits) for job in jobs]
    return [job for jobs in made.values() for job in jobs]


def _value(field: ValueField, folder: str) -> Secret | Output:
    return field.output if field.secret is None else Secret(field.secret).relative_to(folder)


def _job(batch: Batch, job: BatchJob, folder: str) -> Job:
    return Job(
        name=job.name,
        task=job.what(folder),
        config=job.config,
        env={
            name: _value(value, folder) if isinstance(value, ValueField) else value
            for name, value in job.env.items()
        },
        cwd=os.path.join(folder, job.cwd or ""),
        executor=job.executor or batch.executor,
        resources=job.resources,
        timeouts=job.timeouts,
        retry=job.retry,
        depends_on=job.dependencies,
        group=job.group,
        stop=job.stop,
        artifacts=job.artifacts,
        artifact_limits=job.artifact_limits,
    )
