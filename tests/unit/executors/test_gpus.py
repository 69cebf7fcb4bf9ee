from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus import AsyncExperiment, Command, Job, Kernel, LocalExecutor
from runbus.errors import Unsupported
from runbus.events import JobIntended
from runbus.executors._gpus import GpuPool, visible_gpus
from runbus.jobs import JobState


def test_a_gpu_is_lent_to_one_at_a_time(tmp_path: Path) -> None:
    pools = [GpuPool(["0", "1", "2"], str(tmp_path)) for _ in range(2)]

    two = pools[0].try_lease(2)
    assert two is not None
    assert two.names == ["0", "1"]
    assert pools[1].try_lease(2) is None
    one = pools[1].try_lease(1)
    assert one is not None
    assert one.names == ["2"]
    two.close()
    again = pools[1].try_lease(2)
    assert again is not None
    assert again.names == ["0", "1"]
    again.close()
    one.close()


def test_a_refused_lease_holds_nothing(tmp_path: Path) -> None:
    pool = GpuPool(["0"], str(tmp_path))
    assert pool.try_lease(2) is None

    lease = pool.try_lease(1)
    assert lease is not None
    lease.close()


def test_a_lease_lasts_as_long_as_the_child_that_inherited_it(tmp_path: Path) -> None:
    pool = GpuPool(["0"], str(tmp_path))
    lease = pool.try_lease(1)
    assert lease is not None
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lease.files
    ) as child:
        lease.close()
        assert pool.try_lease(1) is None
        child.communicate(b"\n", timeout=20)

    free = pool.try_lease(1)
    assert free is not None
    free.close()


def test_cuda_visible_devices_says_what_may_be_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert visible_gpus() == ["3", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


async def test_jobs_share_the_gpus_and_never_two_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        'mkdir "gpu-$CUDA_VISIBLE_DEVICES" && echo "$CUDA_VISIBLE_DEVICES" >>used'
        ' && sleep 0.05 && rmdir "gpu-$CUDA_VISIBLE_DEVICES"'
    )
    jobs = [
        Job(name=f"j{index}", task=Command(("sh", "-c", script)), gpus=1, cwd=str(tmp_path))
        for index in range(6)
    ]

    async with Kernel(plugins=[LocalExecutor(gpus=["7", "8"])]) as kernel:
        records = await AsyncExperiment("p", jobs, max_parallel=6).run(kernel.bus)

    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert set((tmp_path / "used").read_text().split()) == {"7", "8"}


async def test_more_gpus_than_there_are_are_refused_before_anything_is_made(home: Path) -> None:
    job = Job(name="big", task=Command(("true",)), gpus=9)

    async with Kernel(plugins=[LocalExecutor(gpus=["0"])]) as kernel:
        with pytest.raises(Unsupported, match=r"9 GPUs \(there are 1\)"):
            await AsyncExperiment("p", [job]).run(kernel.bus)

    assert not (home / "experiments").exists()


async def test_a_job_is_held_within_its_processors_and_its_priority(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    task = Command(("sh", "-c", "nice >nice; grep Cpus_allowed_list /proc/self/status >cpus"))
    job = Job(name="j", task=task, nice=5, cpus=str(cpu), cwd=str(tmp_path))

    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        (record,) = await AsyncExperiment("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert int((tmp_path / "nice").read_text()) == os.nice(0) + 5
    assert (tmp_path / "cpus").read_text().split()[1] == str(cpu)


async def test_a_job_that_waits_for_a_gpu_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    executor = LocalExecutor(gpus=["0"])
    taken = executor._gpus.try_lease(1)
    assert taken is not None
    job = Job(name="j", task=Command(("touch", "ran")), gpus=1, cwd=str(tmp_path))
    experiment = AsyncExperiment("p", [job])

    async with Kernel(plugins=[executor]) as kernel:
        asked = kernel.bus.wait_for(JobIntended)
        running = asyncio.create_task(experiment.run(kernel.bus))
        await asked
        await experiment.cancel("by the test")
        (record,) = await asyncio.wait_for(running, 20)

    taken.close()
    assert (record.state, record.reason) == (JobState.CANCELLED, "by the test")
    assert not (tmp_path / "ran").exists()
