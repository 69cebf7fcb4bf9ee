"""Running experiments for a person at a terminal, or for a program."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import click

from runbus.attempt import redacted_job
from runbus.catalog import job_statuses, open_run
from runbus.cli._exit import ExitStatus
from runbus.cli._printer import format_duration, format_number, print_json, print_table, table_fits
from runbus.cli._progress import SHOWN_METRICS, LiveProgress, PlainProgress
from runbus.cli._supervise import executors_of, start_supervisor
from runbus.errors import JournalHeld, innermost
from runbus.experiment import AsyncExperiment
from runbus.jobs import CancelRequest, JobRecord, JobState, ask_to_cancel, is_led, read_jobs
from runbus.kernel import Kernel
from runbus.supervisor import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runbus.abc import JobSpec, Plugin
    from runbus.metrics import SeriesSummary

__all__ = ["attach", "cancel", "detach", "launch", "print_requests"]

_GRACE_S = 10.0
_POLL_S = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def launch(experiment: AsyncExperiment, *, as_json: bool = False) -> ExitStatus:
    """Run an experiment, show its progress and its result, and say how it went.

    Raises:
        JournalHeld: Another process leads it.
        UsageError: A job, or its code, cannot be run as asked; nothing was submitted.
    """
    ending = _Ending(experiment)
    try:
        if experiment.folder:
            records = anyio.run(_run, experiment, ending)
        else:
            with ending.holding_signals():
                experiment.prepare(executors_of(experiment))
                records = anyio.run(_run, experiment, ending)
    except ExceptionGroup as group:
        raise innermost(group) from None
    return _report(experiment.folder, records, ending.signalled, as_json=as_json)


def attach(folder: str, *, as_json: bool) -> ExitStatus:
    """Lead an experiment to its end, or follow whoever leads it, and take over if they die."""
    while True:
        if is_led(folder):
            anyio.run(_follow, folder)
            records = [status.record for status in job_statuses(folder)]
            if records and all(record.state.is_terminal for record in records):
                return _report(folder, records, None, as_json=as_json)
        try:
            return launch(AsyncExperiment.open(folder), as_json=as_json)
        except JournalHeld:
            continue


async def _follow(folder: str) -> None:
    """Show what another process does with an experiment, until all is over or it has gone."""
    specs = AsyncExperiment.open(folder).specs
    async with Kernel(plugins=[_progress(specs, folder)]) as kernel:
        await Follower(kernel.bus, folder, specs).run()


def _progress(specs: Sequence[JobSpec], folder: str) -> Plugin:
    shown = LiveProgress if sys.stderr.isatty() else PlainProgress
    return shown(specs, read_jobs(folder))


def detach(experiment: AsyncExperiment, *, as_json: bool) -> ExitStatus:
    """Record an experiment for good and leave it to a supervisor."""
    ending = _Ending(experiment)
    with ending.holding_signals():
        experiment.prepare(executors_of(experiment))
        records = experiment.intend()
        for number in ending.held:
            ask_to_cancel(experiment.folder, CancelRequest(None, _by(number), _GRACE_S))
        start_supervisor(experiment)
    if as_json:
        print_json([{"id": record.run_id, "name": record.name} for record in records])
    else:
        click.echo(experiment.id)
        sys.stderr.write(f"runbus attach {experiment.id} follows it\n")
    return ExitStatus(128 + ending.held[0]) if ending.held else ExitStatus.OK


def cancel(folder: str, job: str | None, grace_s: float) -> ExitStatus:
    """End a job, or all of an experiment, through whoever leads it; do it here if nobody does."""
    request = CancelRequest(job, "by runbus cancel", grace_s)
    if _ended(folder, job):
        sys.stderr.write("it has ended already\n")
        return ExitStatus.OK
    ask_to_cancel(folder, request)
    while not _ended(folder, job):
        try:
            anyio.run(_lead, AsyncExperiment.open(folder), job)
        except JournalHeld:
            # Somebody leads it and will act; if they die, the next round leads.
            time.sleep(_POLL_S)
    return ExitStatus.OK


def print_requests(experiment: AsyncExperiment) -> ExitStatus:
    """Print what would be sent for each job, without its secrets; nothing is written or sent."""
    executors = executors_of(experiment)
    for request in experiment.plan(executors):
        job = redacted_job(request.job)
        click.echo(executors[job.executor].plan(job).render())
    return ExitStatus.OK


def _ended(folder: str, job: str | None) -> bool:
    records = [one.record for one in job_statuses(folder) if job in (None, one.record.name)]
    return bool(records) and all(record.state.is_terminal for record in records)


async def _lead(experiment: AsyncExperiment, job: str | None) -> None:
    """Lead one job of an experiment that nobody leads, or all of them, to the end."""
    async with Kernel(plugins=list(executors_of(experiment).values())) as kernel:
        await experiment.run(kernel.bus, only=job)


async def _run(experiment: AsyncExperiment, ending: _Ending) -> list[JobRecord]:
    async with anyio.create_task_group() as tasks:
        # Before the kernel starts: from here on a signal always ends the jobs first.
        await tasks.start(ending.heed_signals, name="signals")
        plugins = [
            *executors_of(experiment).values(),
            _progress(experiment.specs, experiment.folder),
        ]
        trace = os.path.join(experiment.folder, "trace.jsonl")
        async with Kernel(plugins=plugins, trace=trace) as kernel:
            records = await experiment.run(kernel.bus)
        tasks.cancel_scope.cancel()
    return records


class _Ending:
    """Ends an experiment by signals: politely, at once, and without looking back."""

    def __init__(self, experiment: AsyncExperiment) -> None:
        self._experiment = experiment
        self._count = 0
        self.held: list[int] = []
        self.signalled: int | None = None

    @contextmanager
    def holding_signals(self) -> Iterator[None]:
        """Keep signals for `heed_signals` once anything is on record: its jobs are to be ended."""
        before = {number: signal.signal(number, self._hold) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) == self._hold:
                    signal.signal(number, handler)

    async def heed_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            for number in self.held:
                await self._heed(number)
            task_status.started()
            async for number in signals:
                await self._heed(number)

    def _hold(self, number: int, frame: object) -> None:
        if not self._experiment.folder:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self.held.append(number)
        if len(self.held) > 2:
            os._exit(128 + number)

    async def _heed(self, number: int) -> None:
        self._count += 1
        self.signalled = self.signalled or number
        if self._count == 1:
            sys.stderr.write("ending the jobs; once more to kill them\n")
            await self._experiment.cancel(_by(number), _GRACE_S)
        elif self._count == 2:
            await self._experiment.cancel(f"{_by(number)}, twice", 0)
        else:
            os._exit(128 + number)


def _by(number: int) -> str:
    return f"by {signal.Signals(number).name}"


def _report(
    folder: str, records: Sequence[JobRecord], signalled: int | None, *, as_json: bool
) -> ExitStatus:
    """Print the result of an experiment and return what it means."""
    if as_json:
        print_json([_described(record) for record in records])
    else:
        _print_result(records)
        sys.stderr.write(f"everything is in {folder}\n")
    if signalled is not None:
        return ExitStatus(128 + signalled)
    succeeded = all(record.state is JobState.SUCCEEDED for record in records)
    return ExitStatus.OK if succeeded else ExitStatus.FAILED


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

    On a terminal, of as many of them as there is room for.
    """
    summaries = [open_run(record.run_id).summaries() for record in records]
    metrics = list(dict.fromkeys(name for summary in summaries for name in summary))
    metrics = metrics[:SHOWN_METRICS]
    header, rows = _result_table(records, summaries, metrics)
    while metrics and sys.stdout.isatty() and not table_fits(header, rows):
        header, rows = _result_table(records, summaries, metrics := metrics[:-1])
    print_table(header, rows, right=["last step", *metrics, "time"])


def _result_table(
    records: Sequence[JobRecord],
    summaries: Sequence[Mapping[str, SeriesSummary]],
    metrics: Sequence[str],
) -> tuple[list[str], list[list[str]]]:
    rows = []
    for record, summary in zip(records, summaries, strict=True):
        steps = max((one.last_step for one in summary.values()), default=None)
        lasts = [format_number(summary[name].last) if name in summary else "" for name in metrics]
        rows.append(
            [
                record.run_id,
                record.name,
                record.state,
                "" if steps is None else str(steps),
                *lasts,
                format_duration(record.duration_s),
                record.reason,
            ]
        )
    return ["run", "name", "state", "last step", *metrics, "time", "reason"], rows
