"""What a newcomer tries second: settings, lists on a terminal, names that are nearly right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.terminal import watch

import runbus
from runbus.cli._app import run_command
from runbus.cli._checks import ahead_s, clock_check
from runbus.config import load_batch
from runbus.errors import BatchInvalid, HomeUnusable

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, which is in no repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("place", ["runbus.yaml", "home/executors.yaml"])
@pytest.mark.parametrize(
    "text", ["executors: [", "executors: {gpu: {type: ssh, hots: [a]}}", "gpu: {type: shs}"]
)
def test_doctor_names_a_file_of_settings_that_cannot_be_used(
    place: str,
    text: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(folder / "home"))
    path = folder / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(text if "home" not in place else text.removeprefix("executors: "))

    assert run_command(["doctor"]) == 1
    assert f"!!  settings: {path}" in capsys.readouterr().out
    path.unlink()
    run_command(["doctor"])
    assert "settings" in capsys.readouterr().out.splitlines()[0]


def test_doctor_asks_the_machines_of_executors_that_have_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "runbus.yaml").write_text("executors: {gpu: {type: ssh, hosts: [no-host.invalid]}}")

    assert run_command(["executors"]) == 0
    assert "description" in capsys.readouterr().out.splitlines()[0]
    assert run_command(["doctor"]) == 1
    assert "!!  host no-host.invalid: " in capsys.readouterr().out


@pytest.mark.parametrize(("before_s", "after_s", "is_well"), [(-60, 60, True), (9, 9, False)])
def test_a_clock_is_not_wrong_because_the_machine_stood_still_while_it_was_asked(
    before_s: int, after_s: int, is_well: bool
) -> None:
    check = clock_check("clock", ahead_s(1e9, 1e9 + before_s, 1e9 + after_s), "its clock")

    assert (check.is_well, "-9.0 s" in check.found) == (is_well, not is_well)


def test_a_terminal_is_shown_the_newest_runs_that_it_has_room_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for at in range(30):
        with runbus.init(project="p", name=f"run-{at:02}"):
            pass

    _, screen, _ = watch([RUNBUS, "ls"], 80, 24)
    assert "10 more are not shown: -n 0 shows all" in screen
    assert "run-29" in screen
    assert "run-09" not in screen
    assert "run-00" in watch([RUNBUS, "ls", "-n", "0"], 80, 24)[1]
    assert run_command(["ls"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 31


def test_a_home_that_cannot_be_is_one_error_and_no_empty_list(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(HomeUnusable, match="/proc/nope") as caught:
        runbus.init(home="/proc/nope")
    assert caught.value.__suppress_context__
    monkeypatch.setenv("RUNBUS_HOME", "/proc/nope")
    code = "import runbus; runbus.init()"
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.stderr.count("Traceback") == 1
    assert run_command(["ls"]) == 0
    assert "no folder /proc/nope, which RUNBUS_HOME names" in capsys.readouterr().err


def test_status_says_which_batch_it_shows_unless_its_id_is_given(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "b.json"
    path.write_text(json.dumps({"project": "p", "jobs": [{"name": "j", "command": ["true"]}]}))
    run_command(["submit", str(path)])
    capsys.readouterr()

    assert run_command(["status"]) == 0
    captured = capsys.readouterr()
    name, _, project = captured.err.strip().partition(" of ")
    assert project == "p"
    assert captured.out.startswith("1 of 1 done")
    run_command(["status", name])
    assert capsys.readouterr().err == ""


def test_names_that_are_nearly_right_are_answered_with_the_right_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "AB":
        with runbus.init(project="p", name=name) as run:
            run.log("loss", 1.0)
    (folder / "fn.py").write_text("def train(): ...\n")
    for words, answer in (
        ("plot A B loss nosuch", "has no metric named 'nosuch'"),
        ("run fn:train", "fn.py:train"),
        ("run fn.py --executor gpu", "error: executors: there is no executor 'gpu'"),
        ("artifacts latest", "B keeps no file\n"),
        ("artifacts latest --kind image", "B keeps no file of kind 'image'\n"),
    ):
        run_command(words.split())
        assert answer in capsys.readouterr().err, words
    path = folder / "b.yaml"
    path.write_text("project: p\njobs: [{name: j, command: [a], retry: 3}]\n")
    with pytest.raises(BatchInvalid, match="unknown key 'retry'; did you mean 'retries'"):
        load_batch(str(path))
