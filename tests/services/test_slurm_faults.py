"""What goes wrong in a real cluster while jobs run: no wrong end, and no job twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from runbus.executors import SlurmExecutor
from runbus.executors._slurm.verdict import RECORD_S
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm, until

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


async def test_a_controller_that_starts_anew_knows_the_jobs_that_run(
    harness: Harness, slurm: Slurm
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 3; echo on; exit 6"))
    await harness.output(ref, b"up")
    await anyio.to_thread.run_sync(slurm.stop_controller)
    await anyio.to_thread.run_sync(slurm.start_controller)

    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 6)


async def test_a_slurmd_that_is_killed_and_starts_again_loses_no_job(
    harness: Harness, slurm: Slurm
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 3; echo on; exit 6"))
    await harness.output(ref, b"up")
    for number in (1, 2, 3):
        await anyio.to_thread.run_sync(slurm.kill_node, number)
        await anyio.to_thread.run_sync(slurm.start_node, number)

    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 6)


async def test_accounts_that_are_down_at_the_end_of_a_job_change_nothing(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 1; exit 6"))
    await harness.output(ref, b"up")
    await anyio.to_thread.run_sync(slurm.stop_accounts)
    try:
        ended = await harness.end(ref)
    finally:
        await anyio.to_thread.run_sync(slurm.start_accounts)

    assert ended.seen.exit_code == 6
    # The controller takes its time to find them again: the tests that follow need what they tell.
    await anyio.to_thread.run_sync(until, lambda: code_in_accounts(slurm, tmp_path) == "6:0")


async def test_a_folder_that_is_gone_when_the_job_begins_is_told(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    ref = await harness.submit(harness.shell("echo ran"))
    await harness.phase(ref, "queued")
    take_away(tmp_path)
    jobs = slurm.ask("squeue", "-h", "-t", "PD", "-o", "%A").split()
    for job in jobs:
        slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")

    ended = await harness.end(ref)

    assert ended.seen.reason.startswith("its folder cannot be reached")
    with anyio.fail_after(RECORD_S * 0.8):  # a record is not waited for anew
        assert (await harness.phase(ref, "ended")) == ended.seen


async def test_a_job_that_ended_while_nobody_looked_is_told_from_its_record(
    harness: Harness, slurm: Slurm
) -> None:
    """Also when its number is gone from the queue: it is the record that counts."""
    job = harness.shell("echo up; sleep 0.5; exit 6")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")
    await harness._leave()
    await anyio.to_thread.run_sync(until, lambda: not slurm.running())
    await harness._enter()

    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\n", 6)


def code_in_accounts(slurm: Slurm, tmp_path: Path) -> str:
    """Return what the accounts say of the end of the only job."""
    (number,) = tmp_path.glob("far/*/jobs/*/1/slurm.id")
    asked = ("sacct", "-n", "-X", "-o", "exitcode", "-j", number.read_text().strip())
    return slurm.ask(*asked).strip()


def take_away(tmp_path: Path) -> None:
    for folder in tmp_path.glob("far/*/jobs/*/1"):
        folder.rename(f"{folder}.gone")
