"""What every executor must do.

    class TestMine(ExecutorContract):
        @pytest.fixture
        def executors(self) -> ExecutorFactory:
            @asynccontextmanager
            async def make() -> AsyncIterator[Executor]:
                yield MyExecutor()

            return make

Each test runs real jobs of /bin/sh. All executors that the factory makes must see the same jobs,
as they would after a restart. The tests are async: pytest-asyncio runs them, in its auto mode.
"""

from __future__ import annotations

from runbus.testing.conformance._collecting import FilesContract
from runbus.testing.conformance._ending import CancelContract, EndContract
from runbus.testing.conformance._finding import FindContract, LogContract, PackageContract
from runbus.testing.conformance._harness import ExecutorFactory, Harness
from runbus.testing.conformance._planning import PlanContract
from runbus.testing.conformance._restarting import RestartContract
from runbus.testing.conformance._running import LaunchContract, ObserveContract, OutputContract

__all__ = ["ExecutorContract", "ExecutorFactory", "Harness"]


class ExecutorContract(
    PlanContract,
    EndContract,
    OutputContract,
    LaunchContract,
    ObserveContract,
    FindContract,
    LogContract,
    PackageContract,
    FilesContract,
    CancelContract,
    RestartContract,
):
    """Everything that an executor must do."""
