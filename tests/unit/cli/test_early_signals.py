"""Ctrl-C between the preparing of a batch and its leading: nothing is left that runs later."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from runbus import Command, Job
from runbus._home import Home
from runbus.catalog import find_experiment, job_statuses
from runbus.cli import _launch
from runbus.executors import LocalExecutor
from runbus.experiment import ExperimentDraft, StoredExperiment
from runbus.jobs import read_requests
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runbus.abc import Executor, JobSpec, Request
    from runbus.jobs import CancelRequest, JobRecord

Result = TypeVar("Result")
NUMBERS = [signal.SIGINT, signal.SIGTERM]


class Interrupted(ExperimentDraft):
    """An experiment during which a signal comes: as soon as one of the methods has returned."""

    def __init__(self, folder: Path, method: str, number: int) -> None:
        task = Command(("touch", str(folder / "ran")))
        super().__init__("early", [Job(name="a", task=task), Job(name="b", task=task)])
        self.method = method
        self.number = number

    def prepare(self, executors: Mapping[str, Executor] | None = None) -> StoredExperiment:
        if self.method == "plan":
            executors = {"local": InterruptedExecutor(self)}
        stored = InterruptedStored.open(super().prepare(executors).folder)
        stored.asked = self
        return self.after("prepare", stored)

    def after(self, method: str, result: Result) -> Result:
        if method == self.method:
            os.kill(os.getpid(), self.number)
        return result


class InterruptedStored(StoredExperiment):
    """The same, once it lies on disk."""

    asked: Interrupted

    def intend(self) -> list[JobRecord]:
        return self.asked.after("intend", super().intend())


class InterruptedExecutor(LocalExecutor):
    """What is asked, before anything is recorded, whether it can run the jobs."""

    def __init__(self, asked: Interrupted) -> None:
        super().__init__()
        self.asked = asked

    def plan(self, job: JobSpec) -> Request:
        return self.asked.after("plan", super().plan(job))


def endings() -> list[tuple[str, str]]:
    records = [status.record for status in job_statuses(find_experiment("early"))]
    return [(record.state, record.reason) for record in records]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_before_the_jobs_are_led_ends_them_as_cancelled(
    tmp_path: Path, number: int
) -> None:
    before = [signal.getsignal(one) for one in NUMBERS]

    assert _launch.launch(Interrupted(tmp_path, "prepare", number)) == 128 + number

    assert endings() == [("CANCELLED", f"by {signal.Signals(number).name}")] * 2
    assert not Home().open_experiments()
    assert not (tmp_path / "ran").exists()
    assert [signal.getsignal(one) for one in NUMBERS] == before


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_before_anything_is_recorded_leaves_nothing(
    home: Path, tmp_path: Path, number: int, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        _launch.launch(Interrupted(tmp_path, "plan", number))

    assert not home.exists()


def test_a_signal_before_a_supervisor_has_the_jobs_ends_them_as_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Interrupted(tmp_path, "intend", signal.SIGINT)
    asked: list[list[CancelRequest]] = []
    spawn = os.posix_spawn

    def noted(*words: Any, **options: Any) -> int:
        asked.append([*read_requests(experiment.folder).values()])
        return spawn(*words, **options)

    monkeypatch.setattr(os, "posix_spawn", noted)
    assert _launch.detach(experiment, json_out=None) == 130

    (found,) = asked  # once, and before there is anybody who would begin the jobs
    assert [(one.job, one.reason) for one in found] == [(None, "by SIGINT")]
    wait_until(lambda: not Home().open_experiments())
    assert endings() == [("CANCELLED", "by SIGINT")] * 2
    assert not (tmp_path / "ran").exists()


def test_a_signal_after_a_supervisor_was_started_is_passed_on_until_nothing_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Interrupted(tmp_path, "", signal.SIGTERM)
    monkeypatch.setattr(os, "posix_spawn", lambda *words, **options: 0)  # nobody takes the request
    getsignal = signal.getsignal

    def asked_at_the_end(number: int) -> object:
        if number == signal.SIGTERM:  # whose handler is the last that is put back
            os.kill(os.getpid(), number)
        return getsignal(number)

    monkeypatch.setattr(signal, "getsignal", asked_at_the_end)
    assert _launch.detach(experiment, json_out=None) == 143

    asked = read_requests(experiment.folder).values()
    assert [(one.job, one.reason) for one in asked] == [(None, "by SIGTERM")]
