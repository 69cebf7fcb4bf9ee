"""`runbus retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._options import (
    complete_batches,
    json_option,
    plugin_option,
    plugin_settings,
    wanted_plugins,
)

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("retry")
@click.argument("batch", required=False, shell_complete=complete_batches)
@click.option(
    "--detach", is_flag=True, help="Return once every job is recorded; a supervisor stays."
)
@click.option(
    "--failed",
    "failed_only",
    is_flag=True,
    help="Only what failed, and what was skipped for it: what was cancelled stays.",
)
@plugin_option
@json_option()
def command(
    batch: str | None,
    detach: bool,
    failed_only: bool,
    plugins: tuple[str, ...],
    json_out: TextIO | None,
) -> ExitStatus:
    """Run the jobs of a batch that did not succeed once more, as a new batch.

    What happened stays as it is on record: the jobs get new ids.

    BATCH is the id of an experiment, a project (its newest), or "latest", that of the newest run;
    without it, the newest of all.
    """
    from runbus import api
    from runbus.catalog import find_experiment
    from runbus.cli import _launch

    names = wanted_plugins(plugins)
    settings = plugin_settings(plugins, is_left=detach)
    experiment = api.retry(
        find_experiment(batch), plugins=names, settings=settings, failed_only=failed_only
    )
    if detach:
        return _launch.detach(experiment, json_out=json_out)
    return _launch.launch(experiment, json_out=json_out)
