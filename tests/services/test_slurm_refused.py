"""What a real Slurm does not take: the error says what, and with which options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbus.errors import JobNotStarted, RunbusError
from runbus.executors import SlurmExecutor
from runbus.testing.conformance.executor import Harness
from runbus.testing.slurmd import Slurm, slurm_cluster

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("slurm")]

RUNBUS = [sys.executable, "-m", "runbus.cli"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    """A cluster that refuses what exceeds the limits of a partition; others let it wait."""
    with slurm_cluster(keeps_accounts=False, EnforcePartLimits="ALL") as slurm:
        yield slurm


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"partition": "short", "time": "90"}, "Requested time limit is invalid"),
        ({"mem": "900G"}, "Memory specification can not be satisfied"),
        ({"gres": "gpu:h100:1"}, "Requested node configuration is not available"),
        ({"gpus_per_node": 9}, "Requested node configuration is not available"),
        ({"gres": "tape:1"}, "Invalid generic resource (gres) specification"),
        ({"nodes": 9}, "Node count specification invalid"),
        ({"constraint": "fast"}, "Invalid feature specification"),
        ({"nodelist": "node9"}, "Invalid node name specified"),
        ({"reservation": "none"}, "Requested reservation is invalid"),
        ({"licenses": "matlab:1"}, "Invalid license specification"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else "",
)
async def test_what_slurm_refuses_is_told_with_its_words_and_what_was_asked_for(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), comment="mine", **options)

    async with Harness(make, str(tmp_path / "here")) as harness:
        with pytest.raises(JobNotStarted) as caught:
            await harness.submit(harness.shell("true"))

    error = caught.value
    assert words in error.reason
    asked = error.reason.partition("; it asks for ")[2].split(", ")
    assert {f"{key.replace('_', '-')}={value}" for key, value in options.items()} <= {*asked}
    assert "Batch job submission failed" not in error.reason
    assert "mine" not in error.reason
    assert error.hint == "runbus doctor shows the partitions and their limits"


async def test_an_option_that_sbatch_does_not_have_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    with pytest.raises(RunbusError, match="option"):
        SlurmExecutor(job_dir=str(tmp_path / "far"), additional_parameters={"x": 1})


def test_a_person_is_told_what_was_refused_and_where_to_look(slurm: Slurm, tmp_path: Path) -> None:
    home = {**slurm.environment, "RUNBUS_HOME": str(tmp_path / "home"), "RUNBUS_SYSTEM": "0"}
    entry = f"type: slurm, partition: short, time: '90', job_dir: {tmp_path}/far"
    (tmp_path / "runbus.yaml").write_text(f"executors: {{cluster: {{{entry}}}}}\n")
    (tmp_path / "train.py").write_text("print('ran')\n")

    def runbus(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUNBUS, *words], env=home, cwd=tmp_path, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    done = runbus("run", "--executor", "cluster", "train.py")
    (job,) = json.loads(runbus("status", "--json").stdout)
    why = runbus("why", "latest").stdout

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert job["state"] == "FAILED"
    for told in (job["reason"], done.stderr, why):
        assert "Requested time limit is invalid" in told
        assert "it asks for partition=short, nodes=1, time=90" in told
        assert "runbus doctor shows the partitions and their limits" in told
