"""What a shell shows of the machine of a run, and of this one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import runbus
from runbus.cli._app import run_command
from runbus.metrics import System
from runbus.testing._waiting import wait_until

NVML = Path(__file__).parents[2] / "nvml" / "fake_nvml.c"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))


def test_samples_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init(system=System(every_s=0.01, slow_every_s=0.01)) as run:
        run.log("loss", 0.5)
        wait_until(lambda: "sys/cpu/util" in runbus.open_run(run.id).metric_names())

    assert run_command(["show", "latest"]) == 0
    shown = capsys.readouterr().out
    assert "loss" in shown
    assert "sys/cpu/util" not in shown
    assert "series of its machine are under sys/: --system shows them" in shown
    assert run_command(["show", "latest", "--system"]) == 0
    assert "sys/cpu/util" in capsys.readouterr().out


def test_what_sampling_costs_is_told_getter_by_getter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, NVML], check=True)
    Path(f"{library}.state").write_text("gpu Fake GPU-1 util=20 total=1000 used=10\n")
    monkeypatch.setenv("RUNBUS_NVML", str(library))

    assert run_command(["doctor", "--gpu"]) == 0
    lines = {line.split("  ")[0].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert "fast" in lines["cpu"]
    assert "not here" not in lines["gpu0/util"]
    assert "not here" in lines["gpu0/fan"]
