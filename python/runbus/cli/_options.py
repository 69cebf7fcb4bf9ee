"""Options that several commands have."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runbus._home import ENV_SYSTEM
from runbus.cli._diverted import OwnProcess, divert_stdout, diverted_stdout
from runbus.cli._printer import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

__all__ = [
    "complete_batches",
    "complete_executors",
    "complete_jobs",
    "complete_metrics",
    "complete_plugins",
    "complete_projects",
    "complete_runs",
    "json_option",
    "no_plugins_option",
    "plugin_option",
    "plugin_settings",
    "system_option",
    "wanted_plugins",
]

F = TypeVar("F", bound="Callable[..., Any]")

_TOLD = 20
"""So many plugins are told in the help."""

_OFFERED = 200
"""So many runs, the newest, are offered to complete a word."""


class _PluginOption(click.Option):
    """An option whose help names the plugins that there are; none is imported for that."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or not (names := _plugins_told()):
            return record
        return record[0], f"{record[1]} There are {', '.join(names)}."


def _plugins_told() -> list[str]:
    """Return the plugins that are wanted, each with the names of its arguments."""
    from runbus.plugins import Selection, about, find

    selection = Selection.current()
    told = []
    for name, found in find().plugins.items():
        if name in selection and not found.problem:
            arguments = ", ".join(one.name for one in about(found).arguments or ())
            told.append(f"{printable(name)}({arguments})")
    rest = len(told) - _TOLD
    return told if rest <= 0 else [*told[:_TOLD], f"{rest} more (runbus plugins)"]


def plugin_option(function: F) -> F:
    """Give a command that leads jobs the options `--plugin` and `--no-plugins`."""
    option = click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="NAME[.FIELD=VALUE]",
        shell_complete=complete_plugins,
        cls=_PluginOption,
        help="Load this plugin, made with that value; those that runbus.yaml lists are loaded too.",
    )
    return option(no_plugins_option(function))


def json_option(told: str = "Print the result as a JSON list of objects.") -> Callable[[F], F]:
    """Give a command that runs code of others the option `--json`, and with it `json_out`.

    That is the stream for the result, None without the option: what anything else prints to
    standard output goes to standard error, until the command or its process is over.

    Args:
        told: What the option does.
    """
    return click.option("--json", "json_out", is_flag=True, callback=_result_stream, help=told)


def _result_stream(ctx: click.Context, param: click.Parameter, is_on: bool) -> TextIO | None:
    del param
    if not is_on or ctx.resilient_parsing:
        return None
    is_last = ctx.find_object(OwnProcess) is not None
    # Given back, it would take what threads and the interpreter's end have to print.
    return ctx.with_resource(divert_stdout() if is_last else diverted_stdout())


def no_plugins_option(function: F) -> F:
    """Give a command the option `--no-plugins`."""
    option = click.option(
        "--no-plugins",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_switch_off,
        help="Load no plugin that is found by name, even one that is asked for.",
    )
    return option(function)


def system_option(function: F) -> F:
    """Give a command that makes jobs the option `--no-system`."""
    option = click.option(
        "--no-system",
        is_flag=True,
        expose_value=False,
        callback=_sample_nothing,
        help="Do not sample the machines of the jobs; RUNBUS_SYSTEM says how, otherwise.",
    )
    return option(function)


def _sample_nothing(ctx: click.Context, param: click.Parameter, is_off: bool) -> None:
    del param
    if is_off and not ctx.resilient_parsing:
        ctx.with_resource(_variable(ENV_SYSTEM, "0"))


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


_OFF = "runbus.no_plugins"


def _switch_off(ctx: click.Context, param: click.Parameter, is_off: bool) -> None:
    del param
    if is_off and not ctx.resilient_parsing:
        from runbus.plugins import Selection, selecting

        ctx.meta[_OFF] = True
        ctx.with_resource(selecting(Selection.none()))


