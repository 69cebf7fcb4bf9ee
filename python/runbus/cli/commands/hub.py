"""`runbus hub`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runbus.cli._exit import ExitStatus
from runbus.cli._options import json_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from runbus.errors import ConfigInvalid, ConfigProblem
    from runbus.hub import HubConfig

__all__ = ["command"]

_FILE = "hub_config.yaml"


@click.group("hub")
def command() -> None:
    """Check the file of a hub, and ask its services how they are."""


@command.command("check")
@click.argument("file", default=_FILE)
@json_option("Print one JSON object.")
def check(file: str, json_out: TextIO | None) -> ExitStatus:
    """Check the FILE of a hub, hub_config.yaml by default: nothing is connected to or started.

    The classes of what is enabled are imported. Every mistake is told with its line.

    Exits with 0 if all is well, 2 if something in FILE is wrong.
    """
    from runbus.cli._printer import print_json
    from runbus.errors import ConfigInvalid
    from runbus.hub import read_hub_config

    try:
        found = read_hub_config(file)
    except ConfigInvalid as error:
        return _print_mistakes(error, json_out)
    if json_out is not None:
        print_json(_described(found), json_out)
        return ExitStatus.OK
    _print_config(found)
    for hint in found.hints:
        click.echo(f"hint: {hint}", err=True)
    return ExitStatus.OK


@command.command("health")
@click.argument("file", default=_FILE)
@json_option("Print one JSON object.")
def health(file: str, json_out: TextIO | None) -> ExitStatus:
    """Start the services of FILE, hub_config.yaml by default, and ask each how it is.

    All are asked at once, and have 2 seconds. What looks like a secret is cut out of their answers.

    Exits with 0 if all are healthy, 1 if one is not or cannot be shut down, 2 if something in FILE
    is wrong.
    """
    from runbus.errors import ConfigInvalid
    from runbus.hub import ExperimentHub

    try:
        opened = ExperimentHub.from_config(file, strict=False)
    except ConfigInvalid as error:
        return _print_mistakes(error, json_out)
    with opened as hub:
        found = hub.check_plugin_health()
        # Before the end of the services, which may fail.
        _print_health(found, json_out)
    is_well = all(one["healthy"] for one in found.values())
    return ExitStatus.OK if is_well else ExitStatus.FAILED


def _print_mistakes(error: ConfigInvalid, json_out: TextIO | None) -> ExitStatus:
    """Print what is wrong in a file: as JSON, if there is a stream for it."""
    from runbus.cli._printer import print_error, print_json

    if json_out is not None:
        print_json({"ok": False, "problems": [_problem(one) for one in error.problems]}, json_out)
    else:
        print_error(str(error), error.hint)
    return ExitStatus.USAGE


def _print_health(found: Mapping[str, Any], json_out: TextIO | None) -> None:
    from runbus.cli._printer import format_value, print_json
    from runbus.cli._table import print_table

    if json_out is not None:
        is_well = all(one["healthy"] for one in found.values())
        print_json({"healthy": is_well, "services": found}, json_out)
        return
    rows = [
        [
            kind,
            "HEALTHY" if one["healthy"] else "UNHEALTHY",
            ", ".join(f"{key}: {format_value(value)}" for key, value in one["details"].items()),
        ]
        for kind, one in found.items()
    ]
    if rows:
        print_table(["service", "state", "details"], rows)
    else:
        click.echo("no service is enabled")


def _print_config(found: HubConfig) -> None:
    from runbus.cli._table import print_table

    level, environment = found.globals
    click.echo(f"{found.source}: logs {level}, environment {environment or 'none'}\n")
    rows = [
        ["service", one.kind, one.type, "on" if one.enabled else "off", str(one.place.line)]
        for one in found.services
    ]
    rows += [
        ["experiment", one.name, one.target, "on" if one.enabled else "off", str(one.place.line)]
        for one in found.types
    ]
    print_table(["what", "name", "path", "is", "line"], rows, right=["line"], optional=["what"])


def _described(found: HubConfig) -> dict[str, Any]:
    parts: Mapping[str, Any] = {
        "services": [
            {"kind": one.kind, "type": one.type, "enabled": one.enabled, "line": one.place.line}
            for one in found.services
        ],
        "experiments": [
            {"name": one.name, "class": one.target, "enabled": one.enabled, "line": one.place.line}
            for one in found.types
        ],
        "hints": [_problem(one) for one in found.hints],
    }
    level, environment = found.globals
    return {"ok": True, "log_level": level, "environment": environment, **parts}


def _problem(problem: ConfigProblem) -> dict[str, Any]:
    return {
        "file": problem.origin,
        "line": problem.line,
        "path": problem.path,
        "reason": problem.reason,
        "near": list(problem.near),
    }
