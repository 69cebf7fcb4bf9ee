"""Running experiments for a person at a terminal, or for a program."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio
import click

from runbus import api
from runbus._clock import format_duration
from runbus._ids import short_id
from runbus.catalog import job_statuses, not_removed, open_run
from runbus.cli._ending import Ending
from runbus.cli._exit import ExitStatus
from runbus.cli._outlet import Outlet, unblocked_stderr
from runbus.cli._printer import (
    format_number,
    print_json,
    printable,
    unescaped,
)
from runbus.cli._progress import PlainProgress
from runbus.cli._table import (
    SHOWN_METRICS,
    print_table,
    tell_left_out,
    terminal_columns,
    terminal_rows,
    without,
)
from runbus.cli._totals import Totals
from runbus.jobs import (
    FAILURES,
    CancelRequest,
    JobRecord,
    JobState,
    ask_to_cancel,
    read_jobs,
    read_requests,
    sweeps_asked,
)
from runbus.metrics import PROGRESS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from runbus.abc import Plugin
    from runbus.experiment import ExperimentDraft, StoredExperiment
    from runbus.metrics import SeriesSummary

_AROUND = 5
"""So many rows of a terminal are for what stands around a table."""

_ASIDE = (SAMPLES, PROGRESS)

_TOLD = 10
"""Of so many failures the last lines are told."""

__all__ = ["attach", "cancel", "detach", "launch"]


def launch(
    experiment: ExperimentDraft,
    *,
    plugins: Sequence[Plugin | str] = (),
    json_out: TextIO | None = None,
) -> ExitStatus:
    """Run an experiment, show its progress and its result, and say how it went.

    Args:
        experiment: What to run.
        plugins: Plugins, and names of installed ones, to load.
        json_out: Where the result goes as JSON; printed for a person if None.

    Raises:
        UsageError: A job, or its code, cannot be run as asked; nothing was submitted.
    """
    ending = Ending(experiment)
    with unblocked_stderr(lambda: ending.signalled is None) as settle:
        with ending.holding_signals():
            stored = api.prepare(experiment)
            watching = partial(_watching, plugins)
            leading = ending.heeding_signals
            run = partial(api.lead_new, watching=watching, leading=leading, trace=True)
            records = anyio.run(run, stored)
        settle()
        return _report(stored.folder, records, ending.signalled, json_out=json_out)


def attach(folder: str, *, plugins: Sequence[str] = (), json_out: TextIO | None) -> ExitStatus:
    """Lead an experiment to its end, or follow its leader, and take over if that one dies."""
    ending = Ending()
    watching = partial(_watching, plugins)
    attach = partial(api.attach, watching=watching, leading=ending.heeding_signals, trace=True)
    with unblocked_stderr(lambda: ending.signalled is None) as settle:
        try:
            records = anyio.run(attach, folder)
        except KeyboardInterrupt:
            # A leader handles its signals otherwise: this process only followed.
            name = os.path.basename(folder)
            sys.stderr.write(f"the jobs continue: runbus cancel {name} ends them\n")
            raise
        settle()
        return _report(folder, records, ending.signalled, json_out=json_out)


def _watching(plugins: Sequence[Plugin | str], experiment: StoredExperiment) -> list[Plugin | str]:
    # Those that the experiment names belong to its leader, which this may only be by and by.
    return [*_progress(experiment), *(one for one in plugins if one not in experiment.plugins)]


def _progress(experiment: StoredExperiment) -> list[Plugin]:
    out = unescaped(sys.stderr)
    known = read_jobs(experiment.folder)
    if isinstance(out, Outlet) and out.isatty() and os.environ.get("TERM") != "dumb":
        from runbus.cli._live import LiveProgress

        folder = experiment.folder
        return [LiveProgress(experiment.specs, known, out, sweeps_asked(folder), folder)]
    return [PlainProgress(experiment.specs, known)]


def detach(experiment: ExperimentDraft, *, json_out: TextIO | None) -> ExitStatus:
    """Record an experiment for good and leave it to a supervisor."""
    ending = Ending(experiment)
    with ending.holding_signals():
        stored = api.prepare(experiment)
        pass_on = partial(ending.pass_on, stored)
        records = anyio.run(api.detach, stored, pass_on)
    pass_on()  # none is held any more
    if json_out is not None:
        print_json([{"id": record.run_id, "name": record.name} for record in records], json_out)
    else:
        click.echo(stored.id)
        sys.stderr.write(f"runbus attach {stored.id} follows it\n")
    return ExitStatus(128 + ending.held[0]) if ending.held else ExitStatus.OK


def leave(stored: StoredExperiment, *, json_out: TextIO | None) -> ExitStatus:
    """Leave an experiment that was recorded before to a supervisor."""
    records = anyio.run(api.detach, stored)
    if json_out is not None:
        print_json([{"id": record.run_id, "name": record.name} for record in records], json_out)
    else:
        click.echo(stored.id)
    return ExitStatus.OK


def cancel_sweep(folder: str, jobs: Sequence[str], grace_s: float) -> ExitStatus:
    """End the jobs of a sweep, and wait for that; the others of its experiment go on."""
    over = _ended(folder)
    left = [name for name in jobs if name not in over]
    for name in left:  # all at once: none of them begins while another is waited for
        ask_to_cancel(folder, CancelRequest(name, "by runbus cancel", grace_s))
    for name in left:
        anyio.run(api.cancel, folder, name, "by runbus cancel", grace_s)
    records = [one for one in _records(folder) if one.name in jobs]
    cancelled = sum(one.state is JobState.CANCELLED and one.name in left for one in records)
    told = "1 job" if cancelled == 1 else f"{cancelled:,} jobs"
    totals = Totals.of(records).text()
    click.echo(f"{os.path.basename(folder)}: {told} cancelled; {totals}")
    return ExitStatus.OK


def cancel(folder: str, job: str | None, grace_s: float) -> ExitStatus:
    """End a job, or all of an experiment, and wait for that."""
    over = _ended(folder)
    try:
        is_needed = anyio.run(api.cancel, folder, job, "by runbus cancel", grace_s)
    except KeyboardInterrupt:
        name = os.path.basename(folder)
        records = read_jobs(folder).values()
        if read_requests(folder) or any(record.cancelling for record in records):
            told = f"the end of the jobs stays requested: runbus status {name} shows it"
        else:
            told = f"nothing was requested: the jobs of {name} continue"
        sys.stderr.write(f"{told}\n")
        raise
    if not is_needed:
        sys.stderr.write("it has ended already\n")
        return ExitStatus.OK
    after = _records(folder)
    ended = [record for record in after if record.name not in over]
    if job is None:
        cancelled = sum(record.state is JobState.CANCELLED for record in ended)
        totals = Totals.of(after).text()
        jobs = "1 job" if cancelled == 1 else f"{cancelled:,} jobs"
        click.echo(f"{os.path.basename(folder)}: {jobs} cancelled; {totals}")
    else:
        for record in (one for one in ended if one.name == job):
            click.echo(printable(f"{record.name} ({record.run_id}) is {record.state}"))
    return ExitStatus.OK


def _records(folder: str) -> list[JobRecord]:
    """Return where jobs stand, as `api.cancel` sees it: their leader may not have noted an end."""
    return [status.record for status in job_statuses(folder)]


def _ended(folder: str) -> set[str]:
    """Return the names of the jobs that are over."""
    return {record.name for record in _records(folder) if record.state.is_terminal}


def _report(
    folder: str, records: Sequence[JobRecord], signalled: int | None, *, json_out: TextIO | None
) -> ExitStatus:
    """Print the result of an experiment and return what it means."""
    if json_out is not None:
        print_json([_described(record) for record in not_removed(folder, records)], json_out)
    else:
        _print_result(not_removed(folder, records))
    if len(records) > 1:  # what the only one wrote stands above
        _tell_failures(folder, records)
    if json_out is None:
        sys.stderr.write(f"everything is in {folder}\n")
    if signalled is not None:
        return ExitStatus(128 + signalled)
    # One that was skipped fails nothing by itself: the job that it was skipped for does.
    fine = (JobState.SUCCEEDED, JobState.SKIPPED)
    succeeded = all(record.state in fine or record.is_stopped_early for record in records)
    return ExitStatus.OK if succeeded else ExitStatus.FAILED


def _tell_failures(folder: str, records: Sequence[JobRecord]) -> None:
    """Tell the cause of each failure, the last lines of the job, and where its log is."""
    failed = [record for record in records if record.state in FAILURES]
    for record in failed[:_TOLD]:
        for line in str(api.failure_of(record, folder)).splitlines():
            sys.stderr.write(f"{printable(line)}\n")
    if len(failed) > _TOLD:
        name = os.path.basename(folder)
        sys.stderr.write(f"and {len(failed) - _TOLD:,} more: runbus status --failed {name}\n")


def _described(record: JobRecord) -> dict[str, object]:
    run = open_run(record.run_id)
    return {
        "id": record.run_id,
        "name": record.name,
        "state": record.state,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "reason": record.reason,
        "attempt": record.attempt,
        "duration_s": record.duration_s,
        "config": run.config,
        "metrics": {name: summary._asdict() for name, summary in run.summaries().items()},
        "folder": run.folder,
    }


def _print_result(records: Sequence[JobRecord]) -> None:
    """Print a row a job: how it ended, and the last values of the first few metrics.

    On a terminal that has not as many rows, only of jobs that did not succeed.
    """
    shown, room = records, len(records)
    if (rows := terminal_rows()) is not None and len(records) > rows - _AROUND:
        shown = [record for record in records if record.state is not JobState.SUCCEEDED]
        room = max(1, rows - _AROUND)
    if shown:
        _print_jobs(shown[:room])
    if len(shown) > room:
        sys.stderr.write(f"and {len(shown) - room:,} more: runbus status --failed lists them\n")
    if len(records) > 1:
        sys.stderr.write(f"{Totals.of(records).text()}\n")


def _logged(record: JobRecord) -> dict[str, SeriesSummary]:
    """Return what a job has logged itself: its machine and its progress are not a result."""
    summaries = open_run(record.run_id).summaries()
    return {name: one for name, one in summaries.items() if not name.startswith(_ASIDE)}


def _print_jobs(records: Sequence[JobRecord]) -> None:
    summaries = [_logged(record) for record in records]
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    metrics, others = names[:SHOWN_METRICS], names[SHOWN_METRICS:]
    rows = []
    for record, summary in zip(records, summaries, strict=True):
        steps = max((one.last_step for one in summary.values()), default=None)
        lasts = [format_number(summary[name].last) if name in summary else "" for name in metrics]
        rows.append(
            [
                record.run_id if terminal_columns() is None else short_id(record.run_id),
                record.name,
                record.state,
                "" if steps is None else str(steps),
                *lasts,
                format_duration(record.duration_s) if record.started_ns else "",
                record.reason,
            ]
        )
    header = ["run", "name", "state", "last step", *metrics, "time", "reason"]
    empty = [] if any(record.reason for record in records) else ["reason"]
    left_out = print_table(
        *without(header, rows, empty),
        right=["last step", *metrics, "time"],
        # What came out is asked for first: a metric's last value before when and how long.
        optional=["last step", "time", *reversed(metrics)],
    )
    tell_left_out([*left_out, *others], "runbus show RUN has all of a run")
