"""`runbus plugins`, with `show` and `new`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._diverted import diverted_stdout
from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_plugins, json_option

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.cli._plugin_rows import PluginRow

__all__ = ["command"]


class _Plugins(click.Group):
    """A group that lists plugins if no subcommand is named; `new` is imported when it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "new"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "new":
            return super().get_command(ctx, cmd_name)
        from runbus.cli.commands._new_plugin import command as new

        return new


@click.group("plugins", cls=_Plugins, invoke_without_command=True)
@json_option("Print a JSON list of objects.")
@click.option("--timing", is_flag=True, help="Show how long each took to load; slowest first.")
@click.option("--no-load", is_flag=True, help="Import none; show what is known all the same.")
@click.pass_context
def command(
    ctx: click.Context, json_out: TextIO | None, timing: bool, no_load: bool
) -> ExitStatus | None:
    """List the plugins that can be found and check each, show one, or begin a new one.

    They are found among what is installed, in the folders of RUNBUS_PLUGIN_PATH, and in
    $RUNBUS_HOME/plugins; what is found first counts. One that RUNBUS_PLUGINS or
    RUNBUS_WITHOUT_PLUGINS switches off is listed and not imported. What they are made from is said
    in runbus.yaml, or by variables such as RUNBUS_PLUGIN_JSONL_PATH.

    Exits with 0 if all is well, 1 if something is wrong.
    """
    if ctx.invoked_subcommand is not None:
        return None
    from runbus.cli._plugin_rows import plugin_rows
    from runbus.cli._printer import print_error, print_json

    with diverted_stdout():
        rows, problems = plugin_rows(load=not no_load)
        if timing:
            rows.sort(key=lambda row: -(row.info.load_s or 0.0))
    if json_out is not None:
        print_json([row.described() for row in rows], json_out)
    else:
        _print_table(rows, timing=timing)
    for problem in problems:
        print_error(problem, None)
    if json_out is None:
        for row in rows:
            if row.is_wrong:
                print_error(f"{row.info.name}: {row.why_not}", None)
    is_well = not problems and not any(row.is_wrong for row in rows)
    return ExitStatus.OK if is_well else ExitStatus.FAILED


def _print_table(rows: list[PluginRow], *, timing: bool) -> None:
    from runbus.cli._table import print_table

    header = ["name", "version", "face", "state", "health", "from", "problem"]
    table = [
        [
            row.info.name, row.info.version, row.info.face, row.state, row.info.health,
            row.shown_origin, row.note,
        ]
        for row in rows
    ]  # fmt: skip
    if timing:
        header.insert(4, "load")
        for row, cells in zip(rows, table, strict=True):
            cells.insert(4, _milliseconds(row.info.load_s))
    if not any(cells[-1] for cells in table):
        header.pop()
        table = [cells[:-1] for cells in table]
    print_table(header, table, right=["load"], optional=["health", "version", "from"])


def _milliseconds(load_s: float | None) -> str:
    return "" if load_s is None else f"{load_s * 1e3:.1f} ms"


@command.command("show")
@click.argument("name", shell_complete=complete_plugins)
@json_option("Print a JSON object.")
@click.option("--no-load", is_flag=True, help="Do not import it; show what is known all the same.")
def show(name: str, json_out: TextIO | None, no_load: bool) -> ExitStatus:
    """Show a plugin: where it comes from, and what it is made from, with who said so.

    Exits with 0 if it can be loaded, 1 if not.
    """
    from runbus.cli._facts import shown_path
    from runbus.cli._plugin_rows import plugin_row
    from runbus.cli._printer import print_error, print_json
    from runbus.cli._table import print_table

    with diverted_stdout():
        row = plugin_row(name, load=not no_load)
        fields = row.fields()
    if json_out is not None:
        settings = {one.path: one._asdict() for one in fields}
        said = {**row.described(), "summary": row.about.summary, "settings": settings}
        print_json(said, json_out)
    else:
        _print_facts(row)
        if fields:
            click.echo()
            header = ["field", "type", "value", "from"]
            table = [[one.path, one.type, one.text, shown_path(one.origin)] for one in fields]
            if not any(one.type for one in fields):
                header.remove("type")
                table = [[path, *others] for path, _, *others in table]
            print_table(header, table, optional=["from"])
        if row.is_wrong:
            print_error(row.why_not, None)
    return ExitStatus.FAILED if row.is_wrong else ExitStatus.OK


def _print_facts(row: PluginRow) -> None:
    from runbus.cli._facts import print_facts

    info = row.info
    facts = [
        ("name", info.name),
        ("summary", row.about.summary),
        ("face", info.face),
        ("version", info.version),
        ("state", row.state),
        ("from", row.shown_origin),
        ("imports", info.entry_point),
        ("requires", ", ".join(info.requires)),
        ("note", row.note),
    ]
    print_facts([(label, text) for label, text in facts if text])
