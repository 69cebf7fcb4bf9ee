"""The kernel that a manager's plugins run in, and the steps of their lives there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio

from runbus._revealed import unrevealed
from runbus.abc import PluginState
from runbus.errors import (
    BusClosed,
    HookError,
    MissingPlugin,
    PluginError,
    PluginNotFound,
    RunbusError,
)
from runbus.events import PluginFailed
from runbus.hub._lives import check_move
from runbus.hub._shelf import told
from runbus.kernel import Kernel
from runbus.plugins import ManagedLife, Routing, call_blocking, face_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.hub._configs import PluginConfigs
    from runbus.hub._shelf import Entry, Shelf
    from runbus.plugins import SampledRun

__all__ = ["STOPPABLE", "ManagedKernel"]

logger = logging.getLogger("runbus.hub")

_S = PluginState
STOPPABLE = (_S.INITIALIZED, _S.STARTED, _S.DEGRADED)
"""The states of a plugin of which something is there to be stopped."""


class ManagedKernel:
    """Initializes, starts and stops managed plugins in a kernel.

    Every step is taken with the lock of its plugin held, except `ensure_started` and
    `stop_dependents`, which take it.

    Args:
        shelf: The plugins that are known.
        configs: What files say about them.
        kernel: The kernel; one of its own if None, which begins when it is first needed.
        limit_s: How long one call of a plugin's code may take, in seconds.

    Attributes:
        routing: The rules that hold in the kernel.
    """

    def __init__(
        self, shelf: Shelf, configs: PluginConfigs, kernel: Kernel | None, limit_s: float
    ) -> None:
        self.routing = Routing()
        self._shelf = shelf
        self._configs = configs
        self._limit_s = limit_s
        self._kernel = kernel
        self._is_own = kernel is None
        self._is_running = False
        self._lock = anyio.Lock()

    async def running(self) -> Kernel:
        """Return the kernel that the plugins run in; it is started if need be."""
        async with self._lock:
            if self._kernel is None:
                kernel = Kernel(setup_timeout_s=2 * self._limit_s + 5)
                await kernel.__aenter__()
                self._kernel = kernel
            if not self._is_running:
                await self._join(self._kernel)
                self._is_running = True
            return self._kernel

    async def close(self) -> None:
        """Stop the kernel, if it is its own, once the plugins are stopped; safe to repeat."""
        async with self._lock:
            if self._is_own and self._kernel is not None:
                kernel, self._kernel, self._is_running = self._kernel, None, False
                try:
                    await kernel.__aexit__(None, None, None)
                except BaseExceptionGroup as errors:
                    # What a plugin raised was told when it was stopped.
                    if (rest := errors.split(PluginError)[1]) is not None:
                        raise rest from None

    async def _join(self, kernel: Kernel) -> None:
        """Let the rules hold in a kernel, beside those that hold there already."""
        there = [host.plugin for host in kernel.hosts if isinstance(host.plugin, Routing)]
        if there:
            for rule in self.routing.rules:
                there[0].add(rule)
            self.routing = there[0]
        else:
            await kernel.start_plugin(self.routing)
        kernel.bus.on(PluginFailed, self._note_failure)

    async def _note_failure(self, event: PluginFailed) -> None:
        """Note that the code of a running plugin failed for good."""
        entry = self._shelf.known(event.plugin)
        if entry is not None and entry.state is _S.STARTED:
            entry.move(_S.FAILED, event.error)
            entry.life = None

    async def initialize(self, entry: Entry, config: Mapping[str, Any] | None) -> None:
        """Make an instance, in the place of the one that is there, and let it have a configuration.

        Args:
            entry: The plugin.
            config: Its configuration; what files say if None.

        Raises:
            PluginError: It cannot be imported or used, or its code raised something.
            ConfigInvalid: The configuration does not fit; problems have their places in the files.
        """
        await self._stop_old(entry)
        await self._shelf.validate(entry, is_strict=False)
        assert entry.cls is not None
        given = self._configs.of(entry.name) if config is None else config
        try:
            instance = await call_blocking(
                entry.cls, plugin=entry.name, doing="__init__", limit_s=self._limit_s
            )
            life = ManagedLife(instance, given, limit_s=self._limit_s)
            await life.initialize()
        except Exception as error:
            failure = self._configs.located(entry.name, error) if config is None else error
            entry.move(_S.FAILED, unrevealed(f"{type(failure).__name__}: {failure}"))
            if isinstance(failure, RunbusError):
                raise failure from None
            failed = told(entry.name, "initialize", failure)
            raise failed from failed.__cause__
        entry.life = life
        entry.move(_S.INITIALIZED)

    async def ensure_started(self, entry: Entry) -> None:
        """Initialize and start a plugin, as far as that was not done.

        Raises:
            PluginError: As `initialize` and `start` do.
            ConfigInvalid: As above.
        """
        async with entry.lock:
            if entry.state is not _S.STARTED:
                if entry.state is not _S.INITIALIZED:
                    await self.initialize(entry, None)
                await self.start(entry, None)

    async def start(self, entry: Entry, run: SampledRun | None) -> None:
        """Start a plugin that is initialized, once those are that it needs.

        Raises:
            IllegalTransition: It is not initialized.
            PluginError: One that it needs is not started, or its code raised something.
        """
        check_move(entry.name, entry.state, "start")
        for name in entry.needs:
            if (await self._shelf.find(name)).state is not _S.STARTED:
                raise MissingPlugin(entry.name, name, ())
        assert entry.life is not None
        entry.move(_S.STARTING)
        try:
            kernel = await self.running()
            await kernel.start_plugin(face_for(entry.life, run))
        except BaseException as error:
            cause = error.__cause__ or error if isinstance(error, HookError) else error
            entry.move(_S.FAILED, unrevealed(f"{type(cause).__name__}: {cause}"))
            entry.life = None
            if isinstance(cause, Exception):
                failure = told(entry.name, "start", cause)
                raise failure from failure.__cause__
            raise
        entry.move(_S.STARTED)

    async def stop(self, entry: Entry) -> None:
        """Stop an instance that is initialized, started or not.

        Raises:
            PluginError: Its code raised something; it has failed then.
        """
        life, state = entry.life, entry.state
        assert life is not None
        entry.life = None
        entry.move(_S.STOPPED)
        try:
            if state is _S.INITIALIZED or self._kernel is None:
                await life.end()
                return
            await self._kernel.stop_plugin(entry.name)
            if life.end_error is not None:
                raise life.end_error
        except (PluginNotFound, BusClosed):
            return  # it failed meanwhile, or the kernel has stopped: it is closed
        except Exception as failure:
            error = life.end_error or failure
            entry.move(_S.FAILED, unrevealed(f"{type(error).__name__}: {error}"))
            failed = told(entry.name, "stop", error)
            raise failed from failed.__cause__

    async def _stop_old(self, entry: Entry) -> None:
        """Stop the instance that is there, if one is; what fails in that is only logged."""
        if entry.life is None or entry.state not in STOPPABLE:
            entry.life = None
            return
        try:
            await self.stop(entry)
        except PluginError as error:
            logger.warning("%s", error)

    async def stop_dependents(self, entry: Entry) -> None:
        """Stop those that depend on a plugin, and those that depend on these before."""
        for other in self._shelf.dependents(entry):
            if other is entry or other.state not in (_S.STARTING, _S.STARTED, _S.DEGRADED):
                continue
            await self.stop_dependents(other)
            async with other.lock:
                if other.state in (_S.STARTED, _S.DEGRADED):
                    await self.stop(other)
