"""`runbus replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import click

from runbus.cli._exit import ExitStatus
from runbus.cli._printer import printable

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
def command(trace: str, plugins: tuple[str, ...]) -> ExitStatus:
    """Feed the events of a trace to a fresh kernel and show what goes another way.

    Only what no handler caused is fed; handlers cause the rest again. Streams are left out.

    Exits with 0 if everything went the same way, 1 if not.
    """
    result = anyio.run(_replayed, trace, plugins)
    for seq, kind, reason in result.skipped:
        click.echo(f"#{seq} {kind} was not fed: {reason}", err=True)
    for difference in result.differences:
        click.echo(f"#{difference.seq} {difference.type}")
        for label, lines in (("was", difference.recorded), ("now", difference.replayed)):
            for line in lines:
                click.echo(f"  {label}  {printable(line)}")
    click.echo(f"{result.fed} events fed, {len(result.differences)} went another way", err=True)
    return ExitStatus.FAILED if result.differences else ExitStatus.OK


async def _replayed(trace: str, plugins: tuple[str, ...]) -> Replay:
    from runbus.kernel import Kernel, replay

    async with Kernel(plugins=list(plugins)) as kernel:
        result = await replay(trace, kernel)
    return result
