"""`runbus seal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_projects, complete_runs
from runbus.cli._printer import print_error, refusal
from runbus.cli._run_facts import near_project
from runbus.errors import FileUnreadable, RunBusy, RunUnreadable

if TYPE_CHECKING:
    from runbus.catalog import RunRecord

__all__ = ["command"]


@click.command("seal")
@click.argument("runs", metavar="[RUN]...", nargs=-1, shell_complete=complete_runs)
@click.option("--all", "is_all", is_flag=True, help="Seal all runs that are over, oldest first.")
@click.option(
    "--project", shell_complete=complete_projects, help="With --all: only the runs of this project."
)
def command(runs: tuple[str, ...], is_all: bool, project: str | None) -> ExitStatus:
    """Turn the journals of finished runs into Parquet files.

    What was logged value by value takes a fifth of the space, and other tools read it as it lies.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest". What is sealed
    already stays. Prints the path of each file made. With --all, runs that are not over are named
    and left alone, and so are those that are too damaged.
    """
    from runbus.catalog import find_run

    if is_all == bool(runs):
        raise click.UsageError("give either runs or --all")
    if project is not None and not is_all:
        raise click.UsageError("--project goes with --all")
    if is_all:
        return _seal_all(project)
    for run in map(find_run, runs):
        for path in run.seal():
            click.echo(path)
    return ExitStatus.OK


def _seal_all(project: str | None) -> ExitStatus:
    """Seal what is over, and name what is not, or cannot be read."""
    from runbus.catalog import survey

    status = ExitStatus.OK
    found = survey(project)
    if not found and project is not None:
        click.echo(f"no run of project {project!r}{near_project(project)}", err=True)
    for row in found:
        try:
            if row.run is None:
                raise RunUnreadable(row.id, row.problem)
            for path in _sealed(row.run):
                click.echo(path)
        except RunBusy as error:
            click.echo(str(error), err=True)
        except (RunUnreadable, FileUnreadable) as error:
            status = ExitStatus.FAILED
            click.echo(str(error), err=True)
        except OSError as error:
            status = ExitStatus.FAILED
            print_error(refusal(error))
    return status


def _sealed(run: RunRecord) -> list[str]:
    """Seal a run if it has journals and is over; say so if it is not over."""
    if run.state.is_terminal:
        return run.seal()
    if run.journal_bytes():
        click.echo(f"run {run.id} is not over: {run.state}", err=True)
    return []
