"""The event loops that tests of what runs in one are run under."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

import uvloop

__all__ = ["pytest_asyncio_loop_factories"]


class CheckingLoop(asyncio.SelectorEventLoop):
    """Checks what is done to it, and not how long that takes: the machine may stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.slow_callback_duration = math.inf

    def set_debug(self, enabled: bool) -> None:
        """Check always: pytest-asyncio says to each loop that it shall not."""
        super().set_debug(True)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every async test of a folder under three event loops."""
    return {
        "asyncio": asyncio.new_event_loop,
        "debug": CheckingLoop,
        "uvloop": uvloop.new_event_loop,
    }
