"""Jobs whose machines are sampled, unless somebody says otherwise."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job, Kernel, LocalExecutor
from runbus.cli._app import run_command
from runbus.experiment import ExperimentDraft
from runbus.metrics import SAMPLES
from runbus.plugins import BackendPlugin, MetricType, PluginMetadata, PluginType, managed

JOBS = """
import os, sys
import runbus
from runbus.testing._waiting import wait_until


def silent() -> None:
    wanted = os.environ.get("RUNBUS_SYSTEM") != "0"
    run_id = os.path.basename(os.environ["RUNBUS_RUN"])
    # A rate may need a second row: the first one may come too soon after the beginning.
    rows = {"sys/job/rss", "sys/cpu/util"}
    if wanted:
        wait_until(lambda: rows <= {*runbus.open_run(run_id).metric_names()})


def declines() -> None:
    silent()
    run_folder = os.environ["RUNBUS_RUN"]
    with runbus.init(system=False):
        # Who samples a host holds a file.
        metrics = f"{run_folder}/metrics"
        wait_until(lambda: not any(name.startswith(".sampler-") for name in os.listdir(metrics)))


def own() -> None:
    with runbus.init(system=runbus.metrics.System(every_s=0.04)):
        silent()


if __name__ == "__main__":
    if sys.argv[1:] == ["knows-nothing"]:
        silent()
    elif sys.argv[1:] == ["declines"]:
        declines()
    else:
        with runbus.init():
            silent()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RUNBUS_SYSTEM", raising=False)
    (tmp_path / "sampled_jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sampled_jobs", raising=False)
    return tmp_path


def samples() -> list[str]:
    return [name for name in runbus.runs()[-1].metric_names() if name.startswith("sys/")]


def test_a_function_is_sampled_though_it_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "sampled_jobs.py:silent"]) == 0
    assert "sys/job/rss" in samples()
    # What its machine did is not what came out.
    assert "sys/" not in capsys.readouterr().out


def test_the_variable_says_how_and_goes_with_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "every_s=0.05,slow_every_s=0.05")
    assert run_command(["run", "sampled_jobs.py"]) == 0
    _, _, times = runbus.runs()[-1].metrics("sys/cpu/util").to_numpy()
    assert (times % 50_000_000 == 0).all()


def test_a_function_that_asks_for_itself_has_its_own_rhythm() -> None:
    assert run_command(["run", "sampled_jobs.py:own"]) == 0
    _, _, times = runbus.runs()[-1].metrics("sys/job/rss").to_numpy()
    assert (times[:-1] % 40_000_000 == 0).all()


@pytest.mark.parametrize("what", ["sampled_jobs.py:silent", "sampled_jobs.py"])
def test_no_system_switches_it_off_for_this_command(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "every_s=0.01")
    assert run_command(["run", "--no-system", what]) == 0
    assert samples() == []
    assert run_command(["run", what]) == 0
    assert samples() != []


def samplers() -> set[str]:
    files = os.listdir(Path(runbus.runs()[-1].folder, "metrics"))
    return {name.partition(".")[0] for name in files if "-s-h." in name}


def test_a_program_that_knows_nothing_of_runbus_is_sampled_with_its_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "every_s=0.05,slow_every_s=0.05")
    script = f"{sys.executable} sampled_jobs.py knows-nothing"
    assert runbus.run(runbus.Command(("sh", "-c", f"{script}; exit"))).state == "SUCCEEDED"
    run = runbus.runs()[-1]
    # The shell, and what it has started.
    assert max(run.metrics("sys/job/processes").values) >= 2
    assert len(samplers()) == 1


def test_the_samples_of_a_program_in_a_shared_home_are_of_the_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", "group")
    script = (sys.executable, "sampled_jobs.py", "knows-nothing")
    assert runbus.run(runbus.Command(script)).state == "SUCCEEDED"
    found = list(Path(runbus.runs()[-1].folder, "metrics").glob("*-s-h.journal"))
    assert [stat.S_IMODE(one.stat().st_mode) for one in found] == [0o660]


def test_a_program_that_joins_its_run_has_one_sampler() -> None:
    assert run_command(["run", "sampled_jobs.py"]) == 0
    assert len(samplers()) == 1


def test_a_process_that_wants_no_samples_ends_those_of_its_job() -> None:
    assert run_command(["run", "sampled_jobs.py", "--", "declines"]) == 0
    assert "sys/job/rss" in samples()


class Tracker(BackendPlugin):
    """Begins a run of its own with the first thing that it gets, as trackers do."""

    def __init__(self, wants: set[str]) -> None:
        self.wants = wants
        self.got: list[str] = []

    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata(name="tracker", version="1", type=PluginType.BACKEND)

    def can_handle_type(self, metric_type: MetricType) -> bool:
        return metric_type.value in self.wants

    def log_metric(self, name: str, value: float, iteration: int | None = None) -> None:
        self.got.append(name)

    def log_params(self, params: dict[str, object]) -> None:
        self.got += params

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        self.got.append(local_path)


@pytest.mark.parametrize("wants_samples", [False, True], ids=["trainings", "machines, too"])
async def test_a_tracker_hears_of_a_job_that_logs_nothing_only_if_it_wants_samples(
    wants_samples: bool,
) -> None:
    usual = {one.value for one in MetricType} - {"system"}
    tracker = Tracker(usual | {"system"} if wants_samples else usual)
    command = Command((sys.executable, "sampled_jobs.py", "knows-nothing"))
    draft = ExperimentDraft("p", [Job(name="a", task=command)])
    async with Kernel(plugins=[LocalExecutor(), managed(tracker, {})]) as kernel:
        (record,) = await draft.run(kernel.bus)
    assert record.state == "SUCCEEDED"
    assert all(name.startswith(SAMPLES) for name in tracker.got)
    assert bool(tracker.got) is wants_samples
