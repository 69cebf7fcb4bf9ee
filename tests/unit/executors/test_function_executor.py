"""Executors whose `execute` is the body of a job of this machine, as NeMo Run has them."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Config, Partial, api
from runbus.errors import RunbusError
from runbus.executors import FunctionExecutor

MODULE = """
import os, signal, sys, time
from runbus import Command
from runbus.executors import FunctionExecutor

class Announcing(FunctionExecutor):
    def __init__(self, namespace="default", replicas=1, **kwargs):
        super().__init__(**kwargs)
        self.namespace = namespace
        self.replicas = replicas

    def execute(self, task, config):
        print("on", self.namespace, self.replicas, config.get("lr"), flush=True)
        return super().execute(task, config)

class Twice(FunctionExecutor):
    def __init__(self):
        self.times = 2  # without super().__init__()

    def execute(self, task, config):
        first = super().execute(Command((*task.argv, "0")), config)
        return max(first, super().execute(Command((*task.argv, "1")), config))

class Raises(FunctionExecutor):
    def execute(self, task, config):
        raise ValueError("no cluster")

class Waits(FunctionExecutor):
    def execute(self, task, config):
        return super().execute(Command(("sleep", "600")), config)

def train(lr: float = 0.1):
    print("trained with", lr)
    return lr
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a module that other processes can import."""
    name = f"parts_of_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


def ran(task: Any, executor: Any) -> Any:
    run = api.run(task, executor=executor, check=False)
    return run


def written(run: Any, source: str = "stdout") -> str:
    return Path(run.attempt_folder(1), f"{source}.log").read_text()


def test_the_body_runs_in_a_job_and_runs_the_task_there(parts: Any) -> None:
    executor = parts.Announcing("ml-jobs", replicas=3)
    run = ran(Partial(parts.train, lr=0.5), executor)
    assert (run.state, run.result) == ("SUCCEEDED", 0.5)
    assert written(run) == "on ml-jobs 3 0.5\ntrained with 0.5\n"
    run = ran(
        Command(("sh", "-c", "echo $A; exit 7")),
        executor=Config(parts.Announcing, env_vars={"A": "x"}),
    )
    assert (run.state, run.job.exit_code) == ("FAILED", 7)
    assert written(run) == "on default 1 None\nx\n"


def test_a_body_may_run_another_task_and_need_not_call_the_constructor(parts: Any) -> None:
    run = ran(Command(("sh", "-c", 'echo $0; exit "$0"')), parts.Twice())
    assert (run.state, run.job.exit_code) == ("FAILED", 1)
    assert written(run) == "0\n1\n"


def test_what_the_body_raises_and_a_signal_fail_the_job(parts: Any) -> None:
    run = ran(Command(("true",)), parts.Raises())
    assert run.state == "FAILED"
    assert "ValueError: no cluster" in written(run, "stderr")
    run = ran(Command(("sh", "-c", "kill -9 $$")), parts.Announcing())
    assert (run.state, run.job.signal) == ("FAILED", signal.SIGKILL)


async def test_cancelling_ends_the_body_and_all_that_it_started(parts: Any) -> None:
    from runbus import Job, Kernel, Plugin
    from runbus.events import JobStarted
    from runbus.experiment import ExperimentDraft

    experiment = ExperimentDraft("p", [Job(name="a", task=Command(("true",)), executor="waits")])

    async def cancel(event: JobStarted) -> None:
        await experiment.cancel("by a test", 5)

    executor = parts.Waits()
    executor.name = "waits"
    async with Kernel(plugins=[executor, Plugin("cancels").on(JobStarted, cancel)]) as kernel:
        (record,) = await experiment.run(kernel.bus)
    assert record.state.value == "CANCELLED"


class Elsewhere(FunctionExecutor):
    """Made from what is no data."""

    def __init__(self, thing: Any = None) -> None:
        super().__init__()


def test_what_another_process_could_not_make_is_refused_before_anything_runs() -> None:
    class Local(FunctionExecutor):
        pass

    for executor in (Local(), Elsewhere(object())):
        with pytest.raises(RunbusError):
            api.run(Command(("true",)), executor=executor)


def test_a_dry_run_shows_what_the_body_is_made_from(parts: Any) -> None:
    experiment = runbus.experiment.ExperimentDraft(
        "p",
        [runbus.Job(name="a", task=Command(("true",)))],
        executor="k",
    )
    executor = parts.Announcing(namespace="ml")
    (request,) = experiment.plan({"k": executor})
    assert '"namespace": "ml"' in request.render()
    assert os.path.dirname(parts.__file__) in request.render()
