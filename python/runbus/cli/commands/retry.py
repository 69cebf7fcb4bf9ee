"""`runbus retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("retry")
@click.argument("batch", required=False)
@click.option(
    "--detach", is_flag=True, help="Return once every job is recorded; a supervisor stays."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON list of objects.")
def command(batch: str | None, detach: bool, as_json: bool) -> ExitStatus:
    """Run the jobs of a batch that did not succeed once more, as a new batch.

    What happened stays as it is on record: the jobs get new ids.

    BATCH is the id of an experiment, a project (its newest), or "latest"; without it, the newest
    of all.
    """
    from runbus.catalog import find_experiment
    from runbus.cli import _launch
    from runbus.errors import UsageError
    from runbus.experiment import AsyncExperiment, jobs_to_retry

    folder = find_experiment(batch)
    asked, jobs = jobs_to_retry(folder)
    if not jobs:
        raise UsageError("every job of that batch has succeeded or is not over yet")
    experiment = AsyncExperiment(
        asked.project,
        jobs,
        executors=asked.executors,
        max_parallel=asked.max_parallel,
        root=asked.root or None,
    )
    if detach:
        return _launch.detach(experiment, as_json=as_json)
    return _launch.launch(experiment, as_json=as_json)
