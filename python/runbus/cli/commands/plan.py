"""`runbus plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._options import complete_executors, json_option, plugin_option, wanted_plugins

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("plan")
@click.argument("batch")
@click.option(
    "--executor",
    metavar="NAME",
    shell_complete=complete_executors,
    help="Where jobs run that name no executor; also @FILE[:SECTION].",
)
@plugin_option
@json_option("Print the plan as a JSON object.")
def command(
    batch: str, executor: str | None, plugins: tuple[str, ...], json_out: TextIO | None
) -> ExitStatus:
    """Show what a batch file would do: its graph, its code and every request.

    BATCH is a file, or - for standard input, as `runbus submit` takes it.

    Nothing is written or sent, and no secret is looked at. Of many jobs that are alike a terminal
    is shown one request; a pipe and --json get all.
    """
    from runbus.cli._batch_file import BatchFile
    from runbus.cli._plan import print_plan

    names = wanted_plugins(plugins)
    file = BatchFile(batch, executor=executor, plugins=names, with_secrets=False)
    return print_plan(file.draft(), json_out=json_out)
