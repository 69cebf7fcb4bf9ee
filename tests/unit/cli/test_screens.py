"""Screens that were looked at: what the commands that read show at 80, 160 and 200 columns."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import runbus
from runbus import Run
from runbus.catalog import query

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
SIZES = [(80, 24), (160, 50), (200, 50)]

_OF_THE_MACHINE = re.compile(r"^(command|python|cwd|commit) .*\n(?: {10}.*\n)*", re.MULTILINE)
_TIMES = re.compile(r"\d\d:\d\d:\d\d(\.\d{3})?")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with runs of two projects: short and long names, params, metrics, files."""
    monkeypatch.chdir(tmp_path)  # where there is no git
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / ".runbus"))
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x" * 12_345)
    for lr in (0.01, 0.03):
        config = {"lr": lr, "width": 8, "optimizer": {"name": "adam"}, "amp": True, "seed": None}
        with runbus.init(project="digits", name=f"train-lr={lr}", config=config) as run:
            log(run, lr)
    name = "a run whose name does not fit into a third of a narrow terminal"
    with runbus.init(project="a-project-of-a-long-name", name=name) as run:
        run.tag("best", "for-the-paper")
        run.note("the one for the paper, of which the note is longer than a line of a terminal is")
        log(run, 0.1)
        run.log_artifact(str(file), name="checkpoints/of the best/weights.bin", step=99)
    return tmp_path


def log(run: Run, lr: float) -> None:
    for step in range(100):
        loss = (1 - lr) ** step
        run.log({"train/loss": loss, "validation/accuracy/of the best so far": 1 - loss}, step=step)


def shown(screen: str) -> str:
    """Return a screen with as many other characters for what is different each time."""
    for found in set(re.findall(r"\d{8}-\d{6}-[0-9a-z]{6}", screen)):
        screen = screen.replace(found, "20300101-120000-abcdef")
    for run in runbus.runs():
        screen = screen.replace(run.id.split("-")[2], "abcdef")
    screen = _OF_THE_MACHINE.sub("", screen)
    screen = re.sub(r"\d{4}-\d\d-\d\d(?= \d\d:\d\d:\d\d)", "2030-01-01", screen)
    screen = re.sub(r"\d\d-\d\d \d\d:\d\d(?!:)", "01-01 12:00", screen)
    return _TIMES.sub(lambda found: "12:00:00" + (".000" if found[1] else ""), screen)


BEST = "name,lr,train/loss:min,train/loss:min@step,train/loss:mean"
COMMANDS = {
    "ls": ["ls"],
    "ls-project": ["ls", "--project", "digits"],
    "ls-columns": ["ls", "--columns", BEST, "--sort", "train/loss:min"],
    "ls-at": ["ls", "--at", "step=50", "--where", "train/loss<0.5"],
    "show": ["show", "latest"],
    "artifacts": ["artifacts", "latest"],
    "query-runs": ["query", "SELECT * EXCLUDE (folder, command, commit, changed) FROM runs"],
    "query-one": ["query", "SELECT id, config, commit, tags FROM runs ORDER BY id LIMIT 1"],
}


@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_screen_is_the_one_that_was_looked_at(
    name: str, columns: int, rows: int, home: Path
) -> None:
    status, screen, _ = watch([RUNBUS, *COMMANDS[name]], columns, rows)

    assert status == 0
    assert all(len(line) <= columns for line in screen.splitlines())
    check_golden(f"{name}-{columns}x{rows}", shown(screen))


def test_a_value_that_is_none_is_null_in_each_form(home: Path) -> None:
    sql = "SELECT problem, tags FROM runs LIMIT 1"

    assert query(sql)[1] == [(None, [])]
    for words, told in ([], "NULL     []"), (["--json"], '"problem":null'), (["--csv"], ",[]"):
        assert told in watch([RUNBUS, "query", sql, *words], 80, 24)[1]


def test_a_broken_path_of_show_is_whole_when_its_lines_are_put_together(home: Path) -> None:
    _, screen, _ = watch([RUNBUS, "show", "latest"], 40, 24)

    lines = screen[screen.index("folder") :].split("\n\n")[0].splitlines()
    assert "".join(line[10:] for line in lines) == runbus.runs()[-1].folder.replace(str(home), "~")


def test_a_true_param_is_found_as_it_is_shown(home: Path) -> None:
    _, screen, _ = watch([RUNBUS, "ls", "--where", "amp=true", "--columns", "name,amp"], 80, 24)

    assert screen.split() == ["name", "amp", "train-lr=0.01", "true", "train-lr=0.03", "true"]
