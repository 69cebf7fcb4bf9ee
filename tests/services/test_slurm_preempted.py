"""Jobs that lose their machine in a real cluster: they save, and go on with another attempt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runbus.testing._waiting import wait_until
from runbus.testing.slurmd import Slurm

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

_TRAIN = """\
import os, pathlib, sys, time
import runbus

saved = pathlib.Path({saved!r})
if saved.exists():
    print("going on from", saved.read_text(), flush=True)
    sys.exit()

@runbus.on_preempt
def save():
    saved.write_text("step 7")
    print("saved", flush=True)

print("up", flush=True)
time.sleep(40)
"""
_BATCH = """\
project: preempted
jobs:
  - {{name: train, script: train.py, executor: cluster, retries: 1}}
executors:
  cluster: {{type: slurm, partition: low, exclusive: true, signal: USR1@60, job_dir: {folder},
    poll_s: 0.5}}
"""


@pytest.mark.parametrize("how", ["preempted", "announced"])
def test_a_job_that_loses_its_machine_saves_and_goes_on_as_attempt_2(
    slurm: Slurm, tmp_path: Path, how: str
) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "RUNBUS_SYSTEM": "0"}
    (tmp_path / "train.py").write_text(_TRAIN.format(saved=str(tmp_path / "saved")))
    (tmp_path / "batch.yaml").write_text(_BATCH.format(folder=tmp_path / "far"))
    runbus = [sys.executable, "-m", "runbus.cli"]
    with subprocess.Popen(
        [*runbus, "submit", "batch.yaml"], env=home, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as job:  # fmt: skip
        try:
            wait_until(lambda: any("up" in log.read_text() for log in logs(tmp_path)))
            if how == "preempted":
                take_machine(slurm)
            else:
                # As the controller does, which looks at the time twice a minute.
                slurm.ask("scancel", "--batch", "--signal=USR1", *slurm.running())
            out, _ = job.communicate(timeout=120)
        finally:
            job.kill()

    first, second = logs(tmp_path)
    assert job.returncode == 0, out
    assert first.read_text() == "up\nsaved\n"
    assert second.read_text() == "going on from step 7\n"
    assert "attempt 1 was preempted" in out
    assert "SUCCEEDED" in out


def logs(tmp_path: Path) -> list[Path]:
    """Return what the attempts have printed, in their order."""
    return sorted(tmp_path.glob("home/experiments/*/*/jobs/*/*/stdout.log"))


def take_machine(slurm: Slurm) -> None:
    """Submit a job of a partition that goes before others, for all of its machine."""
    done = subprocess.run(
        ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--chdir=/"],
        input="#!/bin/sh\nexec sleep 3\n", env=slurm.environment, timeout=120, text=True,
        check=False, capture_output=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
