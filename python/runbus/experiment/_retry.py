"""Running again what did not succeed."""

from __future__ import annotations

import os

from runbus._secrets import Secret
from runbus.catalog import job_statuses
from runbus.config import Command
from runbus.experiment._job import Job
from runbus.jobs import Asked, JobState
from runbus.metrics import RunInfo

__all__ = ["jobs_to_retry"]


def jobs_to_retry(folder: str) -> tuple[Asked, list[Job]]:
    """Return what a new experiment needs to run again what did not succeed in the one in `folder`.

    The command lines are those of then, word for word: what the tasks would make of themselves
    today (another interpreter, another version of a plugin, or none) would be something else.

    Returns:
        What was asked of the old one, and the jobs that ended without success.
    """
    asked = Asked.read(folder)
    ended_badly = {
        status.record.name
        for status in job_statuses(folder)
        if status.record.state.is_terminal and status.record.state is not JobState.SUCCEEDED
    }
    jobs = [
        Job(
            name=spec.name,
            task=Command(spec.argv, spec.given),
            config=RunInfo.read(os.path.join(folder, spec.run_folder)).config,
            env={**spec.env, **{name: Secret(at) for name, at in spec.secrets.items()}},
            cwd=spec.cwd,
            executor=spec.executor,
            resources=spec.resources,
            timeouts=spec.timeouts,
            retry=spec.retry,
        )
        for spec in asked.jobs
        if spec.name in ended_badly
    ]
    return asked, jobs
