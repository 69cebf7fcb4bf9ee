"""`runbus why`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runbus._clock import format_duration
from runbus.cli._named_run import named_run
from runbus.cli._options import complete_runs
from runbus.cli._printer import format_time, print_json, printable

if TYPE_CHECKING:
    from runbus.catalog import RunRecord
    from runbus.kernel import TracedEvent

__all__ = ["command"]

_SAID = {
    "stderr": "the last it wrote to standard error",
    "stdout": "the last it wrote to standard output",
    "traceback": "where it was raised",
}


@click.command("why")
@click.argument("event_or_run", metavar="RUN|EVENT", shell_complete=complete_runs)
@click.option("-v", "--verbose", is_flag=True, help="Show the events of the trace, field by field.")
@click.option(
    "--trace", metavar="FILE", help="The trace to read [default: that of the experiment]."
)
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as a JSON object.")
def command(event_or_run: str, verbose: bool, trace: str | None, as_json: bool) -> None:
    """Say why a run stands where it stands, and what happened to it.

    RUN is an id or a part of one, a name (the newest run of that name), or "latest"; EVENT is the
    number of an event, of which the chain of causes is shown from the trace, that ends with the
    event itself. A trace is written by the process that leads a batch in a terminal.
    """
    if event_or_run.isdigit():
        _print_causes(int(event_or_run), trace)
        return
    import anyio

    from runbus.api import explain

    run = named_run(event_or_run)
    explanation = anyio.run(explain, run)
    if as_json:
        described = explanation._asdict() | {"id": run.id, "name": run.name}
        print_json(described | {"story": [one._asdict() for one in explanation.story]})
        return
    click.echo(printable(f"{run.name} ({run.id}) is {explanation.state}"))
    for sentence in explanation.because:
        if sentence not in explanation.state:  # which may be just that
            click.echo(f"  {printable(sentence)}")
    if explanation.said:
        click.echo(f"\n{_SAID[explanation.source]}:")
        for line in explanation.said:
            click.echo(f"  {printable(line)}")
    click.echo()
    start = explanation.story[0].time_ns
    for happening in explanation.story:
        after = format_duration(max(0, happening.time_ns - start) / 1e9)
        at = format_time(happening.time_ns)
        click.echo(printable(f"{at}  +{after:<11}{happening.text}"))
    if verbose or trace:
        _print_events(run, trace)


def _print_causes(number: int, trace: str | None) -> None:
    from runbus.catalog import find_experiment
    from runbus.errors import EventNotFound
    from runbus.kernel import causes, read_trace

    events = read_trace(trace or os.path.join(find_experiment(None), "trace.jsonl"))
    try:
        shown = causes(events, number)
    except KeyError:
        raise EventNotFound(str(number), ()) from None
    _tell_damage(events.damage)
    for event in shown:
        _print(event, events[0].mono_ns)


def _print_events(run: RunRecord, trace: str | None) -> None:
    """Print what each process that led the experiment in a terminal noted of the run."""
    from runbus.kernel import mentions, read_traces

    path = trace or os.path.join(run.experiment_folder, "trace.jsonl")
    if trace is None and not os.path.lexists(path):
        click.echo("there is no trace: no process led this in a terminal", err=True)
        return
    for events in read_traces(path):
        _tell_damage(events.damage)
        if shown := mentions(events, run.id):
            click.echo()
        for event in shown:
            _print(event, events[0].mono_ns)


def _tell_damage(damage: list[tuple[int, int]]) -> None:
    for offset, length in damage:
        click.echo(f"the trace is damaged: {length} bytes at {offset} are left out", err=True)


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
