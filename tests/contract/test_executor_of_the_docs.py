"""The executor that the docs write keeps the contract, too."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import Executor
from runbus.testing.conformance.executor import ExecutorContract, ExecutorFactory

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "executors.md"


class TestShellExecutor(ExecutorContract):
    @pytest.fixture
    def executors(self) -> ExecutorFactory:
        code, *_ = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        names: dict[str, Any] = {"__name__": "executor_of_the_docs"}
        exec(compile(code, str(PAGE), "exec"), names)

        @asynccontextmanager
        async def make() -> AsyncIterator[Executor]:
            yield names["ShellExecutor"]()

        return make
