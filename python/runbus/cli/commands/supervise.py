"""`runbus supervise`: what `submit --detach` leaves behind."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("supervise", hidden=True)
@click.argument("own", required=False)
def command(own: str | None) -> None:
    """Lead every experiment without a leader, until all are over; at most one runs per home.

    OWN is the folder of an experiment to lead also if there is another supervisor.
    """
    import anyio

    from runbus.api import supervise

    anyio.run(supervise, own)
