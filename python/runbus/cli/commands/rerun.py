"""`runbus rerun`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._options import (
    complete_jobs,
    json_option,
    plugin_option,
    plugin_settings,
    wanted_plugins,
)

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.cli._exit import ExitStatus

__all__ = ["command"]


@click.command("rerun")
@click.argument("job_or_batch", shell_complete=complete_jobs)
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--detach", is_flag=True, help="Return once every job is recorded; a supervisor stays."
)
@click.option("--dry-run", is_flag=True, help="Print the plan, as `runbus plan` does.")
@plugin_option
@json_option()
def command(
    job_or_batch: str,
    values: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    plugins: tuple[str, ...],
    json_out: TextIO | None,
) -> ExitStatus:
    """Run a job or a batch once more, as a new batch, with the packaged code of then.

    The code is the same to the last bit, which its digest proves, and so are the command lines but
    for what NAME=VALUE changes: an option of a script, or a value of a function. A job that took no
    code along runs what is there now; a warning says so.

    JOB_OR_BATCH is the id or name of a job or its run, the id of an experiment, a project (its
    newest), or "latest", the batch of the newest run.

    Exits as submit does.
    """
    from runbus import api
    from runbus.cli import _launch
    from runbus.cli._plan import print_plan

    names = wanted_plugins(plugins)
    settings = plugin_settings(plugins, is_left=detach)
    experiment = api.rerun(job_or_batch, _values(values), plugins=names, settings=settings)
    if dry_run:
        return print_plan(experiment, json_out=json_out)
    if detach:
        return _launch.detach(experiment, json_out=json_out)
    return _launch.launch(experiment, json_out=json_out)


def _values(words: tuple[str, ...]) -> dict[str, str]:
    from runbus.errors import UsageError

    parted = [word.partition("=") for word in words]
    for word, (name, equals, _) in zip(words, parted, strict=True):
        if not name or not equals:
            raise UsageError(f"{word!r} is not of the form NAME=VALUE")
    return {name: value for name, _, value in parted}
