"""GPUs of a machine behind a tunnel: lent to one job at a time, whichever process launched it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec, Resources
from runbus.errors import JobNotStarted
from runbus.executors import SSHExecutor
from runbus.executors._gpus import GpuPool
from runbus.executors._look import look_script
from runbus.executors._placement import Placement
from runbus.testing._waiting import until, wait_until
from runbus.testing.conformance.executor import Harness
from runbus.transports import LocalTunnel

SHOWS = 'echo "<$CUDA_VISIBLE_DEVICES>"'


@pytest.fixture
def names() -> list[str]:
    """Return GPUs that nobody else on this machine lends."""
    return [f"test-{os.urandom(4).hex()}-{number}" for number in range(2)]


def maker(tmp_path: Path, *gpus: str) -> Callable[[], SSHExecutor]:
    return lambda: SSHExecutor([LocalTunnel(str(tmp_path / "there"))], slots=16, gpus=gpus)


async def lease(names: list[str], count: int, holder: Path) -> list[str] | None:
    """Lease GPUs as soon as that many are free: a look of another process is in the way, too."""
    return await until(lambda: GpuPool(names).try_lease(count, str(holder)))


@pytest.fixture
async def harness(tmp_path: Path, names: list[str]) -> AsyncIterator[Harness]:
    async with Harness(maker(tmp_path, *names), str(tmp_path / "here")) as harness:
        yield harness


async def test_jobs_at_once_get_gpus_of_their_own(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    # A folder can be made once, and goes with its job: what is told of times comes a little later.
    alone = f"""
        {SHOWS}; mkdir "in $CUDA_VISIBLE_DEVICES" || exit 9; touch "seen $CUDA_VISIBLE_DEVICES"
        until [ -e 'seen {names[0]}' ] && [ -e 'seen {names[1]}' ]; do sleep 0.02; done
        sleep 0.2; rmdir "in $CUDA_VISIBLE_DEVICES"
    """
    jobs = [harness.shell(alone, cwd=str(tmp_path), resources=Resources(gpus=1)) for _ in range(4)]
    ends: list[tuple[bytes, int | None]] = []

    async def run(job: JobSpec) -> None:
        ended = await harness.run(job)
        ends.append((ended.stdout, ended.seen.exit_code))

    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(run, job)

    assert [code for _, code in ends] == [0] * 4
    assert {shown for shown, _ in ends} == {f"<{name}>\n".encode() for name in names}


def lent(names: list[str]) -> set[str]:
    """Return those of some GPUs that this machine has a file of."""
    files = os.listdir(f"/dev/shm/runbus-gpus-{os.getuid()}")
    return {name for name in names if f"gpu-{name}" in files}


async def test_what_was_lent_to_a_job_leaves_no_file_on_its_machine(
    harness: Harness, names: list[str]
) -> None:
    job = harness.shell("sleep 600", resources=Resources(gpus=2))
    ref = await harness.submit(job)
    assert lent(names) == {*names}
    await harness.executor.cancel([ref], 0)
    await harness.end(ref)
    assert lent(names) == set()


async def test_nor_does_a_job_that_could_not_be_started(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    await harness.run(harness.shell("true"))  # so that there are folders
    for folder in (tmp_path / "there").glob("*/jobs"):
        folder.rename(f"{folder}-away")
        folder.write_text("no folder")

    with pytest.raises(JobNotStarted):
        await harness.submit(harness.shell("true", resources=Resources(gpus=2)))

    assert lent(names) == set()


async def test_a_job_keeps_its_gpu_when_whoever_launched_it_is_gone(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    ref = await harness.submit(
        harness.shell(f"{SHOWS}; exec sleep 600", resources=Resources(gpus=2))
    )
    assert await harness.output(ref, b">") == f"<{','.join(names)}>\n".encode()

    await harness.restart()

    # Local executors on that machine go by the same leases.
    pool = GpuPool(names)
    assert pool.try_lease(1, str(tmp_path)) is None
    await harness.executor.cancel([ref], 60)
    await harness.end(ref)
    await lease(names, 2, tmp_path)
    pool.give_back(str(tmp_path))


async def test_a_process_that_is_left_behind_keeps_no_gpu(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    left = "sleep 600 </dev/null >/dev/null 2>&1 & echo $!"
    done = await harness.run(harness.shell(left, resources=Resources(gpus=2)))

    try:
        assert await lease(names, 2, tmp_path) == names
    finally:
        GpuPool(names).give_back(str(tmp_path))
        os.kill(int(done.stdout), signal.SIGKILL)


async def test_a_job_waits_for_gpus_that_others_have(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    assert await lease(names, 1, tmp_path) == names[:1]
    one = await harness.run(harness.shell(SHOWS, resources=Resources(gpus=1)))
    with anyio.move_on_after(1.5) as waited:
        await harness.submit(both := harness.shell(SHOWS, resources=Resources(gpus=2)))
    GpuPool(names).give_back(str(tmp_path))

    assert one.stdout == f"<{names[1]}>\n".encode()
    assert waited.cancelled_caught
    assert (await harness.run(both)).stdout == f"<{','.join(names)}>\n".encode()


async def test_a_job_without_gpus_holds_none(
    harness: Harness, names: list[str], tmp_path: Path
) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 600"))
    await harness.output(ref, b"up")

    assert await lease(names, 2, tmp_path) == names
    GpuPool(names).give_back(str(tmp_path))


def test_that_gpus_are_given_back_is_looked_for_once_however_many_jobs_have_ended(
    names: list[str], tmp_path: Path
) -> None:
    """Files that somebody left behind must not make each end slower."""
    ended = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "exit.json").write_text('{"status":0}\n')
        placed = Placement(host="", folder=str(folder), run_folder="/r", local_run_folder="r")
        ended.append(placed)
    # As soon as nobody else looks at the leases of this machine.
    assert wait_until(lambda: GpuPool(names).try_lease(2, str(tmp_path / "other"))) == names
    script = look_script(ended)

    done = subprocess.run(
        ["bash", "-x"], input=script, capture_output=True, check=True, timeout=120
    )
    GpuPool(names).give_back(str(tmp_path / "other"))

    assert 0 < done.stderr.count(names[0].encode()) < 10


async def test_many_gpus_with_odd_names_are_lent_together(tmp_path: Path) -> None:
    names = [f"GPU-{os.urandom(4).hex()}/x y" for _ in range(9)]
    async with Harness(maker(tmp_path, *names), str(tmp_path / "here")) as harness:
        ref = await harness.submit(
            harness.shell(f"{SHOWS}; exec sleep 600", resources=Resources(gpus=9))
        )

        assert await harness.output(ref, b">") == f"<{','.join(names)}>\n".encode()
        assert GpuPool(names).try_lease(1, str(tmp_path)) is None


async def test_a_machine_that_has_too_few_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"test-{os.urandom(4).hex()}" for _ in range(2)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{names[0]}, {names[1]}, -1")
    make = lambda: SSHExecutor([LocalTunnel(str(tmp_path / "there"))])  # noqa: E731
    async with Harness(make, str(tmp_path / "here")) as harness:
        assert (
            await harness.run(harness.shell(SHOWS, resources=Resources(gpus=2)))
        ).stdout == f"<{','.join(names)}>\n".encode()
        with pytest.raises(JobNotStarted, match="it has no 3 GPUs"):
            await harness.submit(harness.shell(SHOWS, resources=Resources(gpus=3)))


async def test_a_job_that_is_submitted_again_needs_no_second_gpu(
    harness: Harness, names: list[str]
) -> None:
    job = replace(harness.shell(f"{SHOWS}; sleep 0.5", resources=Resources(gpus=2)))
    ref = await harness.submit(job)
    await harness.restart()

    with anyio.fail_after(120):
        again = await harness.submit(job)

    assert again == ref
    assert (await harness.end(ref)).stdout == f"<{','.join(names)}>\n".encode()
