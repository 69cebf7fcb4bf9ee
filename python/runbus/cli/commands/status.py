"""`runbus status`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

from runbus._clock import format_duration
from runbus._ids import short_id
from runbus.cli._options import complete_batches
from runbus.cli._printer import print_json, printable
from runbus.cli._run_facts import is_being_cancelled, native_words
from runbus.cli._screen import clear_screen
from runbus.cli._table import print_table, terminal_columns, terminal_rows, without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runbus.catalog import JobStatus
    from runbus.jobs import JobRecord, Leader

__all__ = ["command"]

_AROUND = 6
"""So many rows of a terminal are for what stands around the table."""

_LOOK_S = 1.0

# What is the same for all, and the usual, takes only room.
_USUAL = {
    "attempt": {"1"}, "executor": {"local"}, "reason": {""}, "backend says": {""}, "host": {""},
    "exit": {""}, "time": {""},
}  # fmt: skip
_OPTIONAL = ("executor", "attempt", "exit", "host", "backend says")


@click.command("status")
@click.argument("batch", metavar="[BATCH|JOB]", required=False, shell_complete=complete_batches)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only the jobs in this state; again for more.",
)
@click.option("--failed", is_flag=True, help="Only the jobs that ended and did not succeed.")
@click.option("-w", "--watch", is_flag=True, help="Show it anew each second until all have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(
    batch: str | None, states: tuple[str, ...], failed: bool, watch: bool, as_json: bool
) -> None:
    """Show where the jobs of a batch stand: totals, then a row for each job.

    On a terminal that has not as many rows, those are shown that failed, run and are next; --state
    shows all of a state.

    BATCH is the id of an experiment, a project (its newest), or "latest", that of the newest run;
    without it, the newest of all. JOB is the id or name of a job or its run, of which only its row
    is shown.
    """
    wanted = _states(states, failed)
    if watch and as_json:
        raise click.UsageError("--watch goes without --json")
    experiment, job = _found(batch)
    name, project = os.path.basename(experiment), os.path.basename(os.path.dirname(experiment))
    head = "" if batch == name else f"{name} of {project}"
    led = _led(experiment)  # before where the jobs stand
    statuses = _look(experiment, job)
    if as_json:
        _tell_leader(experiment, led, statuses)
        print_json([_described(*one) for one in statuses if _is_wanted(one.record, wanted)])
        return
    while watch and any(not one.record.state.is_terminal for one in statuses):
        _show_again(statuses, wanted, head)
        time.sleep(_LOOK_S)
        statuses = _look(experiment, job)
    if watch and sys.stdout.isatty():
        clear_screen()
    _tell_leader(experiment, led, statuses)
    _print(statuses, wanted, head)
    if job is None:
        _print_best(experiment, statuses)


def _found(text: str | None) -> tuple[str, str | None]:
    """Return the folder of a batch, and the name of a job if only one of it is asked for."""
    from runbus.catalog import find_experiment, find_job
    from runbus.errors import ExperimentNotFound

    try:
        return find_experiment(text), None
    except ExperimentNotFound:
        if text is None:
            raise
    return find_job(text)


def _look(experiment: str, job: str | None) -> list[JobStatus]:
    from runbus import api

    return [one for one in api.status(experiment) if job in (None, one.record.name)]


def _states(states: Sequence[str], failed: bool) -> set[str] | None:
    """Return the states that are asked for; None for all.

    Raises:
        click.UsageError: There is no such state.
    """
    from runbus.errors import near_matches
    from runbus.jobs import TERMINAL, JobState

    wanted = {state.upper() for state in states}
    for state in sorted(wanted - set(JobState)):
        near = near_matches(state, JobState) or [", ".join(JobState)]
        raise click.BadParameter(f"there is no state {state!r}; did you mean {near[0]}")
    if failed:
        wanted |= TERMINAL - {JobState.SUCCEEDED, JobState.SKIPPED}
    return wanted or None


def _is_wanted(record: JobRecord, wanted: set[str] | None) -> bool:
    return wanted is None or record.state in wanted


def _led(experiment: str) -> tuple[bool, Leader | None]:
    """Return whether nobody leads a batch or is about to, and who leads it."""
    from runbus.jobs import is_left, leader_of

    return is_left(experiment), leader_of(experiment)


def _tell_leader(
    experiment: str, led: tuple[bool, Leader | None], statuses: Sequence[JobStatus]
) -> None:
    """Say on standard error if the jobs are led by nobody, or by a process that is silent."""
    from runbus.jobs import why_unled

    if statuses and all(one.record.state.is_terminal for one in statuses):
        return
    name = os.path.basename(experiment)
    is_left, leader = led
    if leader is None and not is_left:
        sys.stderr.write("these jobs were handed over a moment ago: no process leads them yet\n")
    elif leader is None:
        because = f" ({printable(why)})" if (why := why_unled(experiment)) else ""
        sys.stderr.write(f"no process leads these jobs{because}: runbus attach {name} continues\n")
    elif leader.is_silent:
        sys.stderr.write(f"{name} is {leader}\n")


def _show_again(statuses: Sequence[JobStatus], wanted: set[str] | None, head: str) -> None:
    """Show the totals and, on a terminal, as much of the table as there is room for."""
    from runbus.cli._totals import Totals

    if sys.stdout.isatty():
        clear_screen()
        _print(statuses, wanted, head)
    else:
        click.echo(Totals.of(one.record for one in statuses).text())


def _print(statuses: Sequence[JobStatus], wanted: set[str] | None, head: str) -> None:
    """Print the totals and a row for each job; on standard error first which batch it is."""
    from runbus.cli._totals import Totals, first_of

    records = [one.record for one in statuses]
    if head:
        click.echo(printable(head), err=True)
    click.echo(Totals.of(records).text(terminal_columns()))
    shown = [record for record in records if _is_wanted(record, wanted)]
    if not shown:
        if wanted is not None:
            sys.stderr.write(f"no job is {' or '.join(sorted(wanted))}\n")
        return
    room = terminal_rows()
    chosen: Sequence[JobRecord] = shown
    if wanted is None and room is not None and len(shown) > room - _AROUND:
        chosen = _filled(first_of(shown, max(1, room - _AROUND)), shown, room - _AROUND)
    if chosen:
        _print_jobs(chosen)
    if more := len(shown) - len(chosen):
        click.echo(f"{more:,} more are not shown: --state STATE shows those of a state", err=True)


def _print_best(experiment: str, statuses: Sequence[JobStatus]) -> None:
    """Print the best point of each sweep that says what is best."""
    from runbus.jobs import sweeps_asked

    for number, sweep in enumerate(sweeps_asked(experiment)):
        if not sweep.goal:
            continue
        from runbus.catalog import best_of
        from runbus.cli._sweep_best import best_text

        runs = [one.record.run_id for one in statuses if one.record.name in sweep.jobs]
        if (found := best_of(experiment, runs, number)) is not None:
            told = best_text(found, found.run.shown_names)
            click.echo(printable(f"best of {sweep.title}: {told} ({found.run.id})"))


def _filled(
    chosen: Sequence[JobRecord], records: Sequence[JobRecord], room: int
) -> Sequence[JobRecord]:
    """Return the chosen jobs and, where there is room left, what was skipped or succeeded last."""
    others = [one for one in records if one.state in ("SUCCEEDED", "SKIPPED")]
    others.sort(key=lambda one: (one.state == "SKIPPED", one.ended_ns), reverse=True)
    return [*chosen, *reversed(others[: max(0, room - len(chosen))])]


def _print_jobs(records: Sequence[JobRecord]) -> None:
    header, rows = _table(records)
    usual = [
        name for at, name in enumerate(header) if {row[at] for row in rows} == _USUAL.get(name)
    ]
    print_table(
        *without(header, rows, usual), right=["attempt", "exit", "time"], optional=_OPTIONAL
    )


def _table(records: Sequence[JobRecord]) -> tuple[list[str], list[list[str]]]:
    header = [
        "job", "name", "state", "backend says", "attempt", "executor", "host", "exit", "time",
        "reason",
    ]  # fmt: skip
    return header, [
        [
            record.run_id if terminal_columns() is None else short_id(record.run_id),
            record.name,
            str(record.state),
            native_words(record),
            str(record.attempt),
            record.executor,
            "" if record.executor == "local" else record.host,
            "" if record.exit_code is None else str(record.exit_code),
            _elapsed(record),
            "being cancelled" if is_being_cancelled(record) else record.reason,
        ]
        for record in records
    ]


def _elapsed(record: JobRecord) -> str:
    """Return how long a job has run so far, or ran."""
    if not record.started_ns:
        return ""
    if record.ended_ns:
        return format_duration(record.duration_s)
    return format_duration(max(0, (time.time_ns() - record.started_ns) // 10**9))


def _described(record: JobRecord, folder: str) -> dict[str, object]:
    return {
        "job": record.run_id,
        "name": record.name,
        "state": record.state,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "reason": record.reason,
        "native_state": record.native_state,
        "suspended": record.is_suspended,
        "cancelling": is_being_cancelled(record),
        "evidence": record.evidence,
        "attempt": record.attempt,
        "executor": record.executor,
        "host": record.host,
        "submitted": _iso(record.submitted_ns),
        "started": _iso(record.started_ns),
        "ended": _iso(record.ended_ns),
        "log": os.path.join(folder, "stdout.log"),
    }


def _iso(time_ns: int) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds; None if it is not known."""
    if not time_ns:
        return None
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 10**6:03d}Z"
