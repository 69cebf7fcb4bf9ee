"""What every test gets: a home folder of its own; and that CI skips none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# How long an example takes depends on what else the machine does: no law fails because of it.
settings.register_profile("runbus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("runbus")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home folder of this test; it does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("RUNBUS_HOME", str(folder))
    monkeypatch.delenv("RUNBUS_RUN", raising=False)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let CI not pass without having tried what a developer's machine may refuse."""
    report = yield
    if report.skipped and "CI" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI skips no test: {report.longrepr}"
    return report
