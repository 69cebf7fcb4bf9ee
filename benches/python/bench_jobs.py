"""Local jobs, from submit to the terminal event."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import NamedTuple

from benches.rivals.jobs import measured
from benches.row import Row
from benches.scratch import scratch
from runbus import Command, Job, Kernel, LocalExecutor, Plugin
from runbus.events import JobEnded, JobStarted, LogLines, MetricBatch
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState

JOBS, SLOTS, ROUNDS = 1_000, 8, 3
TRUE, ECHO = Command(("/bin/true",)), Command(("/bin/echo", "hi"))
RIVALS = ("psij", "torchx", "nemo_run", "submitit")
AS_MANY, ALONE = "fork, exec and wait, as many at a time", "fork, exec and wait"
LATE_MS = {"a point": 5.0}
"""What must not take as much as 100 ms."""


def main() -> list[Row]:
    checkout = os.getcwd()
    # Not in a repository: runbus would ask git what has changed there, which no rival does.
    with scratch() as folder, chdir(folder):
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        # By turns: how busy this machine is changes from minute to minute.
        many, bare_many = median_of(
            [(asyncio.run(timed(JOBS, SLOTS)), bare(JOBS, SLOTS)) for _ in range(ROUNDS)]
        )
        one, bare_one = median_of(
            [(asyncio.run(timed(1, 1)), bare(1, 1)) for _ in range(4 * ROUNDS)]
        )
        with chdir(checkout):
            asked = statistics.median(asyncio.run(timed(1, 1)).told for _ in range(4 * ROUNDS))
        parallel = statistics.median(asyncio.run(timed(20, 20, ECHO)).wall for _ in range(ROUNDS))
        in_turn = statistics.median(asyncio.run(timed(20, 1, ECHO)).wall for _ in range(ROUNDS))
        lateness = asyncio.run(measured_lateness())
    ones = {name: measured(name, 1) * 1e3 for name in RIVALS}
    twenties = {name: measured(name, 20) * 1e3 for name in RIVALS}
    turns = {"nemo_run": measured("nemo_run", 20, "turn", rounds=1) * 1e3}
    return [
        Row(
            f"a job of /bin/true, {JOBS} of them, {SLOTS} at a time",
            many.wall / JOBS * 1e3,
            "ms",
            1e3 / 300,
            {AS_MANY: bare_many.wall / JOBS * 1e3},
            note=f"{JOBS / many.wall:.0f} jobs/s",
            ratios={AS_MANY: 4},
        ),
        Row(
            "of that, the leader's own processor time a job",
            many.own / JOBS * 1e3,
            "ms",
            beside={
                "the job and its wrapper": many.children / JOBS * 1e3,
                "the job alone": bare_many.children / JOBS * 1e3,
            },
        ),
        Row(
            "one job of /bin/true, submit to its end on the bus",
            one.told * 1e3,
            "ms",
            20,
            {ALONE: bare_one.wall * 1e3} | ones,
            note="ours includes an intent that survives power failure; psij records nothing",
            ratios={ALONE: 6},
        ),
        Row(
            "the same in a repository of 2,000 files, of which git is asked meanwhile",
            asked * 1e3,
            "ms",
            20,
            {ALONE: bare_one.wall * 1e3},
        ),
        Row(
            "the same, until its end survives power failure, too",
            one.wall * 1e3,
            "ms",
            beside={ALONE: bare_one.wall * 1e3},
        ),
        Row("20 jobs of echo hi at a time", parallel * 1e3, "ms", 120, twenties),
        Row("20 jobs of echo hi in turn", in_turn * 1e3, "ms", 400, turns),
        *(
            Row(f"{name}, until it is on the bus, p95", late, "ms", LATE_MS.get(name, 100))
            for name, late in lateness.items()
        ),
    ]


class Spent(NamedTuple):
    """Seconds: of this machine's clock, and of processor time here and of the children.

    Attributes:
        told: Until the last end was on the bus; as `wall` of what tells none.
    """

    wall: float
    own: float
    children: float
    told: float


def spent() -> Spent:
    """Return what has been spent until now."""
    own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    now = time.perf_counter()
    return Spent(now, own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime, told=now)


def since(start: Spent) -> Spent:
    """Return what was spent since a moment."""
    return Spent(*(now - then for now, then in zip(spent(), start, strict=True)))


def median_of(pairs: list[tuple[Spent, Spent]]) -> list[Spent]:
    """Return the medians of what was measured by turns."""
    return [
        Spent(*map(statistics.median, zip(*one, strict=True))) for one in zip(*pairs, strict=True)
    ]


async def timed(count: int, slots: int, task: Command = TRUE) -> Spent:
    """Return what `count` jobs take, without the kernel's own start and stop."""
    jobs = [Job(name=f"job-{index}", task=task) for index in range(count)]
    experiment = ExperimentDraft("bench", jobs, max_parallel=slots)
    told = 0.0

    def ended(_event: JobEnded) -> None:
        nonlocal told
        told = time.perf_counter()

    watch = Plugin("watch").on(JobEnded, ended)
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        start = spent()
        records = await experiment.run(kernel.bus)
        span = since(start)
    assert all(record.state is JobState.SUCCEEDED for record in records)
    # What starts wrappers is waited for, and with it what they have used, when the kernel ends.
    return span._replace(children=since(start).children, told=told - start.told)


def bare(count: int, slots: int) -> Spent:
    """Return what as many processes take that nobody keeps a record of."""
    start = spent()
    with ThreadPoolExecutor(slots) as threads:
        list(threads.map(lambda _: subprocess.run(["/bin/true"], check=True), range(count)))
    return since(start)


TRAINER = """
import time, runbus
run = runbus.init()
for step in range(100):
    run.log("loss", 1.0, step=step)
    print(time.time_ns())
    time.sleep(0.0173)
"""


async def measured_lateness() -> dict[str, float]:
    """Return the 95th percentile of the time from a fact to its event, in ms, by kind of fact."""
    late: dict[str, list[float]] = {"a start": [], "a point": [], "a line": [], "an end": []}

    def started(event: JobStarted) -> None:
        late["a start"].append(time.time_ns() - event.time_ns)

    def ended(event: JobEnded) -> None:
        late["an end"].append(time.time_ns() - event.time_ns)

    async def points(batch: MetricBatch) -> None:
        late["a point"] += [time.time_ns() - time_ns for _, _, time_ns, _ in batch.points()]

    async def lines(event: LogLines) -> None:
        late["a line"] += [time.time_ns() - int(line) for line in event.data.split()]

    watch = (
        Plugin("watch")
        .on(JobStarted, started)
        .on(JobEnded, ended)
        .stream(MetricBatch, points)
        .stream(LogLines, lines)
    )
    job = Job(name="train", task=Command((sys.executable, "-c", TRAINER)))
    async with Kernel(plugins=[LocalExecutor(), watch]) as kernel:
        await ExperimentDraft("bench", [job]).run(kernel.bus)
    return {name: sorted(spans)[int(len(spans) * 0.95)] / 1e6 for name, spans in late.items()}
