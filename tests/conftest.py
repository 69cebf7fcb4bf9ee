"""What every test gets: a home folder of its own; and that CI skips none."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tests.processes import processes_with

from runbus._home import ENV_ATTEMPT, ENV_RESULT, ENV_RUN, ENV_SAMPLER, ENV_SYSTEM
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

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
    # Of what goes on here none is of a job that pytest may be part of, nor sampled as that is.
    for name in (ENV_ATTEMPT, ENV_RESULT, ENV_RUN, ENV_SAMPLER, ENV_SYSTEM):
        monkeypatch.delenv(name, raising=False)
    return folder


END_BY_THEMSELVES = (
    "multiprocessing.resource_tracker",  # with the process that Python has started it for
    "test_a_child_that_is_left_behind_does_not_delay_the_end",  # outlasts all waits, by a minute
    "PYTEST_CURRENT_TEST=tests/services/",  # servers, with what they are started for
)


def left_behind(text: str) -> list[str]:
    """Return the words of processes with a text in their environment, and whose tests they are."""
    found = []
    for folder in (Path(f"/proc/{pid}") for pid in processes_with(text)):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            variables = (folder / "environ").read_bytes().split(b"\0")
            tests = [one for one in variables if one.startswith(b"PYTEST_CURRENT_TEST=")]
            told = os.fsdecode(b"".join([words, *tests]))
            if not any(one in told for one in END_BY_THEMSELVES):
                found.append(told)
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_goes_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no test leave a process behind, which the tests after it would share the machine with."""
    mark = f"RUNBUS_HOME={tmp_path_factory.getbasetemp()}/"
    yield
    try:
        wait_until(lambda: not left_behind(mark))
    except TimeoutError:
        pytest.fail(f"left behind: {left_behind(mark)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let CI not pass without having tried what a developer's machine may refuse."""
    report = yield
    if report.skipped and "CI" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI skips no test: {report.longrepr}"
    return report
