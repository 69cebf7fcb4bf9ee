"""`runbus rename`."""

from __future__ import annotations

import click

from runbus.cli._options import complete_runs
from runbus.cli._printer import printable

__all__ = ["command"]


@click.command("rename")
@click.argument("run", shell_complete=complete_runs)
@click.argument("name")
def command(run: str, name: str) -> None:
    """Give a run another name.

    Its id stays, and so does the name of its job. Several runs may have one name, which then means
    the newest of them: it says so if others have it. A run is not called "latest" or as an id.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest".
    """
    from runbus.catalog import find_run, runs

    found = find_run(run)
    try:
        found.rename(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    named = [one.id for one in runs() if one.name == name]
    if others := len(named) - 1:
        has = "another run has" if others == 1 else f"{others:,} other runs have"
        means = find_run(name).id
        click.echo(f"{has} the name {printable(name)!r}, too: it means {means}", err=True)
