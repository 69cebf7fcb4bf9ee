"""`runbus replay`."""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import click

from runbus.cli._exit import ExitStatus
from runbus.cli._printer import print_error, printable
from runbus.errors import UsageError

if TYPE_CHECKING:
    from runbus.kernel import Replay

__all__ = ["command"]


@click.command("replay")
@click.argument("trace")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="NAME",
    help="An installed plugin to load into the kernel; may be given several times.",
)
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="A module with event classes of yours, found from here; may be given several times.",
)
def command(trace: str, plugins: tuple[str, ...], modules: tuple[str, ...]) -> ExitStatus:
    """Feed the events of a trace to a fresh kernel and show what goes another way.

    Only what no handler caused is fed; handlers cause the rest again. Streams are left out.

    Handlers of plugins that this kernel does not have are not compared: the trace of a command of
    runbus has such, of its executors and of what it shows. They are named at the end.

    Exits with 0 if everything went the same way, 1 if not, or if nothing could be fed.
    """
    _import(modules)
    result = anyio.run(_replayed, trace, plugins)
    for (kind, reason), count in Counter(one[1:] for one in result.skipped).items():
        often = f" ({count} times)" if count > 1 else ""
        click.echo(f"{kind} was not fed{often}: {reason}", err=True)
    for difference in result.differences:
        click.echo(f"#{difference.seq} {difference.type}")
        for label, lines in (("was", difference.recorded), ("now", difference.replayed)):
            for line in lines:
                click.echo(f"  {label}  {printable(line)}")
    if result.absent:
        absent = ", ".join(map(printable, result.absent))
        click.echo(f"not compared, because absent: {absent}", err=True)
    for offset, length in result.damage:
        click.echo(f"{trace}: {length} bytes at {offset} are damaged and left out", err=True)
    click.echo(f"{result.fed} events fed, {len(result.differences)} went another way", err=True)
    if not result.fed:
        print_error(
            "nothing of this trace could be fed",
            "--import the modules that define its events, or name --plugin",
        )
    return ExitStatus.FAILED if result.differences or not result.fed else ExitStatus.OK


def _import(modules: tuple[str, ...]) -> None:
    """Import what defines events, as a program that is run from here would."""
    if modules:
        sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a script without a guard may call sys.exit()
            raise UsageError(f"cannot import {module}: {type(error).__name__}: {error}") from error


async def _replayed(trace: str, plugins: tuple[str, ...]) -> Replay:
    from runbus.kernel import Kernel, replay

    async with Kernel(plugins=list(plugins)) as kernel:
        result = await replay(trace, kernel)
    return result
