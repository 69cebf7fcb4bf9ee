"""Jobs for a supervisor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runbus.abc import JobSpec


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., JobSpec]:
    def make(name: str, executor: str = "a", **options: object) -> JobSpec:
        folder = tmp_path / "jobs" / name / "1"
        folder.mkdir(parents=True)
        return JobSpec(
            experiment_id="e", name=name, run_id=f"e-{name}", executor=executor, argv=("true",),
            cwd="/", env={}, folder=str(folder), run_folder=str(tmp_path / "runs" / name),
            **options,  # type: ignore[arg-type]
        )  # fmt: skip

    return make
