"""Running an experiment for a person at a terminal, or for a program."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import anyio

from runbus.cli._exit import ExitStatus
from runbus.cli._printer import format_duration, format_number, print_json, print_table
from runbus.cli._progress import LiveProgress, PlainProgress
from runbus.executors import LocalExecutor
from runbus.experiment import open_run
from runbus.jobs import JobState
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from runbus.experiment import AsyncExperiment
    from runbus.jobs import JobRecord

__all__ = ["launch"]

_GRACE_S = 10.0
_FINAL_METRICS = 3


def launch(experiment: AsyncExperiment, *, as_json: bool) -> ExitStatus:
    """Run an experiment, show its progress and its result, and say how it went."""
    experiment.prepare()
    records, signalled = anyio.run(_run, experiment)
    if as_json:
        print_json([_described(record) for record in records])
    else:
        _print_result(records)
        sys.stderr.write(f"everything is in {experiment.folder}\n")
    if signalled is not None:
        return ExitStatus(128 + signalled)
    succeeded = all(record.state is JobState.SUCCEEDED for record in records)
    return ExitStatus.OK if succeeded else ExitStatus.FAILED


async def _run(experiment: AsyncExperiment) -> tuple[list[JobRecord], int | None]:
    progress = LiveProgress if sys.stderr.isatty() else PlainProgress
    ending = _Ending(experiment)
    async with anyio.create_task_group() as tasks:
        # Before the kernel starts: from here on a signal always ends the jobs first.
        await tasks.start(ending.heed_signals, name="signals")
        async with Kernel(plugins=[LocalExecutor(), progress(experiment.specs)]) as kernel:
            records = await experiment.run(kernel.bus)
        tasks.cancel_scope.cancel()
    return records, ending.signalled


class _Ending:
    """Ends an experiment by signals: politely, at once, and without looking back."""

    def __init__(self, experiment: AsyncExperiment) -> None:
        self._experiment = experiment
        self.signalled: int | None = None

    async def heed_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            count = 0
            async for number in signals:
                count += 1
                self.signalled = self.signalled or number
                if count == 1:
                    sys.stderr.write("ending the jobs; once more to kill them\n")
                    await self._experiment.cancel(f"by {signal.Signals(number).name}", _GRACE_S)
                elif count == 2:
                    await self._experiment.cancel(f"by {signal.Signals(number).name}, twice", 0)
                else:
                    os._exit(128 + number)


def _described(record: JobRecord) -> dict[str, object]:
    run = open_run(record.run_id)
    return {
        "id": record.run_id,
        "name": record.name,
        "state": record.state,
        "exit_code": record.exit_code,
        "signal": record.signal,
        "reason": record.reason,
        "duration_s": record.duration_s,
        "config": run.config,
        "metrics": {name: summary._asdict() for name, summary in run.summaries().items()},
        "folder": run.folder,
    }


def _print_result(records: list[JobRecord]) -> None:
    """Print a row a job: how it ended, and the last values of the first few metrics."""
    summaries = [open_run(record.run_id).summaries() for record in records]
    metrics = list(dict.fromkeys(name for summary in summaries for name in summary))
    metrics = metrics[:_FINAL_METRICS]
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
    print_table(
        ["run", "name", "state", "last step", *metrics, "time", "reason"],
        rows,
        right=["last step", *metrics, "time"],
    )
