"""Ctrl-C between the preparing of a batch and its leading: nothing is left that runs later."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus import AsyncExperiment, Command, Job
from runbus._home import Home
from runbus.cli import _launch
from runbus.experiment import find_experiment, job_statuses

NUMBERS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def experiment(tmp_path: Path) -> AsyncExperiment:
    task = Command(("touch", str(tmp_path / "ran")))
    return AsyncExperiment("early", [Job(name="a", task=task), Job(name="b", task=task)])


def signal_after(monkeypatch: pytest.MonkeyPatch, method: str, number: int) -> None:
    """Have a signal come as soon as a method of experiments has returned."""
    original: Callable[..., object] = getattr(AsyncExperiment, method)

    def then_signalled(self: AsyncExperiment, *args: object) -> object:
        result = original(self, *args)
        os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(AsyncExperiment, method, then_signalled)


def endings() -> list[tuple[str, str]]:
    records = [status.record for status in job_statuses(find_experiment("early"))]
    return [(record.state, record.reason) for record in records]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_before_the_jobs_are_led_ends_them_as_cancelled(
    experiment: AsyncExperiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    before = [signal.getsignal(one) for one in NUMBERS]
    signal_after(monkeypatch, "prepare", number)

    assert _launch.launch(experiment) == 128 + number

    assert endings() == [("CANCELLED", f"by {signal.Signals(number).name}")] * 2
    assert not Home().open_experiments()
    assert not (tmp_path / "ran").exists()
    assert [signal.getsignal(one) for one in NUMBERS] == before


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_before_anything_is_recorded_leaves_nothing(
    experiment: AsyncExperiment,
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    number: int,
    error: type[BaseException],
) -> None:
    signal_after(monkeypatch, "plan", number)

    with pytest.raises(error):
        _launch.launch(experiment)

    assert not home.exists()


def test_a_signal_before_a_supervisor_has_the_jobs_ends_them_as_cancelled(
    experiment: AsyncExperiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signal_after(monkeypatch, "intend", signal.SIGINT)

    assert _launch.detach(experiment, as_json=False) == 130

    deadline = time.monotonic() + 30
    while Home().open_experiments():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert endings() == [("CANCELLED", "by SIGINT")] * 2
    assert not (tmp_path / "ran").exists()
