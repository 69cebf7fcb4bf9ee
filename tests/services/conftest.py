"""Real sshds, engines and clusters, gone after the test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from runbus.executors import SlurmExecutor
from runbus.testing.conformance.executor import Harness
from runbus.testing.dockerd import Dockerd, dockerd
from runbus.testing.slurmd import Slurm, counted, slurm_cluster
from runbus.testing.slurmrestd import slurmrestd
from runbus.testing.sshd import Sshd, sshds
from runbus.transports import SSHTunnel

UNTIL_IT_IS_SAMPLED = """
until [ "$(cat "$RUNBUS_RUN"/metrics/*-s-h.journal 2>/dev/null | wc -c)" -gt 3000 ]
do sleep 0.05
done
"""
"""A header, names and a few rows are that long."""


def tunnel_to(host: Sshd, job_dir: str | Path, **options: object) -> SSHTunnel:
    """Return a tunnel to a host, that knows its key and nothing else."""
    settings = {
        "port": host.port,
        "user": "root",
        "identity": str(host.identity),
        "known_hosts": str(host.known_hosts),
        "config": "",
        "agent": False,
    } | options
    return SSHTunnel(host.address, job_dir=str(job_dir), **settings)  # type: ignore[arg-type]


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Sshd]]:
    """Three hosts, listening."""
    with sshds(tmp_path_factory.mktemp("sshd")) as found:
        yield found


@pytest.fixture
def host(hosts: list[Sshd]) -> Sshd:
    """One host, listening."""
    return hosts[0]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    """A container engine with an image in it."""
    with dockerd(tmp_path_factory.mktemp("engine")) as found:
        yield found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Slurm]:
    """A Slurm cluster, with idle machines."""
    with slurm_cluster() as slurm:
        yield slurm


@pytest.fixture
def slurm(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """That cluster, found by programs that are started by the test."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    return cluster


@pytest.fixture(params=["programs", "slurmrestd"])
def rest(slurm: Slurm, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Where the server listens that is asked; None for the programs of Slurm."""
    over = slurmrestd(slurm, "socket") if request.param == "slurmrestd" else nullcontext()
    with over as server:
        yield None if server is None else server.address


@pytest.fixture
async def harness(slurm: Slurm, tmp_path: Path) -> AsyncIterator[Harness]:
    """Runs jobs on that cluster; modules whose jobs run elsewhere have their own."""

    def make() -> SlurmExecutor:
        return SlurmExecutor(job_dir=str(tmp_path / "far"), poll_s=0.5)

    async with Harness(make, str(tmp_path / "here")) as harness:
        yield harness


def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """Have calls of Slurm's programs counted from now on; return what tells how many there were."""
    calls = counted(tmp_path / "bin-counting")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin-counting:{os.environ['PATH']}")
    return calls
