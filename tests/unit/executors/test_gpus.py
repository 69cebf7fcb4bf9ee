from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
from pathlib import Path

import pytest

from runbus import Command, Job, Kernel, LocalExecutor
from runbus.abc import JobSpec, Resources
from runbus.errors import Unsupported, UsageError
from runbus.events import JobIntended
from runbus.executors._gpus import GpuPool, visible_gpus
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobState
from runbus.testing._waiting import wait_until


def attempt(folder: Path, name: str) -> str:
    """Return the folder of an attempt whose wrapper has not begun."""
    (folder / name).mkdir()
    return str(folder / name)


def lease(name: str, holder: str) -> GpuPool:
    """Return a pool of the folder that all tests have in common, which has lent its only GPU.

    Another test may look at the files right now: then `try_lease` does not wait.
    """
    pool = GpuPool([name])
    assert wait_until(lambda: pool.try_lease(1, holder)) == [name]
    return pool


def begin(holder: str, **changes: object) -> None:
    """Let an attempt's job be this process."""
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    record = {
        "pid": os.getpid(), "start": int(started), "uptime": 1.0, "host": os.uname().nodename,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "ns": os.readlink("/proc/self/ns/pid"),
    }  # fmt: skip
    Path(holder, "pid.json").write_text(json.dumps(record | changes))


def end(holder: str) -> None:
    record = {"status": 0, "uptime": 2.0, "user": "0m0s", "sys": "0m0s", "reason": ""}
    Path(holder, "exit.json").write_text(json.dumps(record))


def test_a_gpu_is_lent_to_one_at_a_time_until_its_job_has_ended(tmp_path: Path) -> None:
    pools = [GpuPool(["0", "1", "2"], str(tmp_path / "gpus")) for _ in range(2)]
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2\n")

    assert pools[0].try_lease(2, first) == ["0", "1"]
    assert pools[1].try_lease(2, second) is None
    assert pools[1].try_lease(1, second) == ["2"]
    begin(first)
    assert pools[1].try_lease(2, second) is None
    end(first)
    assert pools[1].try_lease(2, second) == ["0", "2"]


def test_what_an_attempt_has_already_is_part_of_what_it_is_lent(tmp_path: Path) -> None:
    pool = GpuPool(["0", "1"], str(tmp_path / "gpus"))
    holder = attempt(tmp_path, "1")
    assert pool.try_lease(2, holder) == ["0", "1"]
    begin(holder)

    assert pool.try_lease(2, holder) == ["0", "1"]


@pytest.mark.parametrize(
    "changes",
    [{"start": 1}, {"boot": "another"}, {"pid": 2**22 + 1}],
    ids=["another process", "before a reboot", "gone"],
)
def test_a_gpu_of_a_job_that_vanished_is_free(tmp_path: Path, changes: dict[str, object]) -> None:
    pool = GpuPool(["0"], str(tmp_path / "gpus"))
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2")
    assert pool.try_lease(1, first) == ["0"]
    begin(first, **changes)

    assert pool.try_lease(1, second) == ["0"]


