"""Equal jobs that are ready together, on a real cluster: one array, and each a job of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from runbus import Command, Job, Kernel
from runbus.abc import JobRef, JobSpec, Resources
from runbus.executors import SlurmExecutor
from runbus.experiment import ExperimentDraft
from runbus.testing._waiting import until, wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm

from .conftest import counting

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

Calls = Callable[[], Counter[str]]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return counting(tmp_path, monkeypatch)


@pytest.fixture
async def harness(tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "remote höme"), poll_s=0.5)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


def numbers(tmp_path: Path) -> list[str]:
    """Return the numbers that Slurm has given to attempts."""
    return sorted(path.read_text().strip() for path in tmp_path.glob("remote*/*/jobs/*/*/slurm.id"))


def forget_numbers(tmp_path: Path) -> None:
    for path in tmp_path.glob("remote*/*/jobs/*/*/slurm.id"):
        path.unlink()


async def test_equal_jobs_are_one_array_and_each_ends_as_itself(
    harness: Harness, calls: Calls, tmp_path: Path
) -> None:
    jobs = [
        harness.shell("echo $A it\\'s $RUNBUS_NODE_RANK; exit $A", env={"A": str(n)})
        for n in range(6)
    ]

    refs = await harness.submit_all(jobs)
    ended = [await harness.end(ref) for ref in refs]

    assert calls()["sbatch"] == 1
    assert [one.seen.exit_code for one in ended] == [0, 1, 2, 3, 4, 5]
    assert [one.stdout for one in ended] == [b"%d it's 0\n" % n for n in range(6)]
    array = numbers(tmp_path)[0].partition("_")[0]
    assert numbers(tmp_path) == [f"{array}_{n}" for n in range(6)]


async def test_jobs_that_ask_for_other_things_go_alone(harness: Harness, calls: Calls) -> None:
    jobs = [harness.shell("echo $CUDA_VISIBLE_DEVICES", resources=Resources(gpus=n % 2))
            for n in range(3)]  # fmt: skip

    refs = await harness.submit_all(jobs)
    ended = [await harness.end(ref) for ref in refs]

    assert calls()["sbatch"] == 2
    assert [one.stdout.strip() != b"" for one in ended] == [False, True, False]


async def test_elements_that_wait_are_cancelled_in_one_call_and_only_those(
    harness: Harness, calls: Calls
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    refs = await harness.submit_all([harness.shell("echo ran") for _ in range(5)])

    await harness.executor.cancel(refs[1:], 60)
    ended = [await harness.end(ref) for ref in refs[1:]]
    (left,) = (await harness.executor.observe(refs[:1])).values()

    assert {one.seen.native_state for one in ended} == {"CANCELLED"}
    assert {one.stdout for one in ended} == {b""}
    assert left.phase == "queued"
    assert calls()["scancel"] <= 2  # those that wait; and the signal for those that run


async def test_an_element_that_an_administrator_cancels_before_its_start_is_told_as_that(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    refs = await harness.submit_all([harness.shell("echo ran") for _ in range(3)])
    array = numbers(tmp_path)[0].partition("_")[0]
    slurm.ask("scancel", f"{array}_1")

    seen = (await harness.end(refs[1])).seen
    others = await harness.executor.observe([refs[0], refs[2]])

    assert seen.reason.startswith("cancelled in Slurm")
    assert [one.phase for one in others.values()] == ["queued", "queued"]


async def test_elements_are_found_by_the_name_of_their_array_where_the_answer_was_lost(
    harness: Harness, calls: Calls, tmp_path: Path
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    jobs = [harness.shell("echo ran") for _ in range(20)]
    refs = await harness.submit_all(jobs)
    before = numbers(tmp_path)
    forget_numbers(tmp_path)
    await harness.restart()
    asked, start = calls(), time.monotonic()
    found: list[JobRef | None] = []

    async def find(job: JobSpec) -> None:
        found.append(await harness.executor.find(job))

    async with anyio.create_task_group() as finding:
        for job in jobs:
            finding.start_soon(find, job)
    looked = calls()["squeue"] - asked["squeue"]
    polls = (time.monotonic() - start) / 0.5 + 1
    again = await harness.submit_all(jobs)

    assert sorted(map(str, found)) == sorted(map(str, refs))
    assert looked <= 1 + polls  # once for all of them; the poll has begun as well
    assert again == refs
    assert calls()["sbatch"] == 1
    assert numbers(tmp_path) == before


async def test_an_array_waits_for_a_controller_that_is_down(
    harness: Harness, slurm: Slurm, calls: Calls
) -> None:
    jobs = [harness.shell("echo ran") for _ in range(3)]
    slurm.stop_controller()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(harness.submit_all, jobs)
            await anyio.to_thread.run_sync(wait_until, lambda: calls()["sbatch"] > 0)
            await anyio.to_thread.run_sync(slurm.start_controller)
    finally:
        slurm.start_controller()

    ended = [await harness.end(ref) for ref in harness.started]

    assert [one.stdout for one in ended] == [b"ran\n"] * 3


async def test_executors_of_one_login_node_ask_slurm_together(tmp_path: Path, calls: Calls) -> None:
    def make(partition: str) -> Callable[[], SlurmExecutor]:
        return lambda: SlurmExecutor(
            job_dir=str(tmp_path / partition), poll_s=0.5, partition=partition
        )

    async with (
        Harness(make("debug"), str(tmp_path / "here")) as one,
        Harness(make("short"), str(tmp_path / "there")) as other,
    ):
        for harness in (one, other):
            await harness.output(
                await harness.submit(harness.shell("echo up; exec sleep 600")), b"up"
            )
        before, start = calls()["squeue"], time.monotonic()
        # The pause has grown by now, if nothing has changed for a while.
        await until(lambda: calls()["squeue"] > before and time.monotonic() - start > 1.6)
        asked = calls()["squeue"] - before

        assert asked <= (time.monotonic() - start) / 0.5 + 1


_BATCH = """\
project: sweep
jobs:
  - name: j
    executor: slurm
    command: [sh, -c, 'echo "$*" >>{ran}', sh]
    sweep: {{grid: {{n: [1, 2, 3, 4]}}}}
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_leader_that_is_killed_amid_the_submit_of_an_array_runs_each_job_once(
    slurm: Slurm, tmp_path: Path, moment: str
) -> None:
    ran, called = tmp_path / "ran", tmp_path / "called"
    real = "$(PATH=${PATH#*:}; command -v sbatch)"
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home")}
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sbatch"
    submit = f'"{real}" "$@" >/dev/null; ' if moment == "after" else ""
    program.write_text(f"#!/bin/sh\n{submit}: >{called}; exec sleep 600\n")
    program.chmod(0o755)
    batch = tmp_path / "batch.yaml"
    batch.write_text(_BATCH.format(ran=ran))
    runbus = [sys.executable, "-m", "runbus.cli"]
    first = subprocess.Popen(
        [*runbus, "submit", str(batch)], cwd=tmp_path, stdout=subprocess.DEVNULL,
        env={**home, "PATH": f"{program.parent}:{home['PATH']}"},
    )  # fmt: skip
    try:
        wait_until(called.exists)
    finally:
        first.kill()
        first.wait()

    done = subprocess.run(
        [*runbus, "attach"], env=home, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter(ran.read_text().split("\n")[:-1]) == Counter(f"--n={n}" for n in (1, 2, 3, 4))


async def test_a_batch_that_says_nothing_of_max_parallel_is_in_the_queue_at_once(
    calls: Calls, tmp_path: Path
) -> None:
    jobs = [
        Job(name=f"j{n}", task=Command(("sh", "-c", "exit $N")), env={"N": str(n)}, executor="c")
        for n in range(60)
    ]
    executor = SlurmExecutor(name="c", job_dir=str(tmp_path / "remote"), poll_s=0.5)

    async with Kernel(plugins=[executor]) as kernel:
        records = await ExperimentDraft("sweep", jobs).run(kernel.bus)

    assert [record.exit_code for record in records] == [*range(60)]
    assert calls()["sbatch"] == 1
