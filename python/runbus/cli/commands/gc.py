"""`runbus gc`."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from runbus._clock import format_duration
from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_projects
from runbus.cli._printer import print_json
from runbus.cli._table import print_table, tell_left_out
from runbus.errors import RunbusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.api import FarFolder
    from runbus.catalog import Leftover, RunRow, Trashed

__all__ = ["command"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class _Age(click.ParamType[int]):
    """How long ago something is, in nanoseconds."""

    name = "age"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if found := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", value):
            return int(float(found[1]) * _SECONDS[found[2]] * 1e9)
        self.fail(f"{value!r} is not an age, such as 12h, 30d or 8w", param, ctx)


class _Item(NamedTuple):
    """What is to be removed: a run, to the trash; what is there, or else, for good."""

    what: RunRow | Trashed | Leftover | FarFolder
    ended_ns: int
    is_for_good: bool

    def described(self) -> dict[str, object]:
        return {
            "id": self.what.id,
            "name": self.what.name,
            "project": self.what.project,
            "ended_ns": self.ended_ns,
            "goes": "for good" if self.is_for_good else "to the trash",
        }


@click.command("gc")
@click.option(
    "--older-than",
    type=_Age(),
    required=True,
    metavar="AGE",
    help="Only what is older: 12h, 30d, 8w. A run is as old as its end.",
)
@click.option(
    "--project", shell_complete=complete_projects, metavar="NAME", help="Only of this project."
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only the runs of which it is true, as in runbus ls.",
)
@click.option("--tagged", is_flag=True, help="Also runs with tags or notes, which are kept else.")
@click.option(
    "--hosts", is_flag=True, help="Also what other machines keep of batches that are over."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    older_than: int,
    project: str | None,
    where: tuple[str, ...],
    tagged: bool,
    hosts: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
) -> ExitStatus:
    """Move old runs to the trash, and remove for good what has been there as long.

    So is what the home keeps that nothing needs: packaged code, which experiments have themselves,
    and, while no job runs, programs of other versions. Runs that are not over are never removed,
    and those with tags or notes only with --tagged. With --where nothing but runs is. It asks, and
    where nobody can answer it refuses without --yes.

    With --hosts the machines of SSH and Slurm executors are asked, too: the folder of a batch of
    this home is removed there, with all that its jobs wrote into it, if its last job has ended so
    long ago, nothing was written there for a day, and no job lacks a record of its end there.
    """
    before_ns = time.time_ns() - older_than
    if hosts and where:
        raise click.UsageError("--where is for runs: --hosts goes without it")
    items = [*_old_far_folders(before_ns, project)] if hosts else []
    items += _old_runs(before_ns, project, where, is_any=tagged)
    items += [] if where else _old_trash(before_ns, project)
    items += [] if where or project else _old_leftovers(before_ns)
    if as_json:
        print_json([one.described() for one in items])
    elif items:
        _print(items)
    if not items:
        click.echo("nothing is as old", err=True)
    if dry_run or not items:
        return ExitStatus.OK
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here: --yes removes without a question")
        if not click.confirm("remove them?"):
            click.echo("kept", err=True)
            return ExitStatus.FAILED
    return _remove(items)


def _old_runs(
    before_ns: int, project: str | None, where: Sequence[str], *, is_any: bool
) -> Iterator[_Item]:
    from runbus.catalog import Condition, selected, survey

    conditions = [one for text in where for one in Condition.parse(text)]
    for row in selected(survey(project), conditions):
        # A run that cannot be read is for people to look at.
        if row.run is None or row.created_ns >= before_ns:
            continue
        try:
            is_over = row.run.state.is_terminal
            ended_ns = max(row.created_ns, row.run.last_written_ns() or 0)
            if row.run.job is not None:
                ended_ns = max(ended_ns, row.run.job.ended_ns)
            is_marked = bool(row.tags or row.run.notes)
        except (RunbusError, OSError):
            continue
        if is_over and ended_ns < before_ns and (is_any or not is_marked):
            yield _Item(row, ended_ns, is_for_good=False)


def _old_trash(before_ns: int, project: str | None) -> Iterator[_Item]:
    from runbus._ids import slug
    from runbus.catalog import trashed

    for one in trashed():
        if one.removed_ns < before_ns and (project is None or one.project == slug(project)):
            yield _Item(one, one.removed_ns, is_for_good=True)


def _old_leftovers(before_ns: int) -> Iterator[_Item]:
    from runbus.catalog import leftovers

    for one in leftovers():
        if one.used_ns < before_ns:
            yield _Item(one, one.used_ns, is_for_good=True)


def _old_far_folders(before_ns: int, project: str | None) -> Iterator[_Item]:
    import anyio

    from runbus.api import far_folders, idle_far_folders

    old = [one for one in far_folders(project) if one.ended_ns < before_ns]
    found, problems = anyio.run(idle_far_folders, old)
    for host, problem in problems.items():
        click.echo(f"{host} is left as it is: {problem}", err=True)
    for one in found:
        yield _Item(one, one.ended_ns, is_for_good=True)


def _remove_far_folders(items: Sequence[_Item]) -> ExitStatus:
    """Remove what other machines keep; what something has been written to meanwhile is kept."""
    from functools import partial

    import anyio

    from runbus.api import FarFolder, idle_far_folders

    if not (folders := [one.what for one in items if isinstance(one.what, FarFolder)]):
        return ExitStatus.OK
    gone, problems = anyio.run(partial(idle_far_folders, folders, removes=True))
    kept = [one for one in folders if one not in gone]
    for one in kept:
        why = problems.get(one.host, "it is in use, or may not be removed")
        click.echo(f"{one.id} is kept: {why}", err=True)
    return ExitStatus.FAILED if kept else ExitStatus.OK


def _print(items: Sequence[_Item]) -> None:
    now_ns = time.time_ns()
    rows = [
        [
            one.what.id,
            one.what.name,
            one.what.project,
            format_duration((now_ns - one.ended_ns) // 10**9),
            "for good" if one.is_for_good else "to the trash",
        ]
        for one in items
    ]
    header = ["id", "name", "project", "age", "goes"]
    tell_left_out(print_table(header, rows, right=["age"], optional=["project"]))


def _remove(items: Sequence[_Item]) -> ExitStatus:
    """Remove what was shown; a run that somebody goes on with meanwhile is kept."""
    from runbus.api import FarFolder
    from runbus.catalog import Leftover, RunRow, purge_run, remove_leftover, remove_run

    # What tells of them goes with the runs.
    status = _remove_far_folders(items)
    for one in items:
        if isinstance(one.what, FarFolder):
            continue
        try:
            if isinstance(one.what, Leftover):
                remove_leftover(one.what)
            elif not isinstance(one.what, RunRow):
                purge_run(one.what)
            elif one.what.run is not None:
                remove_run(one.what.run)
        except RunbusError as error:
            click.echo(f"{one.what.id} is kept: {error}", err=True)
            status = ExitStatus.FAILED
    return status
