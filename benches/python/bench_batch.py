"""Large batches, and the memory of the process that leads a loud job for a slow reader."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Job, Kernel, LocalExecutor
from runbus.events import JobEnded, JobIntended
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import JobState, JobStore

JOBS, ROUNDS = 10_000, 3
RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
LOG_BYTES, READ_BYTES_PER_S = 1_000_000_000, 15_000_000
LINE = "a line of a log that is about as long as they are: step 1234, loss 0.123456789, 3.21 s/it"


def main() -> list[Row]:
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        dry = statistics.median(dry_run(folder) for _ in range(ROUNDS))
        many, few = prepared(JOBS), prepared(1)
        restart = statistics.median(restarted(many) for _ in range(ROUNDS))
        short = statistics.median(restarted(few) for _ in range(ROUNDS))
        grown = grown_bytes(folder)
    return [
        Row(f"submit --dry-run of {JOBS:,} jobs as JSON", dry, "s", 3.0),
        Row(
            f"leading on with one of {JOBS:,} jobs, to its end", restart, "s", 1.0,
            {"with the only one": short},
        ),
        Row(
            "memory that submit takes for 1 GB of log, read at 15 MB/s", grown / 1e6, "MB", 64,
            note="above what it has before the job writes",
        ),
    ]  # fmt: skip


def dry_run(folder: str) -> float:
    path = Path(folder, "batch.json")
    jobs = [{"name": f"job-{at}", "command": ["train", "--seed", str(at)]} for at in range(JOBS)]
    path.write_text(json.dumps({"project": "bench", "jobs": jobs}))
    start = time.perf_counter()
    subprocess.run([RUNBUS, "submit", "--dry-run", path], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def prepared(count: int) -> StoredExperiment:
    """Return an experiment of which all jobs but the last one have ended."""
    jobs = [Job(name=f"job-{at}", task=Command(("/bin/true",))) for at in range(count)]
    stored = ExperimentDraft("bench", jobs).prepare()
    store = JobStore(stored.folder)
    for spec in stored.specs:
        about: dict[str, Any] = {
            "experiment_id": spec.experiment_id, "job": spec.name, "run_id": spec.run_id,
            "attempt": 1, "time_ns": 1,
        }  # fmt: skip
        where = store.relative(spec.folder)
        store.record(JobIntended(**about, executor=spec.executor, folder=where))
        if spec is not stored.specs[-1]:
            ended = JobEnded(
                **about, state="CANCELLED", exit_code=None, signal=None, reason="", duration_s=0.0
            )
            store.record(ended)
    store.close()
    return stored


def restarted(stored: StoredExperiment) -> float:
    """Return the seconds until the last job has ended, and leave everything as it was before."""
    journal, last = os.path.join(stored.folder, "events.journal"), stored.specs[-1]
    shutil.copy(journal, f"{journal}.before")
    span = asyncio.run(led(stored.folder))
    os.replace(f"{journal}.before", journal)
    shutil.rmtree(last.folder)
    os.makedirs(last.folder)
    return span


async def led(folder: str) -> float:
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        start = time.perf_counter()
        records = await StoredExperiment.open(folder).run(kernel.bus)
        span = time.perf_counter() - start
    assert records[-1].state is JobState.SUCCEEDED
    return span


def grown_bytes(folder: str) -> int:
    """Return by how much a `submit` grows while its job writes much and its reader reads slowly."""
    go = Path(folder, "go")
    writes = f"until test -e {go}; do sleep 0.05; done; yes '{LINE}' | head -c {LOG_BYTES}"
    path = Path(folder, "loud.json")
    job = {"name": "loud", "command": ["sh", "-c", writes]}
    path.write_text(json.dumps({"project": "bench", "jobs": [job]}))
    with subprocess.Popen(
        [RUNBUS, "submit", path], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as leader:
        assert leader.stderr is not None
        leader.stderr.readline()  # it was started
        before = peak_bytes(leader.pid)
        go.touch()
        most = before
        while leader.stderr.read(READ_BYTES_PER_S // 100):
            time.sleep(0.01)
            most = max(most, peak_bytes(leader.pid))
    assert leader.returncode == 0
    return most - before


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had; 0 once it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) << 10 if found else 0
