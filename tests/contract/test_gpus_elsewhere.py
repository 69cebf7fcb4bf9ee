"""GPUs of a machine behind a tunnel: lent to one job at a time, whoever launched it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from runbus.abc import JobSpec
from runbus.errors import JobNotStarted
from runbus.executors import SSHExecutor
from runbus.executors._gpus import GpuPool
from runbus.testing.conformance.executor import Harness
from runbus.transports import LocalTunnel

SHOWS = 'echo "<$CUDA_VISIBLE_DEVICES>"'


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder of the locks of a machine of this test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return str(tmp_path / f"runbus-gpus-{os.getuid()}")


def maker(tmp_path: Path, *gpus: str) -> Callable[[], SSHExecutor]:
    return lambda: SSHExecutor([LocalTunnel(str(tmp_path / "there"))], slots=16, gpus=gpus)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(maker(tmp_path, "0", "1"), str(tmp_path / "here")) as harness:
        yield harness


async def test_jobs_at_once_get_gpus_of_their_own(harness: Harness) -> None:
    jobs = [harness.shell(f"{SHOWS}; sleep 0.4", gpus=1) for _ in range(4)]
    spans: list[tuple[bytes, int, int]] = []

    async def run(job: JobSpec) -> None:
        ended = await harness.run(job)
        spans.append((ended.stdout, ended.seen.started_ns, ended.seen.ended_ns))

    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(run, job)

    assert {shown for shown, _, _ in spans} == {b"<0>\n", b"<1>\n"}
    for shown, begin, end in spans:
        others = [one for one in spans if one[0] == shown and begin < one[1] < end - 50e6]
        assert others == []


async def test_a_job_keeps_its_gpu_when_whoever_launched_it_is_gone(
    harness: Harness, locks: str
) -> None:
    ref = await harness.submit(harness.shell(f"{SHOWS}; exec sleep 60", gpus=2))
    assert await harness.output(ref, b">") == b"<0,1>\n"

    await harness.restart()

    # The lock files are those of local executors on that machine.
    pool = GpuPool(["0", "1"], locks)
    assert pool.try_lease(1) is None
    await harness.executor.cancel([ref], 5)
    await harness.end(ref)
    with anyio.fail_after(20):
        while (lease := pool.try_lease(2)) is None:
            await harness.executor.wait_for_change(0.02)
    lease.close()


async def test_a_job_waits_for_gpus_that_others_have(harness: Harness, locks: str) -> None:
    lease = GpuPool(["0", "1"], locks).try_lease(1)
    assert lease is not None
    one = await harness.run(harness.shell(SHOWS, gpus=1))
    with anyio.move_on_after(1.5) as waited:
        await harness.submit(both := harness.shell(SHOWS, gpus=2))
    lease.close()

    assert one.stdout == b"<1>\n"
    assert waited.cancelled_caught
    assert (await harness.run(both)).stdout == b"<0,1>\n"


async def test_a_job_without_gpus_holds_none(harness: Harness, locks: str) -> None:
    ref = await harness.submit(harness.shell("echo up; exec sleep 60"))
    await harness.output(ref, b"up")

    lease = GpuPool(["0", "1"], locks).try_lease(2)

    assert lease is not None
    lease.close()


async def test_more_gpus_than_a_shell_has_digits_are_held_too(tmp_path: Path, locks: str) -> None:
    names = [f"GPU-{number}/x y" for number in range(9)]
    async with Harness(maker(tmp_path, *names), str(tmp_path / "here")) as harness:
        ref = await harness.submit(harness.shell(f"{SHOWS}; exec sleep 60", gpus=9))

        assert await harness.output(ref, b">") == f"<{','.join(names)}>\n".encode()
        assert GpuPool(names, locks).try_lease(1) is None


async def test_a_machine_that_has_too_few_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    make = lambda: SSHExecutor([LocalTunnel(str(tmp_path / "there"))])  # noqa: E731
    async with Harness(make, str(tmp_path / "here")) as harness:
        assert (await harness.run(harness.shell(SHOWS, gpus=2))).stdout == b"<3,5>\n"
        with pytest.raises(JobNotStarted, match="it has no 3 GPUs"):
            await harness.submit(harness.shell(SHOWS, gpus=3))


async def test_a_job_that_is_submitted_again_needs_no_second_gpu(harness: Harness) -> None:
    job = replace(harness.shell(f"{SHOWS}; sleep 0.5", gpus=2))
    ref = await harness.submit(job)
    await harness.restart()

    with anyio.fail_after(10):
        again = await harness.submit(job)

    assert again == ref
    assert (await harness.end(ref)).stdout == b"<0,1>\n"
