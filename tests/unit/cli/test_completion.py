"""Shells complete runs, projects and metrics; installed plugins are loaded when asked for."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus import Command, Job, api
from runbus.cli._app import run_command
from runbus.config import default_plugins
from runbus.errors import ConfigInvalid
from runbus.experiment import ExperimentDraft

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def completed(line: str) -> list[str]:
    """Return what bash would offer for the last word of a line."""
    asked = {"_RUNBUS_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_WORDBREAKS": " =:"}
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


def pressed(line: str, tmp_path: Path) -> tuple[str, str]:
    """Return the replies of a bash in which the tab key ends a line, and what it printed."""
    bash = shutil.which("bash")
    assert bash is not None
    script = f"""
        eval "$({RUNBUS} completion bash)"
        COMP_LINE={shlex.quote(line)} COMP_POINT=${{#COMP_LINE}}
        COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        _runbus_completion {RUNBUS}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    return done.stdout.strip(), done.stderr


def test_bash_completes_words_with_what_it_breaks_words_at(tmp_path: Path) -> None:
    with runbus.init(project="digits", name="train-lr=0.01") as run:
        run.log({"loss": 1.0, "val:acc": 1.0})
    with runbus.init(name="two words"):
        pass

    assert pressed("runbus show train-lr=0.0", tmp_path) == ("0.01", "")
    assert pressed("runbus plot train-lr=0.01 lo", tmp_path) == ("loss", "")
    assert pressed("runbus plot train-lr=0.01 val:", tmp_path) == ("acc", "")
    assert pressed("runbus show two", tmp_path) == (r"two\ words", "")


def test_a_completion_that_fails_prints_nothing() -> None:
    asked = {"_RUNBUS_COMPLETE": "bash_complete", "COMP_LINE": "runbus plot nothing lo"}
    done = subprocess.run([RUNBUS], env=os.environ | asked, capture_output=True, check=True)

    assert done.stdout + done.stderr == b""


def test_batches_are_completed_where_a_batch_is_meant() -> None:
    experiment = ExperimentDraft("seeds", [Job(name="seed-1", task=Command(("true",)))])
    stored = experiment.prepare()
    stored.intend()

    assert completed("runbus status see") == ["seeds"]
    assert completed(f"runbus status {stored.id[:8]}") == [stored.id]
    assert completed("runbus attach see") == completed("runbus retry see") == ["seeds"]
    assert completed("runbus cancel see") == ["seeds", "seed-1"]


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
def test_a_wrong_settings_file_is_a_warning_with_its_place_to_what_needs_nothing_of_it(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runbus.yaml").write_text(text)
    with pytest.raises(ConfigInvalid):
        default_plugins(str(tmp_path))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.json").write_text(
        json.dumps({"project": "p", "jobs": [{"name": "a", "command": ["true"]}]})
    )
    assert run_command(["submit", "b.json", "--dry-run"]) == 0
    assert re.match(r"warning: .*runbus\.yaml:1: ", capsys.readouterr().err)
    assert run_command(["submit", "b.json", "--dry-run", "--executor", "gpu"]) == 2


@pytest.mark.parametrize("is_first", [True, False])
def test_what_leads_a_detached_batch_loads_its_plugins_in_the_folder_it_was_submitted_from(
    is_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_SYSTEM", "0")  # a job that lasts would have samples written, too
    code = "import runbus\nwith runbus.init() as run: run.log('loss', 1.0)"
    batch = json.dumps(
        {"project": "p", "jobs": [{"name": "a", "command": [sys.executable, "-c", code]}]}
    )
    supervisors: list[int] = []
    spawn = os.posix_spawn

    def noted(path: str, words: tuple[str, ...], *args: Any, **options: Any) -> int:
        pid = spawn(path, words, *args, **options)
        supervisors.extend([pid] * ("supervise" in words))
        return pid

    monkeypatch.setattr(os, "posix_spawn", noted)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "b.json").write_text(batch)
        (folder / "runbus.yaml").write_text("plugins: [jsonl]\n")
    monkeypatch.chdir(tmp_path)
    os.mkfifo("go")
    if not is_first:  # a supervisor leads another batch meanwhile, and loads nothing
        wait = {"name": "waits", "command": ["sh", "-c", "read x < go"]}
        (tmp_path / "w.json").write_text(json.dumps({"project": "w", "jobs": [wait]}))
        assert run_command(["submit", "--detach", "w.json"]) == 0
    for folder in folders:
        monkeypatch.chdir(folder)
        assert run_command(["submit", "--detach", "b.json"]) == 0
        assert run_command(["attach"]) == 0  # follows, and writes nothing itself
    if not is_first:
        (tmp_path / "go").write_text("on\n")
        assert run_command(["attach", "w"]) == 0
    for pid in supervisors:  # what their plugins write comes after the end of a batch
        os.waitpid(pid, 0)
    for folder in folders:
        lines = (folder / "runbus-metrics.jsonl").read_text().splitlines()
        assert len(lines) == 1
        assert "loss" in lines[0]
    assert not (tmp_path / "runbus-metrics.jsonl").exists()


def test_the_end_of_jobs_does_not_wait_for_a_plugin_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job(name="a", task=Command(("sleep", "600")))]
    stored = ExperimentDraft("p", jobs, plugins=["no-such-plugin"]).prepare()
    stored.intend()
    os.utime(os.path.join(stored.folder, "leader"), (1, 1))  # no supervisor is waited for any more

    assert run_command(["attach"]) == 1
    assert "no-such-plugin" in capsys.readouterr().err
    assert run_command(["cancel", stored.id]) == 0
    assert run_command(["status"]) == 0
    assert "1 cancelled" in capsys.readouterr().out


def test_a_batch_that_is_tried_again_has_the_plugins_of_the_old_one(tmp_path: Path) -> None:
    jobs = [Job(name="a", task=Command(("false",)))]
    stored = ExperimentDraft("p", jobs, plugins=["jsonl"]).prepare()
    stored.intend()
    assert run_command(["cancel", stored.id]) == 0

    assert api.retry(stored.id, plugins=["other", "jsonl"]).plugins == ["jsonl", "other"]
