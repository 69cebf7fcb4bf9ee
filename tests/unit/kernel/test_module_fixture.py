"""A kernel that a whole module shares: entered and left by other tasks than those of the tests."""

from __future__ import annotations

import asyncio

import anyio
import pytest
import pytest_asyncio

from runbus.events import Notify
from runbus.kernel import Kernel
from runbus.testing import FakePlugin

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Fact(Notify, frozen=True):
    pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared():
    async def opens_a_group(scope):
        group = await scope.enter(anyio.create_task_group())
        group.start_soon(asyncio.Event().wait)

    seen = FakePlugin("seen", {Fact: None}, setup=opens_a_group)
    async with Kernel(plugins=[seen]) as kernel:
        yield kernel, seen
    assert seen.log[-1] == "seen: closed"


@pytest.mark.parametrize("time", [1, 2])
async def test_every_test_of_the_module_uses_the_same_kernel(shared, time):
    kernel, seen = shared
    # Where the tests are shared out among processes, another may have had the first of them.
    before = len(seen.seen)
    await kernel.bus.publish(Fact())

    assert len(seen.seen) == before + 1
