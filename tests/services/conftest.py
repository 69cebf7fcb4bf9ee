"""Real sshds, gone after the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runbus.testing.sshd import Sshd, sshds
from runbus.transports import SSHTunnel


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
