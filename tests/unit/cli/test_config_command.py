"""`runbus config`: what files and runs say, where each value comes from, what is different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus.cli._app import run_command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text("name: base\nmodel: {_target_: antigravity.x, width: 3}\n")
    Path("top.yaml").write_text("extends: base.yaml\nmodel:\n  width: 5\nlist: [1, {a: 2}]\n")
    return tmp_path


def test_show_prints_what_files_say_together_and_imports_nothing(folder: Path, capsys: Any) -> None:
    assert run_command(["config", "show", "top.yaml"]) == 0
    assert capsys.readouterr().out == (
        "name: base\nmodel:\n  _target_: antigravity.x\n  width: 5\nlist:\n- 1\n- a: 2\n"
    )
    assert run_command(["config", "show", "top.yaml:model"]) == 0
    assert "width: 5" in capsys.readouterr().out


def test_show_says_where_each_value_was_said(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS__MODEL__RATE", "0.5")
    assert run_command(["config", "show", "--origin", "top.yaml"]) == 0
    rows = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    assert {text.strip(): place.strip() for text, place in rows} == {
        "name = 'base'": "base.yaml:1",
        "model._target_ = 'antigravity.x'": "base.yaml:2",
        "model.width = 5": "top.yaml:3",
        "model.rate = 0.5": "RUNBUS__MODEL__RATE",
        "list[0] = 1": "top.yaml:4",
        "list[1].a = 2": "top.yaml:4",
    }


def test_diff_compares_files_and_runs(folder: Path, capsys: Any) -> None:
    assert run_command(["config", "diff", "base.yaml", "top.yaml"]) == 1
    assert capsys.readouterr().out == "~ model.width: 3 → 5\n+ list: [1, {'a': 2}]\n"
    assert run_command(["config", "diff", "top.yaml", "top.yaml"]) == 0
    assert capsys.readouterr().out == "no differences\n"
    for name, rate in (("one", 0.1), ("two", 0.2)):
        with runbus.init(name=name, config={"lr": rate}):
            pass
    assert run_command(["config", "diff", "one", "two"]) == 1
    assert capsys.readouterr().out == "~ lr: 0.1 → 0.2\n"


def test_export_writes_the_whole_in_another_form(folder: Path, capsys: Any) -> None:
    assert run_command(["config", "export", "top.yaml", "all.json"]) == 0
    found = json.loads(Path("all.json").read_text())
    assert found["model"] == {"_target_": "antigravity.x", "width": 5}
    assert run_command(["config", "export", "all.json", "all.toml"]) == 0
    assert run_command(["config", "diff", "all.toml", "top.yaml"]) == 0
    assert run_command(["config", "export", "top.yaml", "all.txt"]) == 2
    assert not Path("all.txt").exists()


def test_a_source_that_is_not_there_is_told(folder: Path, capsys: Any) -> None:
    assert run_command(["config", "show", "gone.yaml"]) == 2
    assert run_command(["config", "show", "gone"]) == 1
    assert run_command(["config", "show", "top.yaml:modle"]) == 2
    told = capsys.readouterr().err
    assert "gone.yaml: no such file" in told
    assert "there is no section 'modle'; did you mean 'model'" in told
