"""What every test gets: a home folder of its own; and that CI skips none."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

# How long an example takes depends on what else the machine does: no law fails because of it.
settings.register_profile("runbus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("runbus")


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, also if the parent of pytest ignores it.

    A shell's background jobs ignore SIGINT, those of nohup SIGHUP; children inherit that.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            is_int = number is signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_int else signal.SIG_DFL)


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
