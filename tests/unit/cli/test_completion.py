"""Shells complete runs, projects and metrics; installed plugins are loaded when asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus.cli._app import run_command
from runbus.config import default_plugins
from runbus.errors import ConfigInvalid

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def completed(line: str) -> list[str]:
    """Return what bash would offer for the last word of a line."""
    words = line.split(" ")
    asked = {
        "_RUNBUS_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [RUNBUS], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return [one.partition(",")[2] for one in done.stdout.splitlines()]


def test_runs_projects_metrics_and_commands_are_completed() -> None:
    with runbus.init(project="digits", name="first") as run:
        run.log({"loss": 1.0, "lr": 1.0})

    assert completed("runbus show fi") == ["first"]
    assert completed(f"runbus show {run.id[:6]}") == [run.id]
    assert completed("runbus metrics first l") == ["loss", "lr"]
    assert completed("runbus plot first lo") == ["loss"]
    assert completed("runbus ls --project d") == ["digits"]
    assert "rename" in completed("runbus re")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_what_completion_prints(shell: str, tmp_path: Path) -> None:
    done = subprocess.run([RUNBUS, "completion", shell], capture_output=True, text=True, check=True)

    assert "_RUNBUS_COMPLETE" in done.stdout
    if (found := shutil.which(shell)) is not None:
        file = tmp_path / "completion"
        file.write_text(done.stdout)
        subprocess.run([found, "-n", str(file)], check=True)


def test_a_plugin_is_loaded_by_name_or_because_the_folder_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(
        "import runbus\nwith runbus.init() as run: run.log('loss', 1.0)\n"
    )
    written = tmp_path / "runbus-metrics.jsonl"

    assert run_command(["run", "--plugin", "jsonl", "train.py"]) == 0
    assert "loss" in written.read_text()
    written.unlink()
    (tmp_path / "runbus.yaml").write_text("plugins: [jsonl]\n")
    assert run_command(["run", "train.py"]) == 0
    assert "loss" in written.read_text()

    capsys.readouterr()
    assert run_command(["run", "--plugin", "jsonnl", "train.py"]) != 0
    assert "did you mean 'jsonl'" in capsys.readouterr().err
    assert len(runbus.runs()) == 2  # nothing was submitted


@pytest.mark.parametrize(
    "text", ["plugins: jsonl", "plugin: [a]", "[a]", "plugins: [1]", "plugins: ["]
)
def test_a_wrong_settings_file_is_refused_with_its_place(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runbus.yaml").write_text(text)
    with pytest.raises(ConfigInvalid):
        default_plugins(str(tmp_path))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.json").write_text(
        json.dumps({"project": "p", "jobs": [{"name": "a", "command": ["true"]}]})
    )
    assert run_command(["submit", "b.json"]) == 2
    assert "runbus.yaml:" in capsys.readouterr().err


def test_the_supervisor_loads_no_plugins_and_submit_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["submit", "--detach", "--plugin", "jsonl", "b.json"]) == 2
    assert "the supervisor loads none" in capsys.readouterr().err
