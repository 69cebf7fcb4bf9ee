"""`runbus executors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runbus.cli._diverted import diverted_stdout
from runbus.cli._exit import ExitStatus
from runbus.cli._options import complete_executors, json_option

if TYPE_CHECKING:
    from typing import TextIO

    from runbus.config import ListedExecutor

__all__ = ["command"]


@click.command("executors")
@click.argument("name", required=False, shell_complete=complete_executors)
@json_option("Print a JSON list of objects.")
def command(name: str | None, json_out: TextIO | None) -> ExitStatus:
    """List the executors that have names, and check what is said of them, or show one.

    They are found in runbus.yaml of this folder or of the nearest one above it in its repository,
    in $RUNBUS_HOME/executors.yaml, and among those that are installed; what is found first counts.
    Variables such as RUNBUS_EXECUTORS__GPU__SLOTS count more. No machine is
    asked anything: runbus doctor does that.

    Exits with 0 if all is well, 1 if something is wrong.
    """
    from runbus.cli._printer import print_error, print_json
    from runbus.config import ExecutorNames, list_executors
    from runbus.errors import UsageError, near_matches

    names = ExecutorNames()
    with diverted_stdout():
        listed, problems = list_executors(names)
    if name is not None:
        near = near_matches(name, [one.name for one in listed])
        listed = [one for one in listed if one.name == name]
        if not listed:
            for problem in problems:
                print_error(str(problem), None)
            hint = f"; did you mean {near[0]!r}" if near else "; runbus executors lists them"
            raise UsageError(f"there is no executor {name!r}{hint}")
    with diverted_stdout():  # what is imported may print
        told = [(one, [*map(str, one.problems), *_unmakable(one)]) for one in listed]
    if json_out is not None:
        print_json([_described(one, wrong) for one, wrong in told], json_out)
    elif name is not None:
        _print_values(listed[0])
    else:
        _print_table(told)
    for problem in problems:
        print_error(str(problem), None)
    for one, wrong in told if json_out is None else []:
        for text in wrong:
            print_error(f"{one.name}: {text}", None)
    is_well = not problems and not any(wrong for _, wrong in told)
    return ExitStatus.OK if is_well else ExitStatus.FAILED


def _unmakable(one: ListedExecutor) -> list[str]:
    """Return why an executor that is described well cannot be made."""
    from runbus.api import executor_of
    from runbus.errors import RunbusError

    if one.entry is None:
        return []
    try:
        executor_of(one.name, one.entry.data)
    except RunbusError as error:
        return [f"{error}; {error.hint}" if error.hint else str(error)]
    except Exception as error:  # of the executor, which may not be ours
        return [f"{type(error).__name__}: {error}"]
    return []


def _described(one: ListedExecutor, wrong: list[str]) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": one.type,
        "origin": one.origin,
        "values": {value.path: value._asdict() for value in one.values},
        "needs": one.needs,
        "problems": wrong,
    }


def _print_table(told: list[tuple[ListedExecutor, list[str]]]) -> None:
    from runbus.cli._table import print_table

    rows = []
    for one, wrong in told:
        needs = f"needs {', '.join(one.needs)}" if one.needs else ""
        rows.append([one.name, one.type, one.origin, "wrong" if wrong else needs or "ok"])
    print_table(["name", "type", "from", "description"], rows, optional=["from"])


def _print_values(one: ListedExecutor) -> None:
    from runbus.cli._table import print_table

    rows = [[value.path, _text(value.value), value.origin] for value in one.values]
    rows += [[name, "", "needed"] for name in one.needs]
    if rows:
        print_table(["field", "value", "from"], rows, optional=["from"])


def _text(value: Any) -> str:
    from runbus.codec import encode_json

    return value if isinstance(value, str) else encode_json(value).decode()
