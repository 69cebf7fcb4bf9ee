"""What 50,000 finished jobs in a home cost: the same work there and in an empty one, in turn."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

from benches.python.bench_jobs import ECHO, SLOTS, TRUE, timed
from benches.rivals.jobs import measured
from benches.row import Row
from benches.scratch import scratch
from runbus import Job
from runbus._home import Home
from runbus.events import JobEnded, JobStarted, JobSubmitted
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobStore, intend

if TYPE_CHECKING:
    from collections.abc import Callable

    from runbus.abc import JobSpec
    from runbus.events import JobFact

FINISHED, A_BATCH = 50_000, 500
MANY, ROUNDS = 1_000, 3


def main() -> list[Row]:
    with scratch() as folder:
        empty, full = (os.path.join(folder, name) for name in ("empty", "full"))
        os.environ["RUNBUS_HOME"] = full
        for _ in range(FINISHED // A_BATCH):
            finish_batch()
        one: dict[str, list[float]] = {empty: [], full: []}
        many: dict[str, list[float]] = {empty: [], full: []}
        twenty: dict[str, list[float]] = {empty: [], full: []}
        for _ in range(ROUNDS):
            # In turn, so that a noisy moment falls on both.
            for home in (empty, full):
                os.environ["RUNBUS_HOME"] = home
                many[home].append(asyncio.run(timed(MANY, SLOTS, TRUE)).wall / MANY * 1e3)
                twenty[home].append(asyncio.run(timed(20, 20, ECHO)).wall * 1e3)
        for _ in range(60):
            for home in (empty, full):
                os.environ["RUNBUS_HOME"] = home
                one[home].append(asyncio.run(timed(1, 1, TRUE)).wall * 1e3)
    nemo = measured("nemo_run", 20, str(FINISHED), rounds=1) * 1e3
    held = f"with {FINISHED:,} finished jobs in the home"
    return [
        beside_empty(f"one job of /bin/true {held}", one[full], one[empty]),
        beside_empty(f"a job of {MANY:,} of /bin/true {held}", many[full], many[empty]),
        Row(f"20 jobs of echo hi at a time {held}", statistics.median(twenty[full]), "ms",
            beside={"in an empty home": statistics.median(twenty[empty]), "nemo_run": nemo}),
    ]  # fmt: skip


def beside_empty(name: str, full: list[float], empty: list[float]) -> Row:
    beside = {"in an empty home": statistics.median(empty)}
    return Row(name, statistics.median(full), "ms", None, beside, ratios={"in an empty home": 1.1})


def finish_batch() -> None:
    """Leave behind what a batch leaves that has run: its folders and its journal."""
    jobs = [Job(name=f"job-{number}", task=TRUE) for number in range(A_BATCH)]
    experiment = ExperimentDraft("history", jobs)
    stored = experiment.prepare()
    store = JobStore(stored.folder)
    intend(store, stored.specs)
    for job in stored.specs:
        told = partial(_fact, stored.id, job)
        store.record(told(JobSubmitted, handle="1"))
        store.record(told(JobStarted, host="here", pid=1))
        store.record(
            told(JobEnded, state="SUCCEEDED", exit_code=0, signal=None, reason="", duration_s=0.1)
        )
    store.close()
    Home().note_closed(stored.folder)


def _fact(
    experiment_id: str, job: JobSpec, kind: Callable[..., JobFact], **more: object
) -> JobFact:
    return kind(
        experiment_id=experiment_id, job=job.name, run_id=job.run_id, attempt=1,
        time_ns=time.time_ns(), **more,
    )  # fmt: skip
