"""Groups of jobs on a real cluster: one heterogeneous job of Slurm, and each a job of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Resources
from runbus.executors import SlurmExecutor
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
async def harness(rest: str | None, calls: Calls, tmp_path: Path) -> AsyncIterator[Harness]:
    def make() -> SlurmExecutor:
        return SlurmExecutor(rest=rest, job_dir=str(tmp_path / "a höme"), poll_s=0.5)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


def grouped(*jobs: JobSpec) -> list[JobSpec]:
    return [replace(job, group="pair") for job in jobs]


def number_of(tmp_path: Path) -> str:
    """Return what Slurm calls the only job that it was handed."""
    (number,) = set(numbers(tmp_path))
    return number


def numbers(tmp_path: Path) -> list[str]:
    """Return what Slurm calls each of the jobs that it was handed."""
    return [one.read_text().strip() for one in tmp_path.glob("*/*/jobs/*/*/slurm.id")]


def forget_numbers(tmp_path: Path) -> None:
    for one in tmp_path.glob("*/*/jobs/*/*/slurm.id"):
        one.unlink()


def alive(slurm: Slurm, number: str) -> list[str]:
    """Return the components of a job that wait or run."""
    rows = slurm.ask("squeue", "-h", "-t", "PD,CF,R,CG", "-o", "%i").split()
    return sorted(row for row in rows if row.partition("+")[0] == number)


def meeting(tmp_path: Path, own: str, other: str, then: str) -> str:
    """Return a script that ends only if the other one runs while it does."""
    return (
        f"echo $$ >{tmp_path}/{own}; until [ -e {tmp_path}/{other} ]; do sleep 0.05; done; {then}"
    )


async def test_members_begin_as_one_job_and_each_ends_as_itself(
    harness: Harness, calls: Calls, tmp_path: Path, rest: str | None, slurm: Slurm
) -> None:
    told = "echo $RUNBUS_HET_GROUP $RUNBUS_NNODES.$RUNBUS_NODE_RANK $RUNBUS_GPUS_PER_NODE"
    told = f"echo $SLURM_JOB_NODELIST_HET_GROUP_0 >&2; {told} ${{CUDA_VISIBLE_DEVICES:+seen}}"
    one, other = grouped(
        harness.shell(meeting(tmp_path, "a", "b", f"{told}; exit 3")),
        harness.shell(meeting(tmp_path, "b", "a", f"{told}; exit 0"), resources=Resources(gpus=1)),
    )
    alone = harness.shell("echo $RUNBUS_HET_GROUP.")

    refs = await harness.submit_all([one, other, alone])
    ended = [await harness.end(ref) for ref in refs]

    assert [one.seen.exit_code for one in ended] == [3, 0, 0]
    assert [one.stdout for one in ended] == [b"0 1.0 0\n", b"1 1.0 1 seen\n", b".\n"]
    assert ended[0].stderr == ended[1].stderr != b""
    assert sorted(Counter(numbers(tmp_path)).values()) == [1, 2]
    assert calls()["sbatch"] == (0 if rest else 2)
    rows = slurm.ask("squeue", "-h", "-t", "all", "-o", "%i %j").splitlines()
    assert len([row for row in rows if "+" in row and "job-" in row]) >= 2


async def test_one_that_is_cancelled_ends_and_leaves_the_other_to_who_leads(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    go = tmp_path / "go"
    one, other = await harness.submit_all(
        grouped(
            harness.shell(f"echo up; until [ -e {go} ]; do sleep 0.05; done; echo went"),
            harness.shell("trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.1; done"),
        )
    )
    for ref in (one, other):
        await harness.output(ref, b"up")

    await harness.executor.cancel([other], 20)
    cancelled = await harness.end(other)
    (seen,) = (await harness.executor.observe([one])).values()
    go.touch()
    ended = await harness.end(one)

    assert (cancelled.stdout, cancelled.seen.reason) == (b"up\ntold\n", "cancelled")
    assert (seen.phase, ended.seen.exit_code, ended.stdout) == ("running", 0, b"up\nwent\n")
    number = number_of(tmp_path)
    await until(lambda: not alive(slurm, number))


async def test_one_that_is_cancelled_while_they_wait_takes_all_of_them_out_of_the_queue(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    refs = await harness.submit_all(grouped(harness.shell("echo ran"), harness.shell("echo ran")))
    seen = [await harness.phase(ref, "queued") for ref in refs]
    number = number_of(tmp_path)
    waiting = alive(slurm, number)
    await harness.executor.cancel(refs[1:], 1)
    ended = [await harness.end(ref) for ref in refs]

    assert {one.native_state.partition(" ")[0] for one in seen} == {"PENDING"}
    assert waiting == [f"{number}+0", f"{number}+1"]
    assert [(one.stdout, one.seen.native_state) for one in ended] == [(b"", "CANCELLED")] * 2
    assert not alive(slurm, number)


async def test_a_component_that_an_administrator_ends_is_told_as_that(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    one, other = await harness.submit_all(
        grouped(harness.shell("echo up; exec sleep 600"), harness.shell("echo up; exec sleep 600"))
    )
    for ref in (one, other):
        await harness.output(ref, b"up")
    slurm.ask("scancel", f"{number_of(tmp_path)}+1")
    ended = await harness.end(other)
    (seen,) = (await harness.executor.observe([one])).values()

    assert ended.seen.reason.startswith("cancelled in Slurm")
    assert seen.phase == "running"


async def test_they_have_the_time_that_slurm_gives_them_if_all_of_them_are_ended(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    saves = "trap 'sleep 1; echo saved; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    refs = await harness.submit_all(grouped(harness.shell(saves), harness.shell(saves)))
    for ref in refs:
        await harness.output(ref, b"up")
    slurm.ask("scancel", number_of(tmp_path))
    ended = [await harness.end(ref) for ref in refs]

    assert [one.stdout for one in ended] == [b"up\nsaved\n"] * 2


async def test_members_whose_number_was_lost_are_found_by_their_names(
    harness: Harness, tmp_path: Path, slurm: Slurm
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    jobs = grouped(harness.shell("echo ran"), harness.shell("echo ran"))
    refs = await harness.submit_all(jobs)
    number = number_of(tmp_path)
    forget_numbers(tmp_path)

    await harness.restart()
    found = [await harness.executor.find(job) for job in jobs]
    again = await harness.submit_all(jobs)

    assert found == again == refs
    assert number_of(tmp_path) == number
    assert len(alive(slurm, number)) == 2


class Batch:
    """A batch of a group of two, and the program that runs it."""

    def __init__(self, slurm: Slurm, tmp_path: Path, text: str) -> None:
        self.env = {
            **slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "RUNBUS_SYSTEM": "0",
        }  # fmt: skip
        self.folder = tmp_path
        (tmp_path / "batch.yaml").write_text(text)

    def runbus(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._words(*words), env=self.env, cwd=self.folder, text=True, capture_output=True,
            timeout=120, check=False,
        )  # fmt: skip

    def begin(self, **env: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._words("submit", "batch.yaml"), env={**self.env, **env}, cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runbus.cli", *words]


_PAIR = """\
project: pair
jobs:
  - {{name: server, group: pair, command: [sh, -c, '{server}'], executor: one}}
  - {{name: client, group: pair, command: [sh, -c, '{client}'], executor: two}}
  - {{name: report, depends_on: [pair], command: [sh, -c, 'echo report >>{ran}'], executor: one}}
