"""LocalExecutor keeps the contract; so does SSHExecutor over a tunnel to this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from runbus.abc import Executor
from runbus.executors import LocalExecutor, SSHExecutor
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory, Harness
from runbus.transports import LocalTunnel


class TestLocalExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self) -> ExecutorFactory:
        @asynccontextmanager
        async def make() -> AsyncIterator[Executor]:
            with closing(LocalExecutor()) as executor:
                yield executor

        return make


class TestTunnelToThisMachine(ExecutorContract):
    @pytest.fixture
    def executors(self, tmp_path: Path) -> ExecutorFactory:
        def make() -> SSHExecutor:
            return SSHExecutor([LocalTunnel(str(tmp_path / "remote höme"))], slots=16)

        return make


async def test_a_folder_that_only_this_machine_has_is_explained(tmp_path: Path) -> None:
    def make() -> SSHExecutor:
        return SSHExecutor([LocalTunnel(str(tmp_path / "there"))])

    async with Harness(make, str(tmp_path / "here")) as harness:
        ended = await harness.run(harness.shell("echo ran", cwd="/only/here"))

    assert (ended.seen.exit_code, ended.stdout) == (126, b"")
    assert b"give its executor a packager or a workdir" in ended.stderr
