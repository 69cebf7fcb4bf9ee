"""`runbus compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from runbus._ids import short_id
from runbus.cli._at_step import at_option
from runbus.cli._named_run import named_runs
from runbus.cli._options import complete_runs
from runbus.cli._printer import format_time, format_value, print_json
from runbus.cli._table import print_part
from runbus.metrics import PROGRESS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runbus.catalog import Fields, RunRow

__all__ = ["command"]

_FIELDS = ("state", "project", "created", "tags", "commit")
"""What is compared beside params and metrics; the names of runs are the header."""


class _Line(NamedTuple):
    """What is compared: one value a run, None where a run has none."""

    kind: str
    name: str
    values: list[str | float | bool | None]

    @property
    def differs(self) -> bool:
        return len({(type(value) is bool, repr(value)) for value in self.values}) > 1

    def described(self, rows: Sequence[RunRow]) -> dict[str, object]:
        values = {row.id: value for row, value in zip(rows, self.values, strict=True)}
        return {"kind": self.kind, "name": self.name, "values": values}

    def cells(self) -> list[str]:
        return [_cell(self.name, value) for value in self.values]


@click.command("compare")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=complete_runs)
@click.option("--all", "has_all", is_flag=True, help="Show also what is the same in all runs.")
@click.option(
    "--columns",
    metavar="NAME,…",
    help="Compare only these: fields, params and metrics, such as loss:min and loss:min@step.",
)
@at_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(
    runs: tuple[str, ...],
    has_all: bool,
    columns: str | None,
    at_step: int | None,
    as_json: bool,
) -> None:
    """Compare runs: their params and metrics side by side.

    Only what differs is shown. Of a metric the last value counts; --columns asks for others, and
    --at for what was logged at one step.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest"; or a batch or
    project, which stands for all its runs.
    """
    from runbus.catalog import Fields, RunRow

    rows = [RunRow.of(run) for run in named_runs(runs)]
    if len(rows) < 2:
        raise click.UsageError(f"{rows[0].name!r} is one run: name another to compare it with")
    fields = Fields(at_step)
    if columns is None:
        lines = list(_lines(rows, fields))
    else:
        names = [name.strip() for name in columns.split(",") if name.strip()]
        for name in names:
            fields.check(rows, name)
        lines = [_Line("", name, [fields.of(row, name) for row in rows]) for name in names]
    shown = [one for one in lines if has_all or columns is not None or one.differs]
    if as_json:
        print_json([one.described(rows) for one in shown])
        return
    _print(rows, shown)
    if same := len(lines) - len(shown):
        of = "value is" if same == 1 else "values are"
        click.echo(f"{same} {of} the same in all runs: --all shows them", err=True)


def _lines(rows: Sequence[RunRow], fields: Fields) -> Iterator[_Line]:
    """Yield what there is to compare, in the order in which people look at it."""
    for name in _FIELDS:
        yield _Line("field", name, [fields.of(row, name) for row in rows])
    params = [fields.params(row.run) if row.run else {} for row in rows]
    for name in dict.fromkeys(name for one in params for name in one):
        yield _Line("param", name, [fields.of(row, name) if name in one else None
                                    for row, one in zip(rows, params, strict=True)])  # fmt: skip
    measured = [fields.values(row.run) if row.run else {} for row in rows]
    for name in dict.fromkeys(name for one in measured for name in one):
        if not name.startswith((SAMPLES, PROGRESS)):
            yield _Line("metric", name, [one.get(name) for one in measured])


def _print(rows: Sequence[RunRow], lines: Sequence[_Line]) -> None:
    titles = [row.name for row in rows]
    if len(set(titles)) < len(titles):
        titles = [f"{row.name} ({short_id(row.id)})" for row in rows]
    header = ["", *titles]
    print_part([header, *([one.name, *one.cells()] for one in lines)], right=titles)


def _cell(name: str, value: str | float | bool | None) -> str:
    if value is None:
        return ""
    if name == "created" and isinstance(value, int):
        return format_time(value)
    return format_value(value) if name != "commit" else str(value)[:12]
