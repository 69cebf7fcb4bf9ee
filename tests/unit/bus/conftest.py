from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

from runbus.testing.pytest_plugin import kernel_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["kernel_factory"]


def checking_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that checks what is done to it."""
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every async test of this folder under three event loops."""
    return {
        "asyncio": asyncio.new_event_loop,
        "debug": checking_loop,
        "uvloop": uvloop.new_event_loop,
    }
