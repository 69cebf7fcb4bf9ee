"""Fixtures for pytest: `from runbus.testing.pytest_plugin import kernel_factory` in a conftest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from runbus.kernel import Kernel
from runbus.testing._leaks import assert_no_leaks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["kernel_factory"]


@pytest_asyncio.fixture
async def kernel_factory() -> AsyncIterator[Callable[..., Awaitable[Kernel]]]:
    """Return an async function that starts a kernel of given plugins; it ends with the test.

    After the test, each must have left nothing behind.
    """
    kernels: list[Kernel] = []
    async with AsyncExitStack() as stack:

        async def start(*plugins: Any, **options: Any) -> Kernel:
            kernel = Kernel(plugins=plugins, **options)
            await stack.enter_async_context(kernel)
            kernels.append(kernel)
            return kernel

        yield start
    await asyncio.sleep(0)
    for kernel in kernels:
        assert_no_leaks(kernel)
