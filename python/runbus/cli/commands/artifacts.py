"""`runbus artifacts`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._facts import shown_path
from runbus.cli._named_run import named_run
from runbus.cli._options import complete_runs
from runbus.cli._printer import format_time, print_error, print_json, printable
from runbus.cli._table import print_table
from runbus.config import format_size
from runbus.errors import FileUnreadable, UsageError

if TYPE_CHECKING:
    from runbus.metrics import Artifact

__all__ = ["command"]


@click.command("artifacts")
@click.argument("run", shell_complete=complete_runs)
@click.argument("name", required=False)
@click.option("--kind", help="Only those of this kind, such as image, table or file.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False), help="Copy the newest of each name here."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(
    run: str, name: str | None, kind: str | None, output: str | None, as_json: bool
) -> ExitStatus:
    """List the files that a run keeps, or copy them.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest". NAME is what
    the run calls a file or folder; without it, all are meant.
    """
    kept = named_run(run)
    found = kept.artifacts(name, kind=kind)
    if not found and not as_json:
        of_kind = f" of kind {kind!r}" if kind else ""
        click.echo(printable(f"{kept.name} keeps no file{of_kind}"), err=True)
        return ExitStatus.OK
    if output is not None:
        newest = {artifact.name: artifact for artifact in found}
        status = ExitStatus.OK
        for artifact in newest.values():
            try:
                click.echo(_copy(artifact, output))
            except FileUnreadable as error:
                status = ExitStatus.FAILED
                print_error(f"{artifact.name!r} is not copied: {error}")
        return status
    if as_json:
        print_json([artifact._asdict() for artifact in found])
    else:
        print_table(
            ["name", "kind", "step", "time", "size", "path"],
            [
                [
                    artifact.name,
                    artifact.kind,
                    "" if artifact.step is None else str(artifact.step),
                    format_time(artifact.time_ns),
                    format_size(artifact.size),
                    shown_path(artifact.path),
                ]
                for artifact in found
            ],
            right=["step", "size"],
            # `runbus artifacts --json` has them wherever there is no room.
            optional=["path", "time", "step"],
        )
    return ExitStatus.OK


def _copy(artifact: Artifact, folder: str) -> str:
    """Copy a file or folder into `folder`, where nothing is overwritten; return where it is."""
    from runbus._ids import slug

    file = os.path.basename(artifact.path)
    path = os.path.join(folder, file)
    if os.path.lexists(path):
        path = os.path.join(folder, f"{slug(artifact.name)}-{file}")
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already")
    try:
        os.makedirs(folder, exist_ok=True)
        artifact.copy_to(path)
    except OSError as error:
        raise UsageError(f"cannot copy {artifact.name!r} to {path}: {error.strerror}") from error
    return path
