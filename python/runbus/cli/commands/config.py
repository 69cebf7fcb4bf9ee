"""`runbus config`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from runbus.cli._exit import ExitStatus

if TYPE_CHECKING:
    from runbus.catalog import RunRecord
    from runbus.config import Loaded

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """Show, compare and convert configurations of files and past runs.

    SOURCE is a file of YAML, TOML or JSON as FILE[:SECTION], or a run. What a file builds on is
    read, too; nothing that it names is imported.
    """


@command.command("show")
@click.argument("source")
@click.option("--origin", is_flag=True, help="Show where each value was said.")
@click.option(
    "--prefix", default="RUNBUS", metavar="NAME", help="What variables begin with that set values."
)
def show(source: str, origin: bool, prefix: str) -> None:
    """Show what a configuration says, with all that it builds on.

    Strongest last: files that it builds on, the file, variables such as RUNBUS__MODEL__WIDTH.
    """
    from runbus.config import data_text, leaves

    loaded = _loaded(source, prefix)
    if not origin:
        click.echo(data_text(_whole(loaded), "yaml"), nl=False)
        return
    rows = [
        (f"{path} = {value!r}", str(loaded.origin(steps)))
        for path, steps, value in leaves(loaded.data)
    ]
    width = min(max((len(text) for text, _ in rows), default=0), 50)
    for text, place in rows:
        click.echo(f"{text:<{width}}  {place}")


@command.command("diff")
@click.argument("old")
@click.argument("new")
def diff(old: str, new: str) -> ExitStatus:
    """Show what is different between two configurations.

    Exits with 0 if nothing is, 1 if something is, 2 if one cannot be read.
    """
    from runbus.cli._printer import print_error
    from runbus.config import difference_of_data
    from runbus.errors import RunbusError

    try:
        before, after = (_whole(_loaded(source, None)) for source in (old, new))
    except RunbusError as error:
        print_error(str(error), error.hint)
        return ExitStatus.USAGE
    found = difference_of_data(before, after)
    click.echo(str(found))
    return ExitStatus.FAILED if found else ExitStatus.OK


@command.command("export")
@click.argument("source")
@click.argument("destination")
def export(source: str, destination: str) -> None:
    """Write a configuration, with all that it builds on, to a file of another form.

    The end of DESTINATION says the form: .yaml, .toml or .json.
    """
    from runbus._files import write_file
    from runbus.config import check_writable, data_text
    from runbus.errors import UsageError

    form = os.path.splitext(destination)[1].lower().lstrip(".")
    if form == "py":
        raise UsageError(
            "code needs the objects that a configuration names, and nothing is imported here; "
            "runbus.config.save(config, 'x.py') writes it"
        )
    data = _whole(_loaded(source, None))
    check_writable(data, source)
    text = data_text(data, form)
    write_file(destination, text.encode())
    click.echo(f"{destination} is written", err=True)


def _whole(loaded: Loaded) -> dict[str, Any]:
    """Return what a source says, with the sweep that is in it."""
    return {**loaded.data, "_sweep_": loaded.axes} if loaded.axes else loaded.data


def _travelled(run: RunRecord) -> dict[str, Any]:
    """Return the configuration of the function that a run's job called; empty if it called none."""
    from runbus._secrets import redacted
    from runbus.config import task_given
    from runbus.errors import RunbusError
    from runbus.jobs import Asked

    try:
        jobs = Asked.read(run.experiment_folder).jobs if run.info.job else []
    except RunbusError as error:
        click.echo(f"{error}: this is what the run has recorded of its config", err=True)
        return {}
    given = next((one.given for one in jobs if one.run_id == run.id), "")
    return redacted(task_given(given))


def _loaded(source: str, prefix: str | None) -> Loaded:
    """Return what a file says, or the config of a run."""
    from runbus.config import Loaded, Origin, read_source, set_variables, split_section

    path, section = split_section(source)
    if os.path.exists(path) or os.path.splitext(path)[1] in (".yaml", ".yml", ".toml", ".json"):
        loaded = read_source(path, section)
    else:
        from runbus.catalog import find_run

        run = find_run(source)
        loaded = Loaded(source)
        for name, value in (_travelled(run) or run.config).items():
            loaded.data[name] = value
            loaded.set_origin((name,), Origin(f"run {run.id}"))
    if prefix is not None:
        set_variables(loaded, prefix, os.environ)
    return loaded
