"""What goes wrong in a real cluster while jobs run: no wrong end, and no job twice."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from runbus.abc import JobRef, Observation
from runbus.attempt import TIME_LIMIT
from runbus.executors import SlurmExecutor
from runbus.executors._slurm.verdict import RECORD_S
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]


async def test_a_controller_that_starts_anew_knows_the_jobs_that_run(
    harness: Harness, slurm: Slurm
) -> None:
    ref = await harness.submit(harness.shell("echo up; sleep 3; echo on; exit 6"))
    await harness.output(ref, b"up")
    await anyio.to_thread.run_sync(slurm.stop_controller)
    await anyio.to_thread.run_sync(slurm.start_controller)

    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 6)


@pytest.mark.timeout(600)
async def test_a_controller_that_is_down_for_two_minutes_changes_no_end(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    waits = await harness.submit(harness.shell("echo ran"))
    await harness.phase(waits, "queued")
    harness.executor.__dict__.update(additional_parameters={})
    go = tmp_path / "go"
    until_told = f"echo up; until [ -e {go} ]; do sleep 0.1; done; echo on; exit 6"
    recorded, killed, lives = [
        await harness.submit(harness.shell(script))
        for script in (until_told, "echo up; exec sleep 600", "echo up; exec sleep 600")
    ]
    for ref in (recorded, killed, lives):
        # Slurm has said so: what it said last stands while it is silent.
        await harness.phase(ref, "running")
        await harness.output(ref, b"up")
    number = number_of(tmp_path, 3)
    await anyio.to_thread.run_sync(slurm.stop_controller)
    try:
        down_since = time.monotonic()
        go.touch()
        slurm.kill_job(number)
        ended = await harness.end(recorded)
        # Two minutes are what is tested: Slurm's own programs give up, and so do its machines.
        while time.monotonic() - down_since < 120:
            seen = await harness.executor.observe([killed, lives, waits])
            assert [seen[one].phase for one in (killed, lives, waits)] == [
                "running", "running", "queued"
            ]  # fmt: skip
            await harness.executor.wait_for_change(1)
    finally:
        await anyio.to_thread.run_sync(slurm.start_controller)
    died = await seen_in(harness, killed, "ended", 120)
    begin_now(slurm)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\non\n", 6)
    assert (died.signal, died.reason) == (9, "FAILED for Slurm")
    assert (await seen_in(harness, waits, "ended", 120)).exit_code == 0
    assert (await harness.executor.observe([lives]))[lives].phase == "running"
    await harness.executor.cancel([lives], 0.0)
    assert (await seen_in(harness, lives, "ended", 120)).reason.startswith("cancelled")


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
    await anyio.to_thread.run_sync(wait_until, lambda: code_in_accounts(slurm, tmp_path) == "6:0")


async def test_a_folder_that_is_gone_when_the_job_begins_is_told(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
    ref = await harness.submit(harness.shell("echo ran"))
    await harness.phase(ref, "queued")
    take_away(tmp_path)
    begin_now(slurm)

    ended = await harness.end(ref)

    assert ended.seen.reason.startswith("its folder cannot be reached")
    # A record is not waited for anew; a machine that stalls makes it late once, not three times.
    took_s: list[float] = []
    while len(took_s) < 3 and min(took_s, default=RECORD_S) >= RECORD_S * 0.8:
        began = time.monotonic()
        assert (await harness.phase(ref, "ended")) == ended.seen
        took_s.append(time.monotonic() - began)
    assert min(took_s) < RECORD_S * 0.8


async def test_a_job_that_ended_while_nobody_looked_is_told_from_its_record(
    harness: Harness, slurm: Slurm
) -> None:
    """Also when its number is gone from the queue: it is the record that counts."""
    job = harness.shell("echo up; sleep 0.5; exit 6")
    ref = await harness.submit(job)
    await harness.output(ref, b"up")
    async with harness.away():
        await anyio.to_thread.run_sync(wait_until, lambda: not slurm.running())

    ended = await harness.end(ref)

    assert (ended.stdout, ended.seen.exit_code) == (b"up\n", 6)


async def test_a_folder_that_cannot_be_written_when_the_job_begins_is_told(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    (tmp_path / "far").mkdir()
    with mounted(tmp_path / "far") as make_unwritable:
        harness.executor.__dict__.update(additional_parameters={"begin": "now+1hour"})
        ref = await harness.submit(harness.shell("echo ran"))
        await harness.phase(ref, "queued")
        make_unwritable()
        begin_now(slurm)

        ended = await harness.end(ref)

    assert ended.seen.reason.startswith("its folder cannot be written on node")


async def test_a_job_is_warned_before_its_time_is_over_and_then_ended_by_slurm(
    tmp_path: Path, slurm: Slurm
) -> None:
    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5, signal="USR1@90")

    script = "trap 'echo warned' USR1; echo up; while :; do sleep 0.05; done"
    async with Harness(make, str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell(script))
        await harness.output(ref, b"up")
        number = number_of(tmp_path, 1)
        slurm.ask("scontrol", "update", f"JobId={number}", "EndTime=now+40")
        # The controller looks at the time twice a minute, and gives ten seconds after TERM.
        seen = await seen_in(harness, ref, "ended", 150)

    assert harness.log(ref, "stdout.log") == b"up\nwarned\n"
    assert seen.reason == TIME_LIMIT


async def test_a_job_that_an_administrator_puts_back_into_the_queue_counts_as_preempted(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    number = number_of(tmp_path, 1)
    slurm.ask("scontrol", "update", f"JobId={number}", "Requeue=1")
    slurm.ask("scontrol", "requeue", number)

    seen = await seen_in(harness, ref, "preempted", 120)

    assert seen.reason == "put back into Slurm's queue by somebody"
    # It would begin again there, in a folder whose attempt has ended.
    waiting = ("squeue", "-h", "-j", number, "-o", "%T")
    await anyio.to_thread.run_sync(wait_until, lambda: "PENDING" not in slurm.ask(*waiting))


async def test_a_job_whose_machine_is_gone_for_good_is_lost(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")
    number = number_of(tmp_path, 1)
    node = int(slurm.ask("squeue", "-h", "-j", number, "-o", "%N").strip().removeprefix("node"))
    slurm.kill_node(node)
    slurm.kill_job(number, with_steps=True)
    slurm.ask("scontrol", "update", f"NodeName=node{node}", "State=DOWN", "Reason=burnt")
    try:
        seen = await seen_in(harness, ref, "gone", 120)
    finally:
        slurm.start_node(node)
        await anyio.to_thread.run_sync(wait_until, lambda: is_up(slurm, node))

    assert seen.native_state == "NODE_FAIL"
    assert seen.reason == "NODE_FAIL for Slurm, and left no record of its end"


def code_in_accounts(slurm: Slurm, tmp_path: Path) -> str:
    """Return what the accounts say of the end of the only job."""
    (number,) = tmp_path.glob("far/*/jobs/*/1/slurm.id")
    asked = ("sacct", "-n", "-X", "-o", "exitcode", "-j", number.read_text().strip())
    return slurm.ask(*asked).strip()


def number_of(tmp_path: Path, job: int) -> str:
    """Return what Slurm calls one of a test's jobs, which are counted from 1.

    Those that run are not asked for: one of another test may still be on its way out.
    """
    (number,) = tmp_path.glob(f"far/*/jobs/{job}-*/1/slurm.id")
    return number.read_text().strip()


def take_away(tmp_path: Path) -> None:
    for folder in tmp_path.glob("far/*/jobs/*/1"):
        folder.rename(f"{folder}.gone")


async def seen_in(harness: Harness, ref: JobRef, phase: str, seconds: float) -> Observation:
    """Return a job as it is once it is in a phase."""
    with anyio.fail_after(seconds):
        while True:
            seen = (await harness.executor.observe([ref])).get(ref)
            if seen is not None and seen.phase == phase:
                return seen
            await harness.executor.wait_for_change(0.1)


def begin_now(slurm: Slurm) -> None:
    """Have the jobs that wait for their time begin."""
    for job in slurm.ask("squeue", "-h", "-t", "PD", "-o", "%A").split():
        slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now")


@contextmanager
def mounted(folder: Path) -> Iterator[Callable[[], object]]:
    """Have a folder on a disk of its own; yield what makes it one that cannot be written."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def is_up(slurm: Slurm, node: int) -> bool:
    """Whether a machine has told the controller that it is back."""
    state = slurm.ask("sinfo", "-h", "-N", "-n", f"node{node}", "-p", "debug", "-o", "%t").strip()
    return state in {"idle", "comp", "mix", "alloc"}
