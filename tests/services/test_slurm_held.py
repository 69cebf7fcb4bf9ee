"""Jobs that somebody holds back in a real cluster: they wait, say why, and begin once released."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from runbus.abc import JobRef, Observation
from runbus.executors import SlurmExecutor
from runbus.testing._waiting import wait_until
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm
from runbus.testing.slurmrestd import slurmrestd

from .test_slurm_after import Batch

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]


@pytest.fixture(params=["programs", "slurmrestd"])
async def harness(
    request: pytest.FixtureRequest, slurm: Slurm, tmp_path: Path
) -> AsyncIterator[Harness]:
    """Submits jobs that are held."""
    held = {"additional_parameters": {"hold": True}}
    with slurmrestd(slurm, "socket") as server:
        rest = server.address if request.param == "slurmrestd" else None

        def make() -> SlurmExecutor:
            return SlurmExecutor(job_dir=str(tmp_path / "far"), rest=rest, poll_s=0.5, **held)  # type: ignore[arg-type]

        async with Harness(make, str(tmp_path / "here")) as harness:
            yield harness


def numbers(tmp_path: Path) -> list[str]:
    """Return the numbers that Slurm has given to attempts."""
    return [path.read_text().strip() for path in tmp_path.glob("far/*/jobs/*/1/slurm.id")]


async def waits_for(harness: Harness, ref: JobRef, reason: str) -> Observation:
    """Return a job once it waits for that reason; it waits all the time."""
    with anyio.fail_after(120):
        while True:
            seen = (await harness.executor.observe([ref])).get(ref)
            assert seen is None or seen.phase == "queued"
            if seen is not None and seen.reason == reason:
                return seen
            await harness.executor.wait_for_change(0.05)


async def test_a_job_that_is_held_waits_whoever_holds_it_and_runs_once_released(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    ref = await harness.submit(harness.shell("echo ran; exit 6"))
    by_user = await waits_for(harness, ref, "JobHeldUser")
    (number,) = numbers(tmp_path)
    slurm.ask("scontrol", "hold", number)
    by_admin = await waits_for(harness, ref, "JobHeldAdmin")
    async with harness.away():
        slurm.stop_controller()
        slurm.start_controller()
    await waits_for(harness, ref, "JobHeldAdmin")
    slurm.ask("scontrol", "release", number)

    ended = await harness.end(ref)

    assert by_user.native_state == "PENDING (JobHeldUser)"
    assert by_admin.native_state == "PENDING (JobHeldAdmin)"
    assert (ended.stdout, ended.seen.exit_code) == (b"ran\n", 6)


async def test_one_element_is_released_and_another_is_cancelled_while_the_others_are_held(
    harness: Harness, slurm: Slurm, tmp_path: Path
) -> None:
    refs = await harness.submit_all([harness.shell("echo ran") for _ in range(4)])
    for ref in refs:
        await waits_for(harness, ref, "JobHeldUser")
    array = numbers(tmp_path)[0].partition("_")[0]
    slurm.ask("scontrol", "release", f"{array}_1")

    ended = await harness.end(refs[1])
    await harness.executor.cancel([refs[2]], 60)
    cancelled = await harness.end(refs[2])
    others = [await waits_for(harness, ref, "JobHeldUser") for ref in (refs[0], refs[3])]

    assert ended.stdout == b"ran\n"
    assert (cancelled.stdout, cancelled.seen.native_state) == (b"", "CANCELLED")
    assert [one.phase for one in others] == ["queued", "queued"]


def test_status_and_why_tell_that_a_job_is_held(slurm: Slurm, tmp_path: Path) -> None:
    batch = Batch(slurm, tmp_path)
    batch.job("p", executor="later")
    batch.job("q", depends_on=["p"])
    leader = batch.submit()
    parent = min(batch.numbers(), key=int)
    slurm.ask("scontrol", "hold", parent)
    wait_until(lambda: "PENDING (JobHeldAdmin)" in batch.command("status"))
    states, why = batch.states(), batch.command("why", "p")
    slurm.ask("scontrol", "release", parent)
    slurm.ask("scontrol", "update", f"JobId={parent}", "StartTime=now")
    leader.communicate(timeout=120)

    assert states == {"p": "QUEUED", "q": "QUEUED"}
    assert "later has taken it and not started it yet: PENDING (JobHeldAdmin)" in why
    assert batch.states() == {"p": "SUCCEEDED", "q": "SUCCEEDED"}
