"""Several experiments led by one kernel, and the executors that they bring along."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from runbus.api._executors import executor_of
from runbus.codec import encode_json
from runbus.errors import BusClosed, PluginNotFound
from runbus.executors import TunnelPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from runbus.abc import Executor, Tunnel
    from runbus.experiment import StoredExperiment
    from runbus.jobs import JobRecord
    from runbus.kernel import Kernel

__all__ = ["Fleet"]


class Fleet:
    """Leads experiments on one kernel, as many at once as there are.

    Two may call different executors by one name: each gets its own. Those that describe the same
    share one, which looks at all of their jobs in the same requests. To each machine there is one
    connection, whatever else executors differ in.

    Args:
        kernel: What the executors are plugins of, for as long as an experiment uses them.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._numbers = itertools.count(1)
        self._made: dict[bytes, _Made] = {}
        self._tunnels = TunnelPool(_tunnel_to)
        self._turn = anyio.Lock()

    async def lead(self, experiment: StoredExperiment) -> list[JobRecord]:
        """Lead an experiment to its end; see `StoredExperiment.run` for what that does.

        Returns:
            The records of its jobs, in the order in which they were given.

        Raises:
            ExtraMissing: An executor needs a package that is not installed.
            UsageError: The fields of an executor do not fit together.
            NoExecutor: It does not bring an executor that a job names, nor does a plugin.
            JournalHeld: Another process leads it.
            JournalError: The journal cannot be written; jobs that run already continue by
                themselves.
            SecretMissing: A secret that a job needs cannot be read; nothing was submitted.
        """
        async with AsyncExitStack() as stack:
            own = {
                name: await stack.enter_async_context(self.lend(name, data))
                for name, data in experiment.executors.items()
            }
            return await experiment.run(self._kernel.bus, executors=own)
        raise AssertionError

    @asynccontextmanager
    async def lend(self, name: str, data: Mapping[str, Any]) -> AsyncIterator[Executor]:
        """Enter an executor that is made from data: a plugin of the kernel while it is entered.

        Args:
            name: What jobs call it.
            data: Its `type`, and what its constructor takes.

        Raises:
            ConfigInvalid: A field does not fit.
            ExtraMissing: It needs a package that is not installed.
            UsageError: The fields do not fit together.
        """
        key = encode_json(data)
        async with self._turn:
            if (made := self._made.get(key)) is None:
                # A kernel's plugins have names of their own, whatever experiments call them.
                executor = executor_of(f"{name}#{next(self._numbers)}", data, self._tunnels)
                await self._kernel.start_plugin(executor)
                made = self._made[key] = _Made(executor)
            made.users += 1
        try:
            yield made.executor
        finally:
            with anyio.CancelScope(shield=True):
                async with self._turn:
                    made.users -= 1
                    if not made.users:
                        del self._made[key]
                        # A kernel that stops closes it by itself, as it has one that failed.
                        with suppress(BusClosed, PluginNotFound):
                            await self._kernel.stop_plugin(made.executor.name)


def _tunnel_to(host: str, job_dir: str, identity: str | None) -> Tunnel:
    from runbus.executors.ssh import tunnel_to  # needs the extra "ssh"

    return tunnel_to(host, job_dir, identity)


class _Made:
    """An executor, and how many experiments use it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.users = 0
