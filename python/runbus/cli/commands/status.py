"""`runbus status`."""

from __future__ import annotations

import os
import time

import click

from runbus.cli._printer import format_duration, print_json, print_table

__all__ = ["command"]


@click.command("status")
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(batch: str | None, as_json: bool) -> None:
    """Show where the jobs of a batch stand.

    BATCH is the id of an experiment or a project (its newest); without it, the newest of all.
    """
    from runbus.experiment import find_experiment, job_statuses

    statuses = job_statuses(find_experiment(batch))
    if as_json:
        print_json(
            [
                {
                    "job": record.run_id,
                    "name": record.name,
                    "state": record.state,
                    "exit_code": record.exit_code,
                    "signal": record.signal,
                    "reason": record.reason,
                    "attempt": record.attempt,
                    "executor": record.executor,
                    "submitted": _iso(record.submitted_ns),
                    "started": _iso(record.started_ns),
                    "ended": _iso(record.ended_ns),
                    "log": os.path.join(folder, "stdout.log"),
                }
                for record, folder in statuses
            ]
        )
        return
    print_table(
        ["job", "name", "state", "attempt", "executor", "exit", "time", "reason"],
        [
            [
                record.run_id,
                record.name,
                record.state,
                str(record.attempt),
                record.executor,
                "" if record.exit_code is None else str(record.exit_code),
                format_duration(record.duration_s) if record.ended_ns else "",
                record.reason,
            ]
            for record, _ in statuses
        ],
        right=["attempt", "exit", "time"],
    )


def _iso(time_ns: int) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds; None if it is not known."""
    if not time_ns:
        return None
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 10**6:03d}Z"
