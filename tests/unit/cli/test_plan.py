"""What `runbus plan` prints, for graphs that were looked at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Job
from runbus.cli._app import run_command
from runbus.experiment import ExperimentDraft

from .terminal import watch

GOLDEN = Path(__file__).parents[2] / "golden" / "plans"

STEPS = """
def search(rates):
    return {"best": {"lr": min(rates)}}

def train(lr: float):
    pass
"""

PLANS = {
    "layers": """
project: layers
jobs:
  - {name: report, command: ["true"], depends_on: [train-a, {job: train-b, when: afterany}]}
  - {name: train-a, command: [train, --seed, "1"], depends_on: [prepare], timeout: 1h}
  - {name: train-b, command: [train, --seed, "2"], depends_on: [prepare]}
  - {name: alarm, command: [mail], depends_on: [{job: train-a, when: afternotok}]}
  - {name: prepare, command: [prepare]}
""",
    "values": """
project: values
jobs:
  - name: train
    task:
      {type: function, target: steps.train, folder: ., values: {lr: {from: search, key: best.lr}}}
  - {name: tell, command: [sh, -c, 'echo "$BEST"'], env: {BEST: {from: search, key: best}}}
  - {name: search, task: {type: function, target: steps.search, folder: ., values: {rates: [0.5]}}}
""",
    "places": """
project: places
executors:
  packed: {type: local, packager: {type: pattern, include: ["*.py"]}}
  far: {type: ssh, hosts: [gpu1], workdir: /data}
jobs:
  - {name: here, command: [make, data]}
  - {name: there, command: [train], executor: far, depends_on: [here], env: {KEY: {secret: NONE}}}
  - {name: after, command: ["true"], executor: packed, depends_on: [{job: old, experiment: before}]}
""",
    "queue": """
project: queue
executors:
  cluster: {type: slurm, job_dir: /shared/me}
  here: {type: slurm, job_dir: /shared/me, native_dependencies: false}
jobs:
  - {name: prepare, command: [prepare], executor: cluster}
  - {name: train, command: [train], executor: cluster, depends_on: [prepare], retries: 1}
  - {name: eval, command: [eval], executor: cluster, depends_on: [prepare, train]}
  - {name: clean, command: [rm], executor: here, depends_on: [{job: prepare, when: afterany}]}
""",
}  # fmt: skip


def planned(capfd: pytest.CaptureFixture[str], path: Path, *words: str) -> str:
    assert run_command(["plan", str(path), *words]) == 0
    out = capfd.readouterr().out
    for known, name in {
        os.environ["RUNBUS_HOME"]: "HOME", str(path.parent): "FOLDER", sys.executable: "PYTHON",
    }.items():  # fmt: skip
        out = out.replace(known, name)
    return re.sub(r"20\d{6}-\d{6}-[a-z0-9]{6}", "ID", out)


def files(folder: Path) -> set[Path]:
    """Return what there is, but for what Python keeps of modules that it has imported."""
    return {one for one in folder.rglob("*") if "__pycache__" not in one.parts}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "steps.py").write_text(STEPS)
    monkeypatch.chdir(tmp_path)
    ExperimentDraft("before", [Job(name="old", task=Command(("true",)))]).prepare()
    return tmp_path


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_plan_is_the_one_that_was_looked_at(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(PLANS[name])
    known = files(folder)
    out = planned(capfd, path)
    if os.environ.get("RUNBUS_GOLDEN") == "write":
        (GOLDEN / f"{name}.txt").write_text(out)
    assert out == (GOLDEN / f"{name}.txt").read_text()
    assert files(folder) == known  # nothing was written


def test_a_dry_run_is_the_plan_and_a_program_gets_it_as_an_object(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / "places.yaml"
    path.write_text(PLANS["places"])
    assert run_command(["plan", str(path)]) == 0
    plan = capfd.readouterr().out
    assert run_command(["submit", str(path), "--dry-run"]) == 0
    assert capfd.readouterr().out == plan

    told = json.loads(planned(capfd, path, "--json"))
    assert [(job["name"], job["stage"]) for job in told["jobs"]] == [
        ("here", 1), ("there", 2), ("after", 1)
    ]  # fmt: skip
    assert told["jobs"][2]["depends_on"] == [{"job": "old", "when": "afterok", "experiment": "ID"}]
    assert told["code"] == {
        "packed": {"files": [{"path": "steps.py", "size": len(STEPS)}], "commits": []}
    }
    assert told["jobs"][0]["request"].startswith("# runbus: 'here' of EXPERIMENT, attempt 1\n")


def test_of_many_jobs_that_are_alike_a_terminal_is_shown_one(tmp_path: Path) -> None:
    names = [f"train-{at}" for at in range(1_000)]
    jobs: list[dict[str, Any]] = [{"name": name, "command": ["true"]} for name in names]
    jobs.append({"name": "report", "command": ["true"], "depends_on": names})
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "many", "jobs": jobs}))
    words = [os.path.join(os.path.dirname(sys.executable), "runbus"), "plan", str(path)]

    status, screen, _ = watch(words, 80, 24)
    piped = subprocess.run(words, check=True, capture_output=True, text=True).stdout

    lines = screen.splitlines()
    assert status == 0
    assert lines[:2] == ["# many: 1,001 jobs in 2 stages", "# 1  train (1,000)  on local"]
    assert lines[2].startswith("# 2  report         on local  after train-0, train-1, ")
    assert " and 990 more" in screen
    assert [line for line in lines if line.startswith("# job")] == [
        "# job train-0, and 999 like it",
        "# job report",
    ]
    assert "of jobs that are alike one request is shown" in screen
    assert piped.count("\n# job ") == 1_001
