"""Many jobs on a real Slurm cluster, with the calls of its programs counted; submitit beside it."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import submitit

from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Job, Kernel, SlurmExecutor, Timeouts
from runbus.abc import JobRef, JobSpec
from runbus.events import JobEnded
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm, counted, slurm_cluster

SWEEP, SUBMITS, CANCELS, ROUNDS, POLL_S = 1000, 100, 500, 2, 1.0
NAMES = (
    f"calls of sbatch for a sweep of {SWEEP:,} jobs",
    "calls of squeue and sacct for each look at them",
    "from a job's end to its event, the slowest of the sweep",
    f"submit of {SUBMITS} jobs that ask for the same",
    f"submit of {SUBMITS} jobs that ask for different times",
    f"cancel of {CANCELS} jobs that wait, to the end of each",
)
Calls = Callable[[], Counter[str]]


def main() -> list[Row]:
    with scratch() as name:
        os.environ["RUNBUS_HOME"] = os.path.join(name, "home")
        folder = Path(name)
        try:
            with slurm_cluster() as slurm:
                calls = counted(folder / "bin")
                os.environ |= {
                    "SLURM_CONF": str(slurm.conf),
                    "PATH": f"{folder}/bin:{os.environ['PATH']}",
                }
                return asyncio.run(measured(slurm, folder, calls))
        except (FileNotFoundError, PermissionError) as error:
            note = f"not measured: {error}; needs Slurm, MariaDB and root"
            return [Row(name, 0.0, "s", note=note) for name in NAMES]


async def measured(slurm: Slurm, folder: Path, calls: Calls) -> list[Row]:
    sweep = await swept(folder, calls)
    same, different, beside = [], [], []
    for _ in range(ROUNDS):
        same.append(await submitted(slurm, folder, differ=False))
        different.append(await submitted(slurm, folder, differ=True))
        beside.append(by_submitit(slurm, folder))
    rival = {"submitit": statistics.median(beside)}
    cancels = await cancelled(folder)
    return [
        Row(NAMES[0], sweep.sbatch, "calls", 3),
        Row(NAMES[1], sweep.asks, "calls", 2),
        Row(NAMES[2], sweep.latest_s, "s", POLL_S + 1, note=f"Slurm is asked every {POLL_S:g} s"),
        Row(NAMES[3], statistics.median(same), "s", beside=rival, ratios={"submitit": 1 / 3}),
        Row(NAMES[4], statistics.median(different), "s", beside=rival, ratios={"submitit": 1 / 3}),
        Row(NAMES[5], cancels, "s", 3.0),
    ]


class Sweep(NamedTuple):
    """What a sweep took."""

    sbatch: int
    asks: float
    latest_s: float


async def swept(folder: Path, calls: Calls) -> Sweep:
    """Run a sweep to its end; each job says when that is."""
    script = 'date +%s.%N >"$RUNBUS_ATTEMPT/../ended"; exit $0'
    jobs = [
        Job(name=f"j{at}", task=Command(("sh", "-c", script, str(at % 2))), executor="slurm")
        for at in range(SWEEP)
    ]
    seen: dict[str, float] = {}
    executor = SlurmExecutor(job_dir=str(folder / "swept"), poll_s=POLL_S)
    before = calls()
    async with Kernel(plugins=[executor]) as kernel:
        kernel.bus.on(JobEnded, lambda event: seen.setdefault(event.job, time.time()))
        records = await ExperimentDraft("sweep", jobs, max_parallel=SWEEP).run(kernel.bus)
    made = calls() - before
    for at, record in enumerate(records):
        assert record.state is (JobState.FAILED if at % 2 else JobState.SUCCEEDED), record
    ends = ends_of(folder)
    assert len(ends) == SWEEP
    asks = (made["squeue"] + made["sacct"]) / made["squeue"]
    return Sweep(made["sbatch"], asks, max(seen[name] - end for name, end in ends.items()))


def ends_of(folder: Path) -> dict[str, float]:
    """Return when the jobs of the sweep ended, as they said, by their names."""
    return {
        path.parent.name.partition("-")[2]: float(path.read_text())
        for path in folder.glob("swept/*/jobs/*/ended")
    }


def harness(folder: Path, name: str, **options: str) -> Harness:
    def make() -> SlurmExecutor:
        return SlurmExecutor(
            job_dir=str(folder / name), poll_s=POLL_S,
            additional_parameters={"begin": "now+1hour"}, **options,  # type: ignore[arg-type]
        )  # fmt: skip

    return Harness(make, str(folder / f"{name}-here"))


async def all_taken(there: Harness, jobs: Sequence[JobSpec]) -> list[JobRef]:
    outcomes = await there.executor.submit_all([there.executor.plan(job) for job in jobs])
    refs = [one for one in outcomes if isinstance(one, JobRef)]
    assert len(refs) == len(jobs), outcomes
    return refs


async def submitted(slurm: Slurm, folder: Path, *, differ: bool) -> float:
    """Return the seconds until Slurm has many jobs; nothing of them runs."""
    async with harness(folder, f"submitted-{time.monotonic_ns()}") as there:
        await there.executor.cancel(await all_taken(there, [there.job("/bin/true")]), 0)
        jobs = [
            there.job("/bin/echo", str(at), timeouts=Timeouts(run_s=60 * (at * differ + 1)))
            for at in range(SUBMITS)
        ]
        start = time.perf_counter()
        await all_taken(there, jobs)
        seconds = time.perf_counter() - start
    slurm.ask("scancel", "--user=root")
    return seconds


def by_submitit(slurm: Slurm, folder: Path) -> float:
    executor = submitit.SlurmExecutor(folder=str(folder / "submitit"), python=sys.executable)
    executor.update_parameters(time=1, additional_parameters={"begin": "now+1hour"})
    start = time.perf_counter()
    for at in range(SUBMITS):
        executor.submit(print, at)
    seconds = time.perf_counter() - start
    slurm.ask("scancel", "--user=root")
    return seconds


async def cancelled(folder: Path) -> float:
    """Return the seconds from asking for the end of waiting jobs until each has ended."""
    async with harness(folder, "cancelled") as there:
        refs = await all_taken(there, [there.job("/bin/true") for _ in range(CANCELS)])
        start = time.perf_counter()
        await there.executor.cancel(refs, 30.0)
        left = set(refs)
        with anyio.fail_after(60):
            while left:
                seen = await there.executor.observe(list(left))
                left -= {ref for ref, one in seen.items() if one.phase == "ended"}
                if left:
                    await there.executor.wait_for_change(0.5)
        return time.perf_counter() - start
