"""`runbus run FILE.py:FUNCTION` and `python FILE.py` are one: the same words, the same project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus.cli._app import run_command

CODE = """
from dataclasses import dataclass
import runbus.cli

@dataclass
class Model:
    width: int = 1

def train(model: Model, name: str = "x") -> dict[str, object]:
    return {"width": model.width, "name": name}

if __name__ == "__main__":
    runbus.cli.main(train)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "words_of_tests.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "words_of_tests", raising=False)
    return tmp_path


def ran(*words: str) -> object:
    assert run_command(["run", "words_of_tests.py:train", *words]) == 0
    return runbus.runs()[-1].result


def test_a_function_takes_the_words_of_its_own_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "m.yaml").write_text("model: {width: 4}\nname: told\n")
    assert ran("--yaml", "m.yaml", "model.width+=1") == {"width": 5, "name": "told"}
    assert ran("model={width: 2}", "run.project=other", "run.name=named", "executor=local")
    assert (runbus.runs()[-1].project, runbus.runs()[-1].name) == ("other", "named")
    assert ran("{width: 3}", "placed") == {"width": 3, "name": "placed"}
    monkeypatch.setenv("RUNBUS__MODEL__WIDTH", "8")
    assert ran() == {"width": 8, "name": "x"}
    assert runbus.runs()[-1].project == "words_of_tests"


def test_a_dry_run_of_a_function_runs_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "words_of_tests.py:train", "--dryrun", "model.width=7"]) == 0
    out = capsys.readouterr().out
    assert "width: 7" in out
    assert "dryrun: True" in out
    assert not runbus.runs()


def test_options_of_scripts_are_still_refused_if_they_are_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "words_of_tests.py", "--dryrun"]) == 2
    assert "--dryrun" in capsys.readouterr().err


def test_a_module_that_is_a_file_here_is_answered_with_the_word_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(folder))])
    assert run_command(["run", "words_of_tests:train"]) == 2
    assert "is named with it: words_of_tests.py:train" in capsys.readouterr().err


def test_what_a_script_writes_names_its_module_and_runs_by_itself(folder: Path) -> None:
    script = [sys.executable, "words_of_tests.py", "model.width=3"]
    for words in (
        [*script, "--to-yaml", "c.yaml", "--to-python", "c.py"],
        [sys.executable, "c.py"],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
    assert "__main__" not in (folder / "c.yaml").read_text()
    assert "_target_: words_of_tests.Model" in (folder / "c.yaml").read_text()
    assert ran("--yaml", "c.yaml") == {"width": 3, "name": "x"}
