"""What the other tests of this folder run in."""

from __future__ import annotations

import asyncio
import math

import pytest


async def test_one_of_the_loops_checks_and_tells_of_nothing_that_takes_long(
    request: pytest.FixtureRequest,
) -> None:
    loop = asyncio.get_running_loop()
    is_checking = "debug" in request.node.name
    assert loop.get_debug() == is_checking
    if is_checking:
        assert loop.slow_callback_duration == math.inf
