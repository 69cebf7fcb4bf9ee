"""`runbus submit`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus.cli._options import complete_executors, plugin_option, wanted_plugins

if TYPE_CHECKING:
    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("submit")
@click.argument("batch")
@click.option(
    "--detach", is_flag=True, help="Return once every job is recorded; a supervisor stays."
)
@click.option(
    "--executor",
    metavar="NAME",
    shell_complete=complete_executors,
    help="Where jobs run that name no executor; also @FILE[:SECTION].",
)
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON list of objects.")
def command(
    batch: str,
    detach: bool,
    executor: str | None,
    dry_run: bool,
    plugins: tuple[str, ...],
    as_json: bool,
) -> ExitStatus:
    """Run the jobs of a batch file and follow them to the end.

    BATCH is a file of YAML, TOML or JSON. If anything in it is wrong, it is refused whole, with
    the place of every mistake.

    Exits with 0 if every job succeeded, 1 if one did not, 130 after Ctrl-C.
    """
    from runbus._files import absolute_path
    from runbus.cli import _launch
    from runbus.config import load_batch
    from runbus.experiment import AsyncExperiment, jobs_of_batch

    names = wanted_plugins(plugins)
    folder = os.path.dirname(absolute_path(batch))
    loaded = load_batch(batch, executor=executor, with_secrets=not dry_run)
    jobs = jobs_of_batch(loaded, folder)
    experiment = AsyncExperiment(
        loaded.project,
        jobs,
        executors=loaded.executors,
        max_parallel=loaded.max_parallel,
        root=folder,
        plugins=names,
    )
    if dry_run:
        return _launch.print_requests(experiment)
    if detach:
        return _launch.detach(experiment, as_json=as_json)
    return _launch.launch(experiment, as_json=as_json)
