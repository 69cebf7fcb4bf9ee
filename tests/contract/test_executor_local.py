"""LocalExecutor keeps the contract; so does SSHExecutor over a tunnel to this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from runbus.abc import Executor
from runbus.executors import LocalExecutor, SSHExecutor
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory
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
