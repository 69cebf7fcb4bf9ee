"""DockerExecutor against a real dockerd: the contract, and what goes wrong with containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus.executors import DockerExecutor
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory
from runbus.testing.dockerd import IMAGE, Dockerd

pytestmark = pytest.mark.services


class TestDockerExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self, engine: Dockerd, tmp_path: Path) -> ExecutorFactory:
        volumes = [*engine.host_volumes, f"{tmp_path}:{tmp_path}"]
        return lambda: DockerExecutor(IMAGE, socket=engine.socket, volumes=volumes, network="none")
