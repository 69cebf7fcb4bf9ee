"""Heterogeneous jobs of a real cluster: one job of ours, whatever its components are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread
import pytest

from runbus.executors import SlurmExecutor, SlurmResources
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

Make = Callable[[], SlurmExecutor]

GROUP = [SlurmResources(), SlurmResources(nodes=2, ntasks_per_node=2, gpus_per_node=1, mem="300M")]


@pytest.fixture
def make(rest: str | None, tmp_path: Path) -> Make:
    return lambda: SlurmExecutor(
        rest=rest, job_dir=str(tmp_path / "far"), poll_s=0.5, launcher="srun", resource_group=GROUP
    )


async def test_tasks_of_all_components_meet_as_one_job(make: Make, tmp_path: Path) -> None:
    names = (
        "$RUNBUS_HET_GROUP $RUNBUS_NNODES.$RUNBUS_NODE_RANK $RANK.$WORLD_SIZE.$LOCAL_RANK "
        "$RUNBUS_GPUS_PER_NODE"
    )
    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell(f"echo {names}; echo $RUNBUS_NODE_IPS >&2"))

    assert sorted(ended.stdout.decode().splitlines()) == [
        "0 3.0 0.5.0 0", "1 3.1 1.5.0 1", "1 3.1 2.5.1 1", "1 3.2 3.5.0 1", "1 3.2 4.5.1 1",
    ]  # fmt: skip
    (machines,) = {line for line in ended.stderr.decode().splitlines() if line.startswith("node")}
    assert sorted(machines.split(",")) == ["node1", "node2", "node3"]
    assert ended.seen.exit_code == 0


async def test_a_task_that_fails_in_any_component_fails_the_job(make: Make, tmp_path: Path) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell("[ $RANK != 3 ] || exit 9; exec sleep 600"))

    assert ended.seen.exit_code not in {0, None}
    assert b"exit code 9" in ended.stderr


async def test_it_is_cancelled_as_a_whole(make: Make, tmp_path: Path, slurm: Slurm) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")
        seen = await harness.phase(ref, "running")
        (number,) = numbers(tmp_path)
        await harness.executor.cancel([ref], 1)
        ended = await harness.end(ref)
        await anyio.to_thread.run_sync(wait_until, lambda: not alive(slurm, number))

    assert (seen.native_state, "[" in seen.host) == ("RUNNING", True)
    assert ended.seen.reason == "cancelled"


async def test_one_that_waits_says_why_and_leaves_nothing_when_it_is_cancelled(
    make: Make, tmp_path: Path, slurm: Slurm
) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
        ref = await harness.submit(harness.shell("echo ran"))
        await harness.phase(ref, "queued")
        (number,) = numbers(tmp_path)
        assert len(alive(slurm, number)) == 2
        await harness.executor.cancel([ref], 1)
        ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.native_state) == (b"", "CANCELLED")
    assert not alive(slurm, number)


async def test_its_components_that_an_administrator_ends_are_told_as_that(
    make: Make, tmp_path: Path, slurm: Slurm
) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
        await harness.output(ref, b"up")
        (number,) = numbers(tmp_path)
        slurm.ask("scancel", number)
        ended = await harness.end(ref)

    assert ended.seen.reason.startswith("cancelled in Slurm")


async def test_one_whose_number_was_lost_is_found_by_its_name(
    make: Make, tmp_path: Path, slurm: Slurm
) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        job = harness.shell("echo ran; exec sleep 600")
        ref = await harness.submit(job)
        await harness.output(ref, b"ran")
        (kept,) = kept_in(tmp_path)
        number = kept.read_text()
        kept.unlink()
        for name in ("pid", "exit"):
            (kept.parent / f"{name}.json").rename(kept.parent / f"{name}.later")

        await harness.restart()
        found, again = await harness.executor.find(job), await harness.submit(job)

        assert found == again == ref
        assert kept.read_text() == number
        assert len(alive(slurm, number.strip())) == 2


async def test_jobs_that_ask_for_the_same_go_one_by_one(make: Make, tmp_path: Path) -> None:
    async with Harness(make, str(tmp_path / "here")) as harness:
        refs = await harness.submit_all([harness.shell(f"exit {code}") for code in (0, 3)])
        ended = [await harness.end(ref) for ref in refs]

    assert [bool(one.seen.exit_code) for one in ended] == [False, True]
    assert not any("_" in number for number in numbers(tmp_path))


def test_a_batch_says_its_components_and_shows_the_output_of_each_machine(
    slurm: Slurm, tmp_path: Path
) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "RUNBUS_SYSTEM": "0"}
    (tmp_path / "batch.yaml").write_text(f"""\
project: mixed
jobs: [{{name: tells, command: [sh, -c, 'echo $RUNBUS_HET_GROUP'], executor: mixed}}]
executors:
  mixed:
    type: slurm
    job_dir: {tmp_path}/far
    poll_s: 0.5
    launcher: torchrun
    setup_lines: ['export PATH={tmp_path}/bin:$PATH']
    resource_group:
      - {{partition: debug, nodes: 2}}
      - {{partition: auto, time: "5", mem: 300M, gpus_per_node: 1}}
""")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "torchrun"
    program.write_text('#!/bin/sh\necho "$1" "$2"; while [ "$1" != --no-python ]; do shift; done\n'
                       'shift; exec "$@"\n')  # fmt: skip
    program.chmod(0o755)

    def runbus(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words], env=home, cwd=tmp_path, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    ran = runbus("submit", "batch.yaml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    each = [runbus("logs", "tells", "--node", str(node)).stdout for node in range(3)]
    assert each == [f"--nnodes=3 --nproc-per-node=1\n{group}\n" for group in (0, 0, 1)]


def numbers(tmp_path: Path) -> list[str]:
    """Return what Slurm calls the jobs that it was handed."""
    return [one.read_text().strip() for one in kept_in(tmp_path)]


def kept_in(tmp_path: Path) -> list[Path]:
    """Return the files in which the numbers of jobs are kept."""
    return [*tmp_path.glob("far/*/jobs/*/*/slurm.id")]


def alive(slurm: Slurm, number: str) -> list[str]:
    """Return the components of a job that wait or run."""
    asked = ("-t", "PD,CF,R,CG", "-o", "%i")
    rows = slurm.ask("squeue", "-h", *asked).split()
    return [row for row in rows if row.partition("+")[0] == number]
