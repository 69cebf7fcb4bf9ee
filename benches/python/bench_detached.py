"""What a hundred experiments cost that were left to the supervisor, and where nothing happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Job
from runbus._home import Home
from runbus.experiment import ExperimentDraft
from runbus.jobs import CancelRequest, JobState, ask_to_cancel, read_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 100
BEGIN_S, SETTLE_S, MEASURED_S = 60.0, 15.0, 20.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main() -> list[Row]:
    alone_mb, alone_share = measured(1)
    mb, share = measured(COUNT)
    return [
        Row(
            f"memory that leads {COUNT} idle detached experiments", mb, "MB", 60,
            {"one of them": alone_mb}, note="of one process: a supervisor leads all of a home",
        ),
        Row(
            f"processor time that leads {COUNT} idle detached experiments", share * 100,
            "% of a core", 1.0, {"one of them": alone_share * 100},
        ),
    ]  # fmt: skip


def measured(count: int) -> tuple[float, float]:
    """Return the memory in MB, and the share of a core, that a supervisor takes."""
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        for _ in range(count):
            job = Job(name="idle", task=Command(("sleep", "600")))
            ExperimentDraft("idle", [job]).prepare().intend()
        with supervising() as pid:
            time.sleep(SETTLE_S)
            before = busy_s(pid)
            time.sleep(MEASURED_S)
            return memory_mb(pid), (busy_s(pid) - before) / MEASURED_S


@contextmanager
def supervising() -> Iterator[int]:
    """Have a supervisor lead all open experiments until each has begun; end them afterwards."""
    words = (sys.executable, "-m", "runbus.cli", "supervise")
    with subprocess.Popen(words) as supervisor:
        try:
            deadline = time.monotonic() + BEGIN_S
            while not all(map(has_begun, folders := Home().open_experiments())):
                if time.monotonic() > deadline:
                    raise TimeoutError("the jobs do not begin")
                time.sleep(0.5)
            yield supervisor.pid
            for one in folders:
                ask_to_cancel(one, CancelRequest(None, "measured", 0))
            supervisor.wait(BEGIN_S)
        finally:
            supervisor.kill()


def has_begun(folder: str) -> bool:
    return all(job.state is JobState.RUNNING for job in read_jobs(folder).values())


def busy_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Return the memory of a process, its share of what it has in common with others included."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