def wanted_plugins(given: Sequence[str]) -> list[str]:
    """Return the plugins that `runbus.yaml` lists, and those that were given, once all are checked.

    Each is imported, and what it is made from is checked: a mistake is told before anything is
    recorded. Of several values for one field the last one counts.

    A mistake in the file is a warning: what else needs the file refuses it, and what does not, such
    as work on this machine, goes on without the file's plugins.

    Args:
        given: Names, and `NAME.FIELD=VALUE` for what a plugin is made from.

    Raises:
        PluginNotFound: There is no plugin of a name.
        PluginNotLoadable: One cannot be imported, or lacks something.
        ConfigInvalid: What they are made from does not fit; every mistake is told.
        UsageError: Some are given, and all are switched off; or values have no such form.
    """
    from runbus.errors import UsageError

    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_OFF):
        if given:
            raise UsageError(f"--plugin {given[0]} and --no-plugins contradict each other")
        return []
    listed = _listed_plugins()
    if not listed and not given:
        return []
    from runbus.cli._plugin_words import check_plugins, configure

    names = list(dict.fromkeys([*listed, *configure(given)]))
    check_plugins(names)
    return names


def plugin_settings(given: Sequence[str], *, is_left: bool = False) -> dict[str, dict[str, Any]]:
    """Return the values that were given with `--plugin`, for an experiment's record.

    Args:
        given: Names, and `NAME.FIELD=VALUE`.
        is_left: Whether another process makes the plugins, from what is recorded alone.

    Raises:
        UsageError: Values have no such form; or `is_left`, and one may be a secret.
    """
    if not any("=" in word for word in given):
        return {}
    from runbus.cli._plugin_words import settings_to_record

    return settings_to_record(given, is_left=is_left)


def complete_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the plugins that begin so; none is imported."""
    from runbus.plugins import find

    del ctx, param
    return [name for name in find().plugins if name.startswith(incomplete)]


def _listed_plugins() -> list[str]:
    from runbus.config import default_plugins
    from runbus.errors import ConfigInvalid

    try:
        return default_plugins("")
    except ConfigInvalid as error:
        for problem in error.problems:
            click.echo(f"warning: {problem}; the plugins that it lists are not loaded", err=True)
        return []


def complete_executors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the executors that begin so."""
    from runbus.config import ExecutorNames

    del ctx, param
    return [name for name in ExecutorNames().known() if name.startswith(incomplete)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names and ids of runs that begin so, the newest first."""
    from runbus.catalog import runs

    del ctx, param
    newest = reversed(runs(newest=_OFFERED))
    words = dict.fromkeys(word for run in newest for word in (run.name, run.id))
    return [word for word in ("latest", *words) if word.startswith(incomplete)]


def complete_projects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the projects that begin so."""
    from runbus._home import Home

    del ctx, param
    folders = Home().experiment_folders(problems={})
    found = dict.fromkeys(os.path.basename(os.path.dirname(folder)) for folder in folders)
    return [name for name in found if name.startswith(incomplete)]


def complete_batches(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the projects and ids of batches that begin so, the newest batch first."""
    from runbus.catalog import batches

    del ctx, param
    newest = batches()[: -_OFFERED - 1 : -1]
    words = dict.fromkeys(word for one in newest for word in (one.project, one.id))
    return [word for word in ("latest", *words) if word.startswith(incomplete)]


def complete_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return what begins so of the names of jobs and of what names a batch."""
    words = (
        *complete_batches(ctx, param, incomplete),
        *complete_runs(ctx, param, incomplete),
    )
    return list(dict.fromkeys(words))


def complete_metrics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the metrics that begin so, of the run that was named before."""
    from runbus.catalog import find_run

    del param
    run = ctx.params.get("run") or (ctx.params.get("words") or ("latest",))[0]
    return [name for name in find_run(run).metric_names() if name.startswith(incomplete)]
