"""`runbus doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._options import json_option
from runbus.cli._printer import print_json

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["command"]


@click.command("doctor")
@click.argument("batches", metavar="[BATCH]...", nargs=-1)
@click.option("-v", "--verbose", is_flag=True, help="Show also what was found to be well.")
@json_option("Print a JSON list of objects.")
@click.option(
    "--rebuild-index", is_flag=True, help="Only make index.db anew from the folders of the home."
)
@click.option(
    "--gpu", is_flag=True, help="Only show what it costs to sample this machine and its GPUs."
)
def command(
    batches: tuple[str, ...], verbose: bool, json_out: TextIO | None, rebuild_index: bool, gpu: bool
) -> ExitStatus:
    """Check that jobs can run here and that nothing was left behind.

    Looks at this machine, at the home folder, at runbus.yaml and executors.yaml, and at the
    machines and container engines of the executors in the batch files BATCH, or without any of
    those that have names and those of the home's open and newest experiments. Says what to do where
    something is not as it should be; with -v it shows the partitions of a Slurm cluster, too.

    index.db only saves time where there are many runs; no answer depends on it.

    Exits with 0 if all is well, 1 if not.
    """
    from runbus._home import Home

    if gpu:
        from runbus.cli._getter_costs import show_getter_costs

        show_getter_costs(json_out=json_out)
        return ExitStatus.OK
    home = Home()
    if rebuild_index:
        from runbus.catalog import rebuild_index as rebuild

        known = rebuild(home)
        told = f"{known} experiments that are over are in {home.path}/index.db"
        click.echo(told if known else "there is nothing to index, or not on a file system for it")
        return ExitStatus.OK
    from runbus.cli._checks import all_checks
    from runbus.cli._engine_checks import engine_checks
    from runbus.cli._host_checks import host_checks, known_executors

    executors = known_executors(home, batches)
    checks = [*all_checks(home), *host_checks(executors), *engine_checks(executors)]
    if json_out is not None:
        print_json([check._asdict() for check in checks], json_out)
    else:
        # What only is as it should be is one line.
        shown = [check for check in checks if verbose or check.advice or not check.is_well]
        if quiet := [check.title for check in checks if check not in shown]:
            click.echo(f"ok  {', '.join(quiet)}")
        for check in shown:
            click.echo(f"{'ok' if check.is_well else '!!'}  {check.title}: {check.found}")
            if check.advice:
                click.echo(f"    hint: {check.advice}")
    return ExitStatus.OK if all(check.is_well for check in checks) else ExitStatus.FAILED
