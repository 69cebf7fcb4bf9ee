"""Before anything runs: nothing here submits a job."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runbus.api._executors import executors_of
from runbus.api._status import folder_of
from runbus.errors import UsageError
from runbus.experiment import AsyncExperiment, jobs_to_retry
from runbus.jobs import read_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.abc import Request
    from runbus.experiment import StoredExperiment

__all__ = ["plan", "prepare", "retry"]


def plan(experiment: AsyncExperiment) -> list[Request]:
    """Return what would be sent for each job; nothing is written or sent.

    `Request.render` shows one without its secrets.

    Raises:
        Unsupported: A job asks for what its executor cannot give.
        UsageError: A job cannot be run as it is.
    """
    return experiment.plan(executors_of(experiment.executors))


def prepare(experiment: AsyncExperiment) -> StoredExperiment:
    """Record an experiment, with its code, for `lead` or `detach`. Blocks.

    Raises:
        Unsupported: A job asks for what its executor cannot give.
        UsageError: A job, or its code, cannot be run as asked; nothing is left behind.
        SecretMissing: A secret cannot be read; nothing is left behind.
        HomeUnusable: The home folder cannot be written.
    """
    return experiment.prepare(executors_of(experiment.executors))


def retry(batch: str, *, plugins: Sequence[str] = ()) -> AsyncExperiment:
    """Return a new experiment of the jobs that did not succeed in one.

    Args:
        batch: Its folder, or what `find_experiment` takes: its id, a project (the newest of it), or
            "latest".
        plugins: The names of installed plugins that its leader loads, besides those of the old one.

    Raises:
        ExperimentNotFound: It does not exist; names those that read almost the same.
        AmbiguousId: It is a part of several ids.
        UsageError: Every job of it has succeeded or is not over yet.
    """
    folder = folder_of(batch)
    asked, jobs = jobs_to_retry(folder)
    if not jobs:
        name = os.path.basename(folder)
        known = read_jobs(folder).values()
        still = len(asked.jobs) - sum(one.state.is_terminal for one in known)
        if not still:
            raise UsageError(f"nothing to retry in {name}: every job of it has succeeded")
        counted = "one job of it is" if still == 1 else f"{still:,} jobs of it are"
        raise UsageError(f"nothing to retry in {name} yet: {counted} not over, and none has failed")
    return AsyncExperiment(
        asked.project,
        jobs,
        executors=asked.executors,
        max_parallel=asked.max_parallel,
        root=asked.root or None,
        plugins=list(dict.fromkeys([*asked.plugins, *plugins])),
    )
