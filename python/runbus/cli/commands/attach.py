"""`runbus attach`."""

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


@click.command("attach")
@click.argument("batch", required=False, shell_complete=complete_batches)
@plugin_option
@json_option()
def command(batch: str | None, plugins: tuple[str, ...], json_out: TextIO | None) -> ExitStatus:
    """Follow a batch to its end, and lead it if no other process does.

    BATCH is the id of an experiment, a project (its newest), or "latest", that of the newest run;
    without it, the newest of all. What ran on meanwhile is found again, what was never started is
    started, nothing runs twice.

    Exits as submit does. Ctrl-C ends the jobs if this process leads them; if another does, it
    only stops following.
    """
    from runbus.catalog import find_experiment
    from runbus.cli import _launch
    from runbus.jobs import note_settings

    names = wanted_plugins(plugins)
    folder = find_experiment(batch)
    if settings := plugin_settings(plugins):
        # Its next leader has them, which need not be this process.
        note_settings(folder, settings)
    return _launch.attach(folder, plugins=names, json_out=json_out)
