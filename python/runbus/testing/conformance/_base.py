"""What every part of the contract starts from: an executor, and what runs jobs on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator  # noqa: TC003 - fixtures are read at run time
from pathlib import Path  # noqa: TC003

import pytest
import pytest_asyncio

from runbus.testing.conformance._harness import ExecutorFactory, Harness

__all__ = ["Base"]


class Base:
    """The fixtures of the contract."""

    @pytest.fixture
    def executors(self) -> ExecutorFactory:
        """Return a function that makes an executor; a subclass says which."""
        raise NotImplementedError("a subclass of the contract has a fixture `executors`")

    @pytest_asyncio.fixture
    async def harness(self, executors: ExecutorFactory, tmp_path: Path) -> AsyncIterator[Harness]:
        """Return what runs jobs."""
        async with Harness(executors, os.fspath(tmp_path / "a höme")) as harness:
            yield harness