executors:
  one: {{type: slurm, job_dir: {far}, poll_s: 0.5}}
  two: {{type: slurm, job_dir: {far}, poll_s: 0.5, nodes: 2, ntasks_per_node: 2, launcher: srun}}
"""


@pytest.fixture
def pair(slurm: Slurm, tmp_path: Path) -> Callable[[str, str], Batch]:
    def make(server: str, client: str) -> Batch:
        far, ran = tmp_path / "far", tmp_path / "ran"
        return Batch(slurm, tmp_path, _PAIR.format(server=server, client=client, far=far, ran=ran))

    return make


def test_members_of_several_executors_are_one_job_and_others_wait_for_all_of_it(
    pair: Callable[[str, str], Batch], tmp_path: Path
) -> None:
    batch = pair(
        f"until [ -e {tmp_path}/asked ]; do sleep 0.05; done; echo ended >>{tmp_path}/ran",
        f"echo $RUNBUS_HET_GROUP $RANK.$WORLD_SIZE $RUNBUS_NODE_RANK.$RUNBUS_NNODES; "
        f": >{tmp_path}/asked",
    )

    ran = batch.runbus("submit", "batch.yaml")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = [batch.runbus("logs", "client", "--node", str(node)).stdout for node in range(2)]
    assert [sorted(text.splitlines()) for text in lines] == [
        ["1 0.4 0.2", "1 1.4 0.2"], ["1 2.4 1.2", "1 3.4 1.2"],
    ]  # fmt: skip
    assert (tmp_path / "ran").read_text() == "ended\nreport\n"
    kept = {path.parts[-3]: path.read_text() for path in tmp_path.glob("far/*/jobs/*/*/slurm.id")}
    assert kept["1-server"] == kept["2-client"] != kept["3-report"]


def test_the_failure_of_one_ends_the_other(
    pair: Callable[[str, str], Batch], tmp_path: Path
) -> None:
    batch = pair(
        f": >{tmp_path}/up; exec sleep 600",
        f"until [ -e {tmp_path}/up ]; do sleep 0.05; done; exit 4",
    )

    ran = batch.runbus("submit", "batch.yaml")

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert states(batch) == {"server": "CANCELLED", "client": "FAILED", "report": "SKIPPED"}
    assert "'client' of its group ended as FAILED" in batch.runbus("why", "server").stdout


def test_it_does_so_while_nobody_leads_and_who_attaches_is_told(
    pair: Callable[[str, str], Batch], tmp_path: Path
) -> None:
    batch = pair(
        f": >{tmp_path}/up; exec sleep 600",
        f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; exit 4",
    )
    leader = batch.begin()
    try:
        wait_until((tmp_path / "up").exists)
    finally:
        leader.kill()
        leader.wait()
    (tmp_path / "go").touch()
    (end,) = wait_until(lambda: [*tmp_path.glob("far/*/jobs/1-server/1/exit.json")])
    wait_until(lambda: "cancelled" in end.read_text())

    done = batch.runbus("attach")

    assert done.returncode == 1, done.stdout + done.stderr
    assert states(batch) == {"server": "CANCELLED", "client": "FAILED", "report": "SKIPPED"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_leader_that_is_killed_amid_the_submit_of_a_group_runs_each_job_once(
    pair: Callable[[str, str], Batch], tmp_path: Path, moment: str
) -> None:
    ran, called = tmp_path / "ran", tmp_path / "called"
    batch = pair(f"echo server >>{ran}", f"[ $RANK != 0 ] || echo client >>{ran}")
    real = "$(PATH=${PATH#*:}; command -v sbatch)"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sbatch"
    submit = f'"{real}" "$@" >/dev/null; ' if moment == "after" else ""
    program.write_text(f"#!/bin/sh\n{submit}: >{called}; exec sleep 20\n")
    program.chmod(0o755)
    first = batch.begin(PATH=f"{program.parent}:{batch.env['PATH']}")
    try:
        wait_until(called.exists)
    finally:
        first.kill()
        first.wait()

    done = batch.runbus("attach")

    assert done.returncode == 0, done.stdout + done.stderr
    assert Counter(ran.read_text().split()) == Counter(["server", "client", "report"])


def states(batch: Batch) -> dict[str, str]:
    rows = json.loads(batch.runbus("status", "--json").stdout)
    return {one["name"]: one["state"] for one in rows}
