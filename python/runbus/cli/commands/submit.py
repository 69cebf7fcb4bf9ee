"""`runbus submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._options import (
    complete_executors,
    json_option,
    plugin_option,
    plugin_settings,
    system_option,
    wanted_plugins,
)
from runbus.cli._sweeping_options import again_option, best_option

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.cli._exit import ExitStatus
    from runbus.experiment import Job

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
@click.option("--dry-run", is_flag=True, help="Print the plan, as `runbus plan` does.")
@again_option
@best_option
@system_option
@plugin_option
@json_option()
def command(
    batch: str,
    detach: bool,
    executor: str | None,
    dry_run: bool,
    again: bool,
    best: str | None,
    plugins: tuple[str, ...],
    json_out: TextIO | None,
) -> ExitStatus:
    """Run the jobs of a batch file and follow them to the end.

    BATCH is a file of YAML, TOML or JSON; - reads YAML or JSON from standard input. If anything in
    it is wrong, it is refused whole, with the place of every mistake. Of a sweep that was submitted
    before, only the points run that have not: until its code or its values change.

    Exits with 0 if every job succeeded, 1 if one did not, 130 after Ctrl-C.
    """
    from runbus.cli import _launch
    from runbus.cli._batch_file import BatchFile
    from runbus.cli._plan import print_plan
    from runbus.cli._sweeping import run_missing

    names = wanted_plugins(plugins)
    settings = plugin_settings(plugins, is_left=detach)
    file = BatchFile(
        batch, executor=executor, plugins=names, settings=settings, with_secrets=not dry_run
    )
    if dry_run:
        return print_plan(file.draft(), json_out=json_out)

    def run(jobs: list[Job]) -> ExitStatus:
        if detach:
            return _launch.detach(file.draft(jobs), json_out=json_out)
        return _launch.launch(file.draft(jobs), json_out=json_out)

    return run_missing(
        file.project, file.jobs, run, again=again, detach=detach, goal=best, json_out=json_out
    )
