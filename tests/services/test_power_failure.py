"""What a power failure leaves of a run that was said to be kept. Needs root and loop devices.

The image of the disk is copied at once, without what the system has yet to write, and mounted.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job, Kernel, LocalExecutor
from runbus._home import Home
from runbus.catalog import RunRecord, survey
from runbus.errors import RunbusError
from runbus.executors import SSHExecutor
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import JobState
from runbus.packaging import PatternPackager
from runbus.testing._waiting import wait_until
from runbus.transports import LocalTunnel

pytestmark = pytest.mark.services

IMAGE_BYTES = 96 << 20
SCRIPT = """
import runbus, sys
run = runbus.init(project="p", name="n", config={"lr": 0.1})
run.log("loss", 0.5)
run.tag("good")
for number in range(int(sys.argv[2])):
    run.log_text("long", f"{number}-" * 40_000)
print(run.id, flush=True)
if sys.argv[1] in ("sync", "finish"):
    getattr(run, sys.argv[1])()
if sys.argv[1] != "exit":
    print("done", flush=True)
    sys.stdin.read()
"""
MOST_S = 20.0
"""By itself the system writes what is half a minute old."""

Snapshot = Callable[[], Path]


def call(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


def unmount(place: Path) -> None:
    """Unmount a disk once nobody uses it: the wrapper of a job may take a moment to be gone."""
    words = ("umount", place)
    wait_until(lambda: not subprocess.run(words, check=False, capture_output=True).returncode)


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Snapshot]]:
    """A folder on a disk of its own, and what cuts its power and returns what is left."""
    if shutil.which(f"mkfs.{request.param}") is None:
        pytest.skip(f"there is no mkfs.{request.param}")
    image, mounted, left = tmp_path / "image", tmp_path / "mounted", tmp_path / "left"
    image.touch()
    os.truncate(image, IMAGE_BYTES * (1 if request.param == "ext4" else 4))
    call(f"mkfs.{request.param}", "-q", image)
    mounted.mkdir()
    left.mkdir()
    call("mount", "-o", "loop", image, mounted)

    def cut() -> Path:
        if left.is_mount():
            unmount(left)
        copy = tmp_path / "copy"
        call("cp", "--sparse=always", image, copy)
        options = "loop,nouuid" if request.param == "xfs" else "loop"
        call("mount", "-o", options, copy, left)
        return left

    try:
        yield mounted, cut
    finally:
        for one in (left, mounted):
            if one.is_mount():
                unmount(one)


@contextmanager
def script(mounted: Path, promise: str, files: int = 0) -> Iterator[str]:
    """A script that logs to a run of the disk and does what was promised; yields the run's id."""
    environment = {**os.environ, "RUNBUS_HOME": str(mounted / "home")}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, promise, str(files)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        process.stdout.readline()  # "done", or its end
        yield run_id
        process.stdin.close()


def led(experiment: ExperimentDraft | StoredExperiment) -> list[tuple[JobState, str]]:
    """How the jobs of an experiment end that is led from here on, and why."""

    async def lead() -> list[tuple[JobState, str]]:
        async with Kernel(plugins=[LocalExecutor()]) as kernel:
            records = await experiment.run(kernel.bus)
        return [(record.state, record.reason) for record in records]

    return asyncio.run(lead())


@pytest.mark.parametrize("promise", ["sync", "finish", "exit"])
def test_a_run_that_was_synced_or_ended_is_there_after_a_power_failure(
    disk: tuple[Path, Snapshot], promise: str
) -> None:
    mounted, cut = disk
    with script(mounted, promise) as run_id:
        home = cut() / "home"

    run = runbus.open_run(run_id, home=home)
    assert (run.name, run.config, run.tags) == ("n", {"lr": 0.1}, ["good"])
    assert list(run.metrics("loss").values) == [0.5]
    assert [row.problem for row in survey(home=home)] == [""]


@pytest.mark.parametrize("files", [2, 150])
def test_files_that_were_synced_are_whole_after_a_power_failure(
    disk: tuple[Path, Snapshot], files: int
) -> None:
    mounted, cut = disk
    with script(mounted, "sync", files) as run_id:
        home = cut() / "home"

    texts = [one.text for one in runbus.open_run(run_id, home=home).text("long")]
    assert texts == [f"{number}-" * 40_000 for number in range(files)]


