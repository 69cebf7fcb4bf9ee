"""An event loop that is closed with a kernel in it: its code is thrown away, and has not failed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from runbus import Kernel, Plugin
from runbus.events import Notify, Shutdown


class Fact(Notify, frozen=True):
    """A fact."""


async def for_ever(*_: object) -> None:
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def never_entered() -> AsyncIterator[None]:
    await for_ever()
    yield


@asynccontextmanager
async def never_left() -> AsyncIterator[None]:
    yield
    await for_ever()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class NeverWell:
    name = "waits"
    health = staticmethod(for_ever)

    async def setup(self, scope: Any) -> None:
        pass


class Asks:
    """Has one of its tasks wait until the plugin's own task has entered something."""

    name = "waits"

    async def setup(self, scope: Any) -> None:
        scope.start(scope.enter, never_entered())


@pytest.mark.parametrize(
    "plugin",
    [
        Plugin("waits").start(for_ever),
        Plugin("waits").on(Fact, for_ever),
        Plugin("waits").then(for_ever),
        Plugin("waits").enter(never_entered),
        Plugin("waits").enter(never_left),
        Plugin("waits").on(Shutdown, for_ever),
        NeverWell(),
        Asks(),
    ],
)
@pytest.mark.parametrize("stops", [False, True])
def test_code_whose_loop_is_gone_is_not_said_to_have_failed(
    plugin: Any, stops: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        kernel = Kernel(plugins=[plugin])
        entering = asyncio.ensure_future(kernel.__aenter__())
        await turns()
        if entering.done():
            await asyncio.to_thread(kernel.bus.publish_from_thread, Fact())
            await turns()
        if entering.done() and stops:
            kernel.stop()
            with suppress(asyncio.CancelledError):
                await turns()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.set_exception_handler(lambda loop, context: None)
    loop.close()
    del loop
    gc.collect()

    # That the machine stood still for a second is told, too.
    assert [text for text in caplog.messages if "has blocked the event loop" not in text] == []