@pytest.mark.parametrize("changes", [{"host": "another"}, {"ns": "pid:[1]"}])
def test_a_gpu_of_a_job_that_cannot_be_seen_from_here_stays_lent(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    pool = GpuPool(["0"], str(tmp_path / "gpus"))
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2")
    assert pool.try_lease(1, first) == ["0"]
    begin(first, **changes)

    assert pool.try_lease(1, second) is None


def test_a_refused_or_returned_lease_holds_nothing(tmp_path: Path) -> None:
    pool = GpuPool(["0"], str(tmp_path / "gpus"))
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2")
    assert pool.try_lease(2, first) is None
    assert pool.try_lease(1, second) == ["0"]

    pool.give_back(second)

    assert pool.try_lease(1, first) == ["0"]


def test_a_lease_is_returned_also_while_another_process_looks(tmp_path: Path) -> None:
    pool = GpuPool(["0"], str(tmp_path / "gpus"), patience_s=30.0)
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2")
    assert pool.try_lease(1, first) == ["0"]

    with open(tmp_path / "gpus" / "lock", "rb") as looks:
        fcntl.flock(looks, fcntl.LOCK_EX)
        ends = threading.Timer(0.05, fcntl.flock, [looks, fcntl.LOCK_UN])
        ends.start()
        pool.give_back(first)
        ends.join()

    assert pool.try_lease(1, second) == ["0"]


@pytest.mark.parametrize("variable", ["TMPDIR", "TEMP", "TMP"])
def test_no_variable_moves_the_place_where_leases_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    name = f"test-{os.urandom(4).hex()}"
    first, second = attempt(tmp_path, "1"), attempt(tmp_path, "2")
    pool = lease(name, first)
    try:
        monkeypatch.setenv(variable, str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        assert GpuPool([name]).try_lease(1, second) is None
    finally:
        pool.give_back(first)
    lease(name, second).give_back(second)


@pytest.mark.parametrize("listed", ["-1", "none", "NoDevFiles", "", " ", "-1,0"])
def test_a_word_for_no_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)

    assert visible_gpus() == []


def test_a_job_that_sets_its_gpus_itself_and_asks_for_some_is_refused(tmp_path: Path) -> None:
    job = JobSpec(
        experiment_id="e", name="j", run_id="e-1", executor="local", argv=("true",),
        cwd=str(tmp_path), env={"CUDA_VISIBLE_DEVICES": "1"}, folder=str(tmp_path),
        run_folder=str(tmp_path), resources=Resources(gpus=1),
    )  # fmt: skip

    with pytest.raises(UsageError, match="sets CUDA_VISIBLE_DEVICES itself"):
        LocalExecutor(gpus=["0"]).plan(job)


def test_cuda_visible_devices_says_what_may_be_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc")
    assert visible_gpus() == ["3", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


async def test_jobs_share_the_gpus_and_never_two_have_one(
    tmp_path: Path,
) -> None:
    names = [f"test-{os.urandom(4).hex()}" for _ in range(2)]
    # The first waits until another has the other one, however late that begins.
    script = (
        'mkdir "gpu-$CUDA_VISIBLE_DEVICES" && echo "$CUDA_VISIBLE_DEVICES" >>used'
        ' && until [ "$(sort -u used | wc -l)" -eq 2 ]; do sleep 0.01; done'
        ' && sleep 0.05 && rmdir "gpu-$CUDA_VISIBLE_DEVICES"'
    )
    jobs = [
        Job(
            name=f"j{index}",
            task=Command(("sh", "-c", script)),
            resources=Resources(gpus=1),
            cwd=str(tmp_path),
        )
        for index in range(6)
    ]

    async with Kernel(plugins=[LocalExecutor(gpus=names)]) as kernel:
        records = await ExperimentDraft("p", jobs, max_parallel=6).run(kernel.bus)

    assert {record.state for record in records} == {JobState.SUCCEEDED}
    assert set((tmp_path / "used").read_text().split()) == set(names)


async def test_more_gpus_than_there_are_are_refused_before_anything_is_made(home: Path) -> None:
    job = Job(name="big", task=Command(("true",)), resources=Resources(gpus=9))

    async with Kernel(plugins=[LocalExecutor(gpus=["0"])]) as kernel:
        with pytest.raises(Unsupported, match=r"9 GPUs \(there are 1\)"):
            await ExperimentDraft("p", [job]).run(kernel.bus)

    assert not (home / "experiments").exists()


async def test_a_job_is_held_within_its_processors_and_its_priority(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    task = Command(("sh", "-c", "nice >nice; grep Cpus_allowed_list /proc/self/status >cpus"))
    job = Job(name="j", task=task, resources=Resources(nice=5, cpus=str(cpu)), cwd=str(tmp_path))

    async with Kernel(plugins=[LocalExecutor()]) as kernel:
        (record,) = await ExperimentDraft("p", [job]).run(kernel.bus)

    assert record.state is JobState.SUCCEEDED
    assert int((tmp_path / "nice").read_text()) == min(os.nice(0) + 5, 19)
    assert (tmp_path / "cpus").read_text().split()[1] == str(cpu)


async def test_a_job_that_waits_for_a_gpu_can_be_cancelled(
    tmp_path: Path,
) -> None:
    name = f"test-{os.urandom(4).hex()}"
    executor = LocalExecutor(gpus=[name])
    holder = attempt(tmp_path, "holder")
    others = lease(name, holder)
    job = Job(
        name="j", task=Command(("touch", "ran")), resources=Resources(gpus=1), cwd=str(tmp_path)
    )
    experiment = ExperimentDraft("p", [job])

    async with Kernel(plugins=[executor]) as kernel:
        asked = kernel.bus.wait_for(JobIntended)
        running = asyncio.create_task(experiment.run(kernel.bus))
        await asked
        await experiment.cancel("by the test")
        (record,) = await asyncio.wait_for(running, 120)

    others.give_back(holder)
    assert (record.state, record.reason) == (JobState.CANCELLED, "by the test")
    assert not (tmp_path / "ran").exists()
