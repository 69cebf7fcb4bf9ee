"""`runbus doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runbus.cli._exit import ExitStatus

if TYPE_CHECKING:
    from runbus.cli._checks import Check

__all__ = ["command"]


@click.command("doctor")
def command() -> ExitStatus:
    """Check that jobs can run here and that nothing was left behind.

    Says what to do where something is not as it should be. Exits with 0 if all is well, 1 if not.
    """
    from runbus.cli._checks import all_checks

    checks: list[Check] = list(all_checks())
    for check in checks:
        click.echo(f"{'ok' if check.is_well else '!!'}  {check.title}: {check.found}")
        if check.advice:
            click.echo(f"    hint: {check.advice}")
    return ExitStatus.OK if all(check.is_well for check in checks) else ExitStatus.FAILED
