from __future__ import annotations

from tests.loops import pytest_asyncio_loop_factories

from runbus.testing.pytest_plugin import kernel_factory

__all__ = ["kernel_factory", "pytest_asyncio_loop_factories"]
