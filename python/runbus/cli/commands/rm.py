"""`runbus rm`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from runbus._clock import format_duration
from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_runs
from runbus.cli._printer import format_time, print_json
from runbus.cli._table import print_table, tell_left_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog import RunRecord, Trashed

__all__ = ["command"]


@click.command("rm")
@click.argument("runs", metavar="RUN...", nargs=-1, shell_complete=complete_runs)
@click.option("--purge", is_flag=True, help="Remove for good, from the trash, too.")
@click.option("--restore", is_flag=True, help="Bring runs back from the trash.")
@click.option("--list", "lists", is_flag=True, help="List what is in the trash.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before runs are removed for good.")
def command(
    runs: tuple[str, ...], purge: bool, restore: bool, lists: bool, as_json: bool, yes: bool
) -> ExitStatus:
    """Remove runs that are over, with their files and logs.

    They go to the trash, a folder of the home, until --restore brings them back or --purge removes
    them for good. Runs that are not over are refused. Prints the ids of the runs.

    RUN is an id or a part of one, or a name (the newest run of that name), but not "latest":
    another run may have begun meanwhile. --purge asks, and where nobody can answer it refuses
    without --yes.
    """
    from runbus.catalog import find_run, find_trashed, remove_run, restore_run

    if lists:
        if runs or purge or restore:
            raise click.UsageError("--list goes alone")
        return _list_trash(as_json=as_json)
    if not runs:
        raise click.UsageError("name the runs, or say --list")
    if (purge and restore) or as_json:
        raise click.UsageError("--json goes with --list, and --purge not with --restore")
    if "latest" in runs:
        newest = "" if restore else f": name the run, which is {find_run('latest').id} by now"
        raise click.UsageError(f"'latest' is not removed{newest}")
    if restore:
        for one in {one.id: one for one in map(find_trashed, runs)}.values():
            restore_run(one)
            click.echo(one.id)
        return ExitStatus.OK
    if purge:
        return _purge(runs, is_asked=not yes)
    for run in {run.id: run for run in map(find_run, runs)}.values():
        remove_run(run)
        click.echo(run.id)
    click.echo("in the trash: runbus rm --restore brings them back", err=True)
    return ExitStatus.OK


def _purge(texts: Sequence[str], *, is_asked: bool) -> ExitStatus:
    """Remove runs for good, wherever they lie."""
    from runbus.catalog import RunRecord, purge_run, remove_run

    found: dict[str, RunRecord | Trashed] = {one.id: one for one in map(_anywhere, texts)}
    if is_asked:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: --yes removes without a question")
        names = ", ".join(f"{one.name} ({one.id})" for one in found.values())
        if not click.confirm(f"remove {names} for good?"):
            click.echo("kept", err=True)
            return ExitStatus.FAILED
    for one in found.values():
        if isinstance(one, RunRecord):
            remove_run(one, purge=True)
        else:
            purge_run(one)
        click.echo(one.id)
    return ExitStatus.OK


def _anywhere(text: str) -> RunRecord | Trashed:
    """Return the run of a name, else the one in the trash."""
    from runbus.catalog import find_run, find_trashed
    from runbus.errors import RunNotFound

    try:
        return find_run(text)
    except RunNotFound as error:
        try:
            return find_trashed(text)
        except RunNotFound as other:
            raise (error if error.similar or not other.similar else other) from None


def _list_trash(*, as_json: bool) -> ExitStatus:
    from runbus.catalog import trashed

    found = trashed()
    if as_json:
        print_json([one._asdict() for one in found])
    elif not found:
        click.echo("the trash is empty", err=True)
    else:
        rows = [
            [one.id, one.name, one.project, format_time(one.removed_ns), _ago(one.removed_ns)]
            for one in found
        ]
        header = ["id", "name", "project", "removed", "ago"]
        tell_left_out(print_table(header, rows, right=["ago"], optional=["removed", "project"]))
    return ExitStatus.OK


def _ago(time_ns: int) -> str:
    return format_duration(max(0, (time.time_ns() - time_ns) // 10**9))
