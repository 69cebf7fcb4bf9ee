"""Leading an experiment that still gets jobs: one kernel, and the executors that they need."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from runbus.api._fleet import Fleet
from runbus.errors import BusClosed, NoExecutor, PluginNotFound
from runbus.executors import LocalExecutor
from runbus.experiment import find_executors
from runbus.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any, Self

    from runbus.abc import Executor
    from runbus.api._executors_given import GivenExecutors
    from runbus.bus import Bus

__all__ = ["Session"]


class Session:
    """Has the executors of an experiment ready on a kernel, those of jobs that come later, too.

    Attributes:
        bus: The kernel's bus.
        executors: What runs the jobs, by the names that they use.
    """

    def __init__(
        self, kernel: Kernel, given: GivenExecutors, stack: AsyncExitStack, *, is_own: bool
    ) -> None:
        self.bus: Bus = kernel.bus
        self.executors: dict[str, Executor] = {}
        self._kernel = kernel
        self._given = given
        self._stack = stack
        self._fleet = Fleet(kernel)
        self._is_own = is_own

    @classmethod
    @asynccontextmanager
    async def open(
        cls, kernel: Kernel | None, given: GivenExecutors, plugins: Sequence[Any]
    ) -> AsyncIterator[Self]:
        """Enter a kernel, or take part in one that runs.

        Args:
            kernel: One that runs; a new one if None.
            given: The executors.
            plugins: What else is a plugin of it meanwhile.
        """
        async with AsyncExitStack() as stack:
            if is_own := kernel is None:
                here = [] if "local" in given.values else [LocalExecutor()]
                made = Kernel(plugins=[*here, *plugins], contain_exits=True)
                kernel = await stack.enter_async_context(made)
            else:
                for plugin in plugins:
                    await stack.enter_async_context(_started(kernel, plugin))
            yield cls(kernel, given, stack, is_own=is_own)

    async def make(self, names: set[str]) -> None:
        """Have the executors of some names ready.

        Raises:
            ConfigInvalid: There is none of such a name.
            NoExecutor: No plugin of the given kernel brings it.
            ExtraMissing: It needs a package that is not installed.
            UsageError: Its fields do not fit together.
        """
        for name in sorted(names - self.executors.keys()):
            self.executors[name] = await self._made(name)

    async def _made(self, name: str) -> Executor:
        if (value := self._given.values.get(name)) is not None:
            await self._stack.enter_async_context(_started(self._kernel, value))
            return value
        if not self._is_own or name not in self._given.data:
            # A plugin of the user's own kernel goes before what is found by that name.
            try:
                return (await find_executors(self.bus, {name}))[name]
            except NoExecutor:
                if name not in self._given.data:
                    self._given.check({name})
                    raise
        return await self._stack.enter_async_context(self._fleet.lend(name, self._given.data[name]))


@asynccontextmanager
async def _started(kernel: Kernel, plugin: Any) -> AsyncIterator[None]:
    await kernel.start_plugin(plugin)
    try:
        yield
    finally:
        try:
            await kernel.stop_plugin(plugin.name)
        except (BusClosed, PluginNotFound):
            pass  # the kernel stops, and closes it by itself
