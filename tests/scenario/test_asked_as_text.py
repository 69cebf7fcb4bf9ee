"""What was asked of an experiment is written as a batch file and as code: they ask for the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus.catalog import find_experiment
from runbus.cli._app import run_command
from runbus.errors import UsageError
from runbus.experiment import as_batch, as_python
from runbus.jobs import Asked

BATCH = """
project: flow
executor: here
max_parallel: 3
fail_fast: true
executors:
  here:
    {type: local, packager: {type: pattern, include: [/steps.py, /train.py, sub/*]}, timeout: 1h}
jobs:
  - name: search
    task:
      {type: function, target: steps.search, folder: ., values: {rates: [0.5, 0.25], note: "a: b"}}
    config: {seed: 3, odd: "*"}
  - name: train
    script: train.py
    args: ["--lr=1", {from: search, key: best}]
    env: {PLAIN: "1", TOKEN: {secret: "env:HF_TOKEN"}, BEST: {from: search, key: best.lr}}
    cwd: sub
    gpus: 0
    nice: 5
    retries: 2
    retry_on: [oom, 7]
    backoff: 0.5
    timeout: 5m
    idle_timeout: 60
    stop_when: loss > 3 after 500
    artifacts: ["*.ckpt", "out/**/*.json"]
  - name: alarm
    executor: local
    command: [sh, -c, "echo \\"no\\"\\n# 'x'"]
    depends_on: [{job: train, when: afternotok}]
  - {name: one, group: pair, command: ["true"], depends_on: [search]}
  - {name: two, group: pair, command: ["true"]}
"""


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Record a batch with something of everything; return its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "secret")
    Path("sub").mkdir()
    Path("sub/here.py").write_text("")
    Path("train.py").write_text("raise SystemExit(1)\n")
    Path("steps.py").write_text(
        "def search(rates: list[float], note: str):\n    return {'best': {'lr': min(rates)}}\n"
    )
    Path("batch.yaml").write_text(BATCH)
    assert run_command(["submit", "batch.yaml"]) == 1
    return find_experiment("flow")


def asked(folder: str) -> list[str]:
    """Return what was asked, without what differs from one time to the next."""
    found = Asked.read(folder)
    text = repr({name: getattr(found, name) for name in found.__struct_fields__})
    text = text.replace(found.id, "ID")
    return re.split(r", (?=[a-z_]+=|')", re.sub(r"'created_ns': \d+", "", text))


def test_a_batch_file_of_an_experiment_asks_for_the_same(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_command(["show", "flow", "--as", "yaml"]) == 0
    text = capsys.readouterr().out
    Path("again.yaml").write_text(text)

    assert run_command(["submit", "again.yaml"]) == 1

    again = find_experiment("flow")
    assert again != batch
    assert asked(again) == asked(batch)
    assert as_batch(again).replace(os.path.basename(again), "ID") == text.replace(
        os.path.basename(batch), "ID"
    )


def test_code_of_an_experiment_asks_for_the_same(
    batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_command(["show", "search", "--as", "python"]) == 0
    Path("again").write_text(capsys.readouterr().out)

    subprocess.run([sys.executable, "again"], check=False, capture_output=True, timeout=120)

    again = find_experiment("flow")
    assert again != batch
    assert asked(again) == asked(batch)


def test_an_experiment_that_was_found_again_tells_the_same(batch: str) -> None:
    found = runbus.Experiment.from_id(os.path.basename(batch))

    assert (found.as_yaml(), found.as_python()) == (as_batch(batch), as_python(batch))
    with pytest.raises(UsageError, match="not recorded"):
        runbus.Experiment("new").as_yaml()


def test_what_is_shown_is_as_it_is_shown(batch: str, tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "asked"
    for suffix, text in (("yaml", as_batch(batch)), ("python", as_python(batch))):
        text = text.replace(os.path.basename(batch), "ID").replace(str(tmp_path), "/flow")
        if os.environ.get("RUNBUS_GOLDEN") == "write":
            golden.mkdir(exist_ok=True)
            (golden / f"flow.{suffix}").write_text(text)
        assert text == (golden / f"flow.{suffix}").read_text()


def test_a_run_of_its_own_script_was_asked_by_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init(project="p", name="mine"):
        pass

    assert run_command(["show", "mine", "--as", "yaml"]) == 2

    assert "'mine' was begun by its own script" in capsys.readouterr().err