def test_a_run_that_is_neither_is_soon_there_all_the_same(disk: tuple[Path, Snapshot]) -> None:
    mounted, cut = disk
    give_up = time.monotonic() + MOST_S
    found = None
    with script(mounted, "nothing") as run_id:
        while found is None and time.monotonic() < give_up:
            with suppress(RunbusError):
                found = runbus.open_run(run_id, home=cut() / "home")

    assert found is not None
    assert (found.name, list(found.metrics("loss").values)) == ("n", [0.5])


@pytest.mark.parametrize("count", [2, 30])
def test_a_batch_that_was_intended_is_whole_after_a_power_failure(
    disk: tuple[Path, Snapshot], tmp_path: Path, count: int
) -> None:
    mounted, cut = disk
    names = [f"job-{number:02}" for number in range(count)]
    jobs = [
        Job(name=name, task=Command(("test", "-s", "code.txt")), config={"x": name})
        for name in names
    ]
    (tmp_path / "code").mkdir()
    (tmp_path / "code/code.txt").write_text("x" * 100_000)
    root, executor = tmp_path / "code", LocalExecutor(packager=PatternPackager("*.txt"))
    experiment = ExperimentDraft("p", jobs, root=str(root), home=mounted / "home")
    experiment.prepare({"local": executor}).intend()
    home = cut() / "home"

    rows = survey(home=home)
    assert [(row.state, row.problem) for row in rows] == [("PENDING", "")] * count
    assert sorted(row.run.config["x"] for row in rows if row.run is not None) == names
    (folder,) = home.glob("experiments/p/*")
    left = StoredExperiment.open(str(folder), home=Home(home))
    assert [spec.name for spec in left.specs] == names

    assert led(left) == [(JobState.SUCCEEDED, "")] * count


def test_a_batch_that_was_only_prepared_hinders_nobody_after_a_power_failure(
    disk: tuple[Path, Snapshot],
) -> None:
    mounted, cut = disk
    jobs = [Job(name="a", task=Command(("true",)))]
    ExperimentDraft("p", jobs, home=mounted / "home").prepare()
    home = cut() / "home"

    assert {row.state for row in survey(home=home)} <= {"PENDING"}
    assert led(ExperimentDraft("p", jobs, home=home)) == [(JobState.SUCCEEDED, "")]


def assert_has_records(run: RunRecord) -> None:
    """See that what the job of a run left behind is whole."""
    assert run.job_folder is not None
    for name in ("exit.json", "pid.json"):
        assert json.loads(Path(run.job_folder, name).read_text())


def test_a_job_elsewhere_that_succeeded_has_succeeded_after_a_power_failure(
    disk: tuple[Path, Snapshot], tmp_path: Path
) -> None:
    mounted, cut = disk
    jobs = [Job(name=name, task=Command(("true",))) for name in ("a", "b")]
    experiment = ExperimentDraft("p", jobs, executor="ssh", home=mounted / "home")

    async def lead() -> None:
        elsewhere = SSHExecutor([LocalTunnel(str(tmp_path / "there"))], workdir="/")
        async with Kernel(plugins=[elsewhere]) as kernel:
            await experiment.run(kernel.bus)

    asyncio.run(lead())
    rows = survey(home=cut() / "home")

    assert [(row.state, row.problem) for row in rows] == [("SUCCEEDED", "")] * 2
    for row in rows:
        assert row.run is not None
        assert_has_records(row.run)


def test_a_batch_that_succeeded_has_succeeded_after_a_power_failure(
    disk: tuple[Path, Snapshot], tmp_path: Path
) -> None:
    mounted, cut = disk
    script = tmp_path / "train.py"
    script.write_text("import runbus\nwith runbus.init() as run:\n    run.log('loss', 0.5)\n")
    environment = {**os.environ, "RUNBUS_HOME": str(mounted / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "runbus.cli", "run", script],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    home = cut() / "home"

    assert done.returncode == 0, done.stderr
    (row,) = survey(home=home)
    assert (row.state, row.problem) == ("SUCCEEDED", "")
    assert row.run is not None
    assert list(row.run.metrics("loss").values) == [0.5]
    folder = Path(row.run.experiment_folder)
    assert json.loads((folder / "experiment.json").read_text())["project"] == "train"
    assert_has_records(row.run)
    for cursor in Path(row.run.folder).glob("*.cursor"):
        assert json.loads(cursor.read_text())
