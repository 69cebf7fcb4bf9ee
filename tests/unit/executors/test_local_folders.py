"""What the wrapper finds in a job's folder: room, and the modes of its home."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from runbus import Command, Job, Kernel
from runbus.abc import JobSpec
from runbus.errors import JobNotStarted
from runbus.executors import LocalExecutor
from runbus.experiment import ExperimentDraft
from runbus.jobs import JobRecord, JobState


async def test_a_job_is_not_started_on_a_disk_without_room_for_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wrapper would have to wait for room; nothing is written to find that out."""
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:2], 1000, 3, 3, *found[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local", argv=("true",), cwd="/",
        env={}, folder=str(tmp_path), run_folder=str(tmp_path),
    )  # fmt: skip
    executor = LocalExecutor()

    with pytest.raises(JobNotStarted, match="no space left on device"):
        await executor.submit(executor.plan(job))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("shared", "mode"), [("", 0o700), ("group", 0o2770)])
def test_the_folders_of_jobs_are_for_those_that_their_home_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str, mode: int
) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", shared)
    jobs = [Job(name="a", task=Command(("true",)))]

    folder = Path(ExperimentDraft("p", jobs, home=tmp_path / "home").prepare().folder)

    made = [folder / "jobs", folder / "jobs/1-a", folder / "jobs/1-a/1"]
    assert [path.stat().st_mode & 0o7777 for path in made] == [mode] * 3


def test_a_job_whose_folder_is_gone_since_it_was_intended_is_run_all_the_same(
    tmp_path: Path,
) -> None:
    jobs = [Job(name="a", task=Command(("echo", "here")))]
    stored = ExperimentDraft("p", jobs, home=tmp_path).prepare()
    stored.intend()
    shutil.rmtree(Path(stored.folder, "jobs"))

    async def lead() -> JobRecord:
        async with Kernel(plugins=[LocalExecutor()]) as kernel:
            (record,) = await stored.run(kernel.bus)
        return record

    record = asyncio.run(lead())

    assert (record.state, record.reason) == (JobState.SUCCEEDED, "")
    assert Path(stored.specs[0].folder, "stdout.log").read_text() == "here\n"
