"""`runbus status`."""

from __future__ import annotations

import os
import sys
import time

import click

from runbus.cli._printer import format_duration, print_json, print_table
from runbus.cli._run_facts import native_words

__all__ = ["command"]


@click.command("status")
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def command(batch: str | None, as_json: bool) -> None:
    """Show where the jobs of a batch stand.

    BATCH is the id of an experiment, a project (its newest), or "latest"; without it, the newest
    of all.
    """
    from runbus import api
    from runbus.catalog import find_experiment
    from runbus.jobs import leader_of

    experiment = find_experiment(batch)
    statuses = api.status(experiment)
    leader = leader_of(experiment)
    if leader is not None and leader.is_silent:
        sys.stderr.write(f"{os.path.basename(experiment)} is {leader}\n")
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
                    "native_state": record.native_state,
                    "suspended": record.is_suspended,
                    "evidence": record.evidence,
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
    records = [record for record, _ in statuses]
    columns = [
        ["job", *(record.run_id for record in records)],
        ["name", *(record.name for record in records)],
        ["state", *(str(record.state) for record in records)],
        ["backend says", *map(native_words, records)],
        ["attempt", *(str(record.attempt) for record in records)],
        ["executor", *(record.executor for record in records)],
        ["exit", *("" if one.exit_code is None else str(one.exit_code) for one in records)],
        ["time", *(format_duration(one.duration_s) if one.ended_ns else "" for one in records)],
        ["reason", *(record.reason for record in records)],
    ]
    # What is the same for all, and the usual, takes only room.
    usual = {"attempt": {"1"}, "executor": {"local"}, "reason": {""}, "backend says": {""}}
    shown = [column for column in columns if set(column[1:]) != usual.get(column[0])]
    rows = zip(*(column[1:] for column in shown), strict=True)
    header = [column[0] for column in shown]
    print_table(header, [list(row) for row in rows], right=["attempt", "exit", "time"])


def _iso(time_ns: int) -> str | None:
    """Return a time as ISO 8601 in UTC with milliseconds; None if it is not known."""
    if not time_ns:
        return None
    seconds, rest = divmod(time_ns, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 10**6:03d}Z"
