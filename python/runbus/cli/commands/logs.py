"""`runbus logs`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runbus.experiment import RunRecord

__all__ = ["command"]

_POLL_S = 0.05


@click.command("logs")
@click.argument("run")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Only the standard error.")
def command(run: str, follow: bool, only_stderr: bool) -> None:
    """Print what a run's job wrote, byte for byte.

    Its standard output goes to standard output, its standard error to standard error.

    RUN is an id, a name (the newest run of that name), or "latest".
    """
    from runbus.experiment import RunRecord, find_run
    from runbus.jobs import LogTail

    found = find_run(run)
    if found.job_folder is None:
        raise click.UsageError(f"run {found.id} was not started by runbus: it has no logs")
    tails = [
        (LogTail(os.path.join(found.job_folder, f"{stream.name.strip('<>')}.log")), stream.buffer)
        for stream in ([sys.stderr] if only_stderr else [sys.stdout, sys.stderr])
    ]
    while True:
        # The state first: what a job wrote before it ended is then surely there to be read.
        final = not follow or _has_ended(RunRecord(found.folder))
        for tail, stream in tails:
            while data := tail.poll(final=final):
                stream.write(data)
            stream.flush()
        if final:
            return
        time.sleep(_POLL_S)


def _has_ended(run: RunRecord) -> bool:
    return run.state.is_terminal
