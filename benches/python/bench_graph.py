"""Graphs of jobs: planned, decided about fact by fact, and run."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import time
from collections import deque
from typing import TYPE_CHECKING

from benches.rivals.jobs import measured
from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Dependency, Job, Kernel, LocalExecutor
from runbus._clock import SYSTEM_CLOCK
from runbus.abc import JobSpec, Observation
from runbus.experiment import ExperimentDraft
from runbus.jobs import Facts, JobRecord, JobState, fold
from runbus.supervisor._board import Board, decide
from runbus.supervisor._decisions import Drain, Finish, Submit

if TYPE_CHECKING:
    from runbus.events import JobFact

JOBS, PARENTS, ROUNDS, SLOTS = 10_000, 3, 3, 8
RUN_JOBS, LAYERS, CHAIN = 1_000, 3, 60
RIVAL_JOBS = 100
TRUE = Command(("/bin/true",))
RIVALS = ("torchx", "psij")
WITHOUT = "as many without layers"
ENDED = Observation(phase="ended", host="h", pid=1, started_ns=1, exit_code=0)


def main() -> list[Row]:
    with scratch() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        planned_s = statistics.median(planned() for _ in range(ROUNDS))
        step_s = statistics.median(step() for _ in range(ROUNDS))
        # By turns: how busy this machine is changes from minute to minute.
        runs = [(asyncio.run(ran(layered())), asyncio.run(ran(flat()))) for _ in range(ROUNDS)]
        layered_s, flat_s = map(statistics.median, zip(*runs, strict=True))
        gaps = sorted(gap for _ in range(ROUNDS) for gap in asyncio.run(handed_on()))
    rivals = {name: measured(name, RIVAL_JOBS, rounds=1) / RIVAL_JOBS for name in RIVALS}
    turn_s = (measured("nemo_run", 6, "turn", rounds=1) - measured("nemo_run", 1, rounds=1)) / 5
    return [
        Row(f"a graph of {JOBS:,} jobs, {PARENTS} parents each, planned", planned_s, "s", 2.0),
        Row("a step of its decision, per fact", step_s * 1e6, "µs", 50),
        Row(
            f"a job of /bin/true, {RUN_JOBS:,} of them in {LAYERS} layers",
            layered_s / RUN_JOBS * 1e3,
            "ms",
            1e3 / 250,
            {WITHOUT: flat_s / RUN_JOBS * 1e3}
            | {f"{name}, {RIVAL_JOBS} without": one * 1e3 for name, one in rivals.items()},
            note=f"{RUN_JOBS / layered_s:.0f} jobs/s",
            ratios={WITHOUT: 1.25},
        ),
        Row(
            "parent's end to child's start, p95",
            gaps[int(len(gaps) * 0.95)] * 1e3,
            "ms",
            30,
            {"nemo_run, one job more in a sequence": turn_s * 1e3},
            note=f"median {statistics.median(gaps) * 1e3:.1f} ms",
        ),
    ]


def wide(count: int) -> list[Job]:
    """Return jobs of which each waits for a few of those well before it."""
    return [
        Job(name=f"job-{at}", task=TRUE, depends_on=[f"job-{one}" for one in parents_of(at)])
        for at in range(count)
    ]


def parents_of(at: int) -> list[int]:
    return sorted({(at * factor) % (at // 2) for factor in (7, 11, 13)}) if at >= 20 else []


def layered() -> list[Job]:
    """Return layers of jobs; each job waits for two of the layer before."""
    width = -(-RUN_JOBS // LAYERS)
    return [
        Job(
            name=f"job-{at}",
            task=TRUE,
            depends_on=[f"job-{at - width - one}" for one in (0, 1)] if at > width else (),
        )
        for at in range(RUN_JOBS)
    ]


def flat() -> list[Job]:
    """Return as many jobs that wait for nothing."""
    return [Job(name=f"job-{at}", task=TRUE) for at in range(RUN_JOBS)]


def planned() -> float:
    """Return the seconds from the jobs to the requests that would be sent."""
    jobs = wide(JOBS)
    start = time.perf_counter()
    requests = ExperimentDraft("bench", jobs).plan({"local": LocalExecutor()})
    span = time.perf_counter() - start
    assert len(requests) == JOBS
    return span


def step() -> float:
    """Return the seconds a fact that it takes to lead a graph to its end, without doing any of it.

    Three facts a job: that it was submitted, started and has ended.
    """
    specs = [
        JobSpec(
            experiment_id="e", name=job.name, run_id=f"e-{at}", executor="local", argv=("true",),
            cwd="/", env={}, folder=f"jobs/{at}/1", run_folder=f"runs/{at}",
            depends_on=job.dependencies,
        )
        for at, job in enumerate(wide(JOBS))
    ]  # fmt: skip
    records = {
        spec.name: JobRecord(
            name=spec.name, run_id=spec.run_id, executor="local", folder=spec.folder,
            state=JobState.PENDING, attempt=1, intended_ns=1,
        )
        for spec in specs
    }  # fmt: skip
    facts, told = Facts(SYSTEM_CLOCK), 0
    start = time.perf_counter()
    board = Board()
    board.set_seats(SLOTS, {"local": None})
    for spec in specs:
        board.add(spec, records[spec.name], 0.0, parents=records)
    hands = deque(decide(board, 0.0))
    while hands:
        decision = hands.popleft()
        name = decision.job.name
        fact: JobFact
        match decision:
            case Submit():
                fact = facts.submitted(decision.job, "handle")
            case Drain():
                board.drained(name)
                hands.extend(decide(board, 0.0))
                continue
            case Finish():
                fact = facts.ended(decision.job, decision.end)
            case _:
                fact = facts.started(decision.job, ENDED)
        record = fold(records[name], fact)
        assert record is not None
        records[name] = record
        told += 1
        board.recorded(record, 0.0)
        if isinstance(decision, Submit):
            board.saw(name, ENDED, (), 0.0)
        hands.extend(decide(board, 0.0))
    assert board.is_over
    return (time.perf_counter() - start) / told


async def ran(jobs: list[Job]) -> float:
    """Return the seconds that jobs take end to end, without the kernel's own start and stop."""
    experiment = ExperimentDraft("bench", jobs, max_parallel=SLOTS)
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        start = time.perf_counter()
        records = await experiment.run(kernel.bus)
        span = time.perf_counter() - start
    assert all(record.state is JobState.SUCCEEDED for record in records)
    return span


async def handed_on() -> list[float]:
    """Return the seconds from each job's end to the start of the one that waits for it."""
    names = [f"job-{at}" for at in range(CHAIN)]
    jobs = [
        Job(name=name, task=TRUE, depends_on=[Dependency(job=parent)] if parent else ())
        for name, parent in zip(names, ["", *names], strict=False)
    ]
    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        records = await ExperimentDraft("bench", jobs).run(kernel.bus)
    return [
        (child.started_ns - parent.ended_ns) / 1e9 for parent, child in itertools.pairwise(records)
    ]
