"""`runbus cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.abc import GRACE_S
from runbus.cli._options import complete_jobs

if TYPE_CHECKING:
    from runbus.cli._exit import ExitStatus

__all__ = ["command"]

_LONGEST_S = 1e9
"""A shell counts the seconds, and it does not count to infinity."""


def _countable(ctx: click.Context, param: click.Parameter, value: float) -> float:
    # No comparison with what is not a number holds.
    if not value <= _LONGEST_S:
        raise click.BadParameter(f"{value} is not a valid number of seconds", ctx, param)
    return value


@click.command("cancel")
@click.argument("job_or_batch", shell_complete=complete_jobs)
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    callback=_countable,
    default=float(GRACE_S),
    show_default=True,
    metavar="SECONDS",
    help="Time between TERM and KILL; 0 kills at once.",
)
def command(job_or_batch: str, grace_s: float) -> ExitStatus:
    """End a job, a sweep, or all jobs of a batch, and wait until they have ended.

    JOB_OR_BATCH is a job's id or name, or the name of its run (the newest of that name), the id of
    an experiment, a project (its newest), the name of a sweep or of a job that runs as several
    copies, or "latest", the batch of the newest run: if runbus did not start that run, nothing is
    ended. Prints what became of it.
    """
    from runbus.catalog import find_job, find_sweep
    from runbus.cli import _launch
    from runbus.errors import JobNotFound

    try:
        folder, job = find_job(job_or_batch)
    except JobNotFound:
        if (found := find_sweep(job_or_batch)) is None:
            raise
        return _launch.cancel_sweep(*found, grace_s)
    return _launch.cancel(folder, job, grace_s)
