"""`runbus note`."""

from __future__ import annotations

import click

from runbus.cli._options import complete_runs

__all__ = ["command"]


@click.command("note")
@click.argument("run", shell_complete=complete_runs)
@click.argument("text", nargs=-1, required=True)
def command(run: str, text: tuple[str, ...]) -> None:
    """Add a note to a run, also long after it has ended: `runbus show` shows it.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest".
    """
    from runbus.catalog import find_run

    find_run(run).note(" ".join(text))
