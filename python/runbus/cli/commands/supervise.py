"""`runbus supervise`: what `submit --detach` leaves behind."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("supervise", hidden=True)
def command() -> None:
    """Lead every experiment that nobody leads, until there is none; at most one a home."""
    from runbus.cli._supervise import supervise

    supervise()
