"""`runbus why`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus.cli._printer import printable

if TYPE_CHECKING:
    from runbus.kernel import TracedEvent

__all__ = ["command"]


@click.command("why")
@click.argument("event_or_run")
@click.option(
    "--trace", metavar="FILE", help="The trace to read [default: that of the experiment]."
)
def command(event_or_run: str, trace: str | None) -> None:
    """Show what happened to a run, or what led to an event, from the trace of the kernel.

    EVENT_OR_RUN is the number of an event, or a run: its id, its name (the newest run of that
    name), or "latest". The chain of causes of an event ends with the event itself.
    """
    from runbus.catalog import find_experiment, find_run
    from runbus.errors import EventNotFound
    from runbus.kernel import causes, mentions, read_trace

    if event_or_run.isdigit():
        events = read_trace(trace or os.path.join(find_experiment(None), "trace.jsonl"))
        try:
            shown = causes(events, int(event_or_run))
        except KeyError:
            raise EventNotFound(event_or_run, ()) from None
    else:
        run = find_run(event_or_run)
        events = read_trace(trace or os.path.join(run.experiment_folder, "trace.jsonl"))
        shown = mentions(events, run.id)
    for offset, length in events.damage:
        click.echo(f"the trace is damaged: {length} bytes at {offset} are left out", err=True)
    start = events[0].mono_ns if events else 0
    for event in shown:
        _print(event, start)


def _print(event: TracedEvent, start_ns: int) -> None:
    """Print an event, who caused it, and what each handler made of it."""
    after = (event.mono_ns - start_ns) / 1e9
    cause = f", caused by #{event.parent} in {event.origin}" if event.parent else ""
    status = event.status or "no outcome: the process ended"
    click.echo(printable(f"{after:>10.4f} s  #{event.seq} {event.type}: {status}{cause}"))
    facts = {name: value for name, value in event.event.items() if name != "type"}
    shown = "  ".join(f"{name}={value}" for name, value in facts.items())
    click.echo(f"              {printable(shown)}")
    for handler in event.handlers:
        took = f"{handler.took_ns / 1e3:.0f} µs"
        call = f"{handler.plugin} {handler.handler}: {handler.verdict}, {took}"
        click.echo(f"              {printable(call)}")
