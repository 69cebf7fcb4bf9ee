"""Removing runs for good."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from runbus._home import Home
from runbus.errors import HomeUnusable, RunBusy
from runbus.jobs import leader_of, read_jobs

if TYPE_CHECKING:
    from runbus.catalog._runs import RunRecord

__all__ = ["remove_run"]


def remove_run(run: RunRecord) -> None:
    """Remove a run that is over, with all that its job wrote. There is no way back.

    The experiment goes with its last run. That the job was there stays in the record of the others.

    Raises:
        RunBusy: It is not over, or somebody leads its experiment.
        HomeUnusable: Something of it cannot be removed.
    """
    if not run.state.is_terminal or leader_of(run.experiment_folder) is not None:
        raise RunBusy(run.id)
    experiment = run.experiment_folder
    job = run.job_folder
    try:
        shutil.rmtree(run.folder)
        if job is not None:
            shutil.rmtree(os.path.dirname(job), ignore_errors=True)
        jobs = read_jobs(experiment).values()
        if not os.listdir(os.path.join(experiment, "runs")) and all(
            one.state.is_terminal for one in jobs
        ):
            Home(_home_of(experiment)).note_closed(experiment)
            shutil.rmtree(experiment)
    except OSError as error:
        where = error.filename or run.folder
        raise HomeUnusable(os.fsdecode(where), (error.strerror or str(error)).lower()) from None


def _home_of(experiment: str) -> str:
    """Return the home that an experiment's folder lies in."""
    return os.path.dirname(os.path.dirname(os.path.dirname(experiment)))
