"""Jobs that know nothing of runbus are sampled where they run, in containers and on all nodes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from runbus import Command, DockerExecutor, Job, Kernel, SlurmExecutor, SSHExecutor, Timeouts, runs
from runbus.abc import Executor
from runbus.executors import SlurmResources
from runbus.experiment import ExperimentDraft
from runbus.metrics import StoredRun
from runbus.testing._waiting import wait_until
from runbus.testing.dockerd import IMAGE, Dockerd
from runbus.testing.slurmd import Slurm
from runbus.testing.sshd import Sshd

from .conftest import UNTIL_IT_IS_SAMPLED, tunnel_to
from .test_containers import MOUNTS, bare_image

pytestmark = pytest.mark.services

LIMIT = 256 << 20
UNTIL_BOTH_ARE_SAMPLED = """
until [ "$(find "$RUNBUS_RUN/metrics" -name '*-s-h.journal' -size +2k | wc -l)" -ge 2 ]
do sleep 0.05
done
"""
"""With a header, names and a few rows a journal has more than 2 KiB."""


async def sampled(executor: Executor, command: str = UNTIL_IT_IS_SAMPLED) -> StoredRun:
    """Run a shell's command until it is sampled; return its run."""
    job = Job(
        name="a",
        task=Command(("sh", "-c", command)),
        env={"RUNBUS_SYSTEM": "every_s=0.05,slow_every_s=0.05"},
        timeouts=Timeouts(run_s=100),
    )
    async with Kernel(plugins=[executor]) as kernel:
        draft = ExperimentDraft("sampled", [job], executor=executor.name)
        (record,) = await draft.run(kernel.bus)
    assert (record.state, record.reason) == ("SUCCEEDED", "")
    return runs(project="sampled")[-1]


def hosts_of(run: StoredRun) -> set[str]:
    """Return the names of samplers' journals: one of each host."""
    return {
        name.partition(".")[0] for name in os.listdir(f"{run.folder}/metrics") if "-s-h." in name
    }


def told(*words: str) -> str:
    """Return what the command line says."""
    runbus = [sys.executable, "-m", "runbus.cli", *words]
    done = subprocess.run(runbus, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


async def test_a_job_in_a_container_is_sampled_with_its_processes_and_its_limit(
    engine: Dockerd,
) -> None:
    executor = DockerExecutor(
        IMAGE,
        socket=engine.socket,
        network="none",
        volumes=engine.host_volumes,
        memory=LIMIT,
        workdir="/",
    )

    run = await sampled(executor)

    assert len(hosts_of(run)) == 1
    # The shell, and what it starts: not the wrapper, nor who samples.
    assert min(run.metrics("sys/job/processes").values) >= 1
    assert max(run.metrics("sys/job/processes").values) <= 4
    assert set(run.metrics("sys/cgroup/mem_limit").values) == {float(LIMIT)}


@pytest.mark.parametrize(
    "machines",
    [{"nodes": 2}, {"resource_group": [SlurmResources(), SlurmResources()]}],
    ids=["of one kind", "components"],
)
async def test_every_machine_of_a_job_is_sampled_once_and_told_apart(
    slurm: Slurm, tmp_path: Path, machines: dict[str, Any]
) -> None:
    executor = SlurmExecutor(
        job_dir=str(tmp_path / "far"), poll_s=0.5, ntasks_per_node=2, launcher="srun", **machines
    )

    run = await sampled(executor, UNTIL_BOTH_ARE_SAMPLED)

    assert len(hosts_of(run)) == 2
    for node in ("sys/", "sys/node1/"):
        # What starts the two tasks of a machine, each with a shell about it.
        assert max(run.metrics(f"{node}job/processes").values) >= 5
        assert f"{node}cpu/util" in run.metric_names()
    assert "sys/node1/job/rss" in told("show", run.id, "--system")
    assert "sys/node1/job/rss" in told("query", "select distinct name from metrics")
    wait_until(lambda: not running(tmp_path, "sampler"))


def running(folder: Path, program: str) -> list[int]:
    """Return the processes of a program that was sent to a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if line.startswith(f"{folder}/far/{program}-"):
            found.append(int(process.name))
    return found


async def test_a_wrapper_that_is_killed_leaves_nobody_who_samples(
    slurm: Slurm, tmp_path: Path
) -> None:
    executor = SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5, nodes=2, launcher="srun")
    job = Job(name="a", task=Command(("sleep", "600")), timeouts=Timeouts(run_s=100))

    def kill() -> None:
        wait_until(lambda: len(running(tmp_path, "sampler")) == 2)
        for wrapper in running(tmp_path, "wrapper"):
            with suppress(ProcessLookupError):  # it ended with the one before it
                os.kill(wrapper, signal.SIGKILL)
        wait_until(lambda: not running(tmp_path, "sampler"))

    async with Kernel(plugins=[executor]) as kernel, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, kill)
        (record,) = await ExperimentDraft("killed", [job], executor="slurm").run(kernel.bus)

    assert record.state not in {"SUCCEEDED", "TIMEOUT"}


async def test_a_job_that_srun_starts_in_containers_is_sampled_on_each_machine(
    slurm: Slurm, tmp_path: Path
) -> None:
    executor = SlurmExecutor(
        job_dir=str(tmp_path / "far"), poll_s=0.5, nodes=2, launcher="srun",
        container_runtime="charliecloud", container_image=str(bare_image(tmp_path / "image")),
        container_mounts=MOUNTS, workdir="/",
    )  # fmt: skip

    run = await sampled(executor, UNTIL_BOTH_ARE_SAMPLED)

    assert len(hosts_of(run)) == 2
    for node in ("sys/", "sys/node1/"):
        assert max(run.metrics(f"{node}job/processes").values) >= 3


@pytest.mark.parametrize("of", ["ssh", "slurm"])
async def test_a_job_in_a_container_of_no_engine_is_sampled(
    of: str, host: Sshd, slurm: Slurm, tmp_path: Path
) -> None:
    image = str(bare_image(tmp_path / "image"))
    if of == "ssh":
        executor: Executor = SSHExecutor(
            [tunnel_to(host, tmp_path / "far")], container_runtime="charliecloud",
            container_image=image, container_mounts=MOUNTS, workdir="/",
        )  # fmt: skip
    else:
        executor = SlurmExecutor(
            job_dir=str(tmp_path / "far"), poll_s=0.5, container_runtime="charliecloud",
            container_image=image, container_mounts=MOUNTS, workdir="/",
        )  # fmt: skip

    run = await sampled(executor)

    assert len(hosts_of(run)) == 1
    assert min(run.metrics("sys/job/processes").values) >= 1
