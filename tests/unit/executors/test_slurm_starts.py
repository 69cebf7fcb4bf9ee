"""The batch script of a job that Slurm begins anew, as a shell runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import JobSpec
from runbus.executors import SlurmExecutor
from runbus.executors._slurm.body import SlurmBody

RECORD = '{{"status":{},"signal":{},"reason":"{}","uptime":1,"user":"0m0s","sys":"0m0s"}}'
KILLED = RECORD.format(143, 15, "")
TOLD = RECORD.format(0, "null", "its wrapper was told to end (SIGTERM)")
DONE = RECORD.format(0, "null", "")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of the attempts, with that of the first as it is handed over."""
    folder = tmp_path / "1-train"
    (folder / "1").mkdir(parents=True)
    for name in ("request", "request.sh", "limit"):
        (folder / "1" / name).write_text(name)
    (folder / "1" / "secrets").write_text("export RUNBUS_SECRET_TOKEN='s3cret'\n")
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(
        "#!/bin/sh\n"
        '[ "$1" = run ] && cd "$2" || exit\n'
        "(set -C; true >exit.json) 2>/dev/null || exit 75\n"
        'echo "$RUNBUS_SECRET_TOKEN" >ran; cat "$0.record" >exit.json\n'
    )
    wrapper.chmod(0o755)
    return folder


def start(base: Path, record: str, **variables: str) -> int:
    """Begin the job as Slurm does, with a wrapper that leaves a record; return the status."""
    (base.parent / "wrapper.record").write_text(record + "\n" if record else "")
    executor = SlurmExecutor(requeue=True, job_dir=str(base.parent))
    job = JobSpec(
        experiment_id="e", run_id="r", name="train", argv=("true",), cwd="/", env={},
        executor="slurm", folder=str(base / "1"), run_folder=str(base / "run"),
    )  # fmt: skip
    body = executor.plan(job).of(SlurmBody)
    script = body.batch(str(base / "1"), os.fsencode(base.parent / "wrapper"))
    env = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", **variables}
    return subprocess.run(["bash", "-c", script.text], env=env, timeout=120, check=False).returncode


@pytest.mark.parametrize("record", [KILLED, TOLD, ""], ids=["killed", "told", "cut off"])
def test_each_start_is_an_attempt_of_its_own(base: Path, record: str) -> None:
    for _ in range(3):
        start(base, record)
    assert start(base, DONE) == 0

    folders = sorted(one.name for one in base.iterdir())
    assert folders == ["1", "2", "3", "4"]
    assert {(base / name / "ran").read_text() for name in folders} == {"s3cret\n"}
    assert (base / "4" / "request.sh").read_text() == "request.sh"
    assert (base / "4" / "slurm.id").read_text() == "7\n"
    assert (base / "4").stat().st_mode & 0o77 == 0
    assert not (base / "1" / "kept").exists()


def test_one_that_has_ended_by_itself_is_not_begun_anew(base: Path) -> None:
    start(base, DONE)

    assert start(base, DONE) == 75
    assert not (base / "2").exists()


def test_one_that_was_to_end_is_not_begun_anew(base: Path) -> None:
    start(base, KILLED)
    (base / "1" / "cancel").touch()

    assert start(base, DONE) == 75
    assert not (base / "2").exists()


def test_another_job_of_slurm_for_the_same_attempt_does_nothing(base: Path) -> None:
    start(base, KILLED)

    for _ in range(2):
        assert start(base, DONE, SLURM_JOB_ID="8") == 75
    assert not (base / "2").exists()
    assert start(base, DONE) == 0


def test_an_attempt_that_was_made_by_another_is_left_alone(base: Path) -> None:
    start(base, KILLED)
    (base / "2").mkdir()

    assert start(base, DONE) == 75
    assert not (base / "2" / "ran").exists()


def test_an_element_of_an_array_goes_by_its_own_number(base: Path) -> None:
    array: dict[str, Any] = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    start(base, KILLED, **array, SLURM_JOB_ID="9")

    assert start(base, DONE, **array, SLURM_JOB_ID="5") == 0
    assert (base / "2" / "slurm.id").read_text() == "5_2\n"
