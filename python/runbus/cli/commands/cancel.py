"""`runbus cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("cancel")
@click.argument("job_or_batch")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between TERM and KILL; 0 kills at once.",
)
def command(job_or_batch: str, grace_s: float) -> ExitStatus:
    """End a job, or all jobs of a batch, and wait until they have ended.

    JOB_OR_BATCH is a job's id or name (the newest of that name), the id of an experiment, or a
    project (its newest).
    """
    from runbus.cli import _launch
    from runbus.experiment import find_experiment, find_job

    folder, job = find_job(job_or_batch) or (find_experiment(job_or_batch), None)
    return _launch.cancel(folder, job, grace_s)
