"""The configuration and command line blocks of NeMo Run's page, with one import changed."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
import runbus.compat.nemo_run as run
from runbus.config import Config, Partial, executor_data
from runbus.errors import TaskInvalid
from runbus.jobs import Asked

CONFIGURATION = """
from dataclasses import dataclass
import runbus.compat.nemo_run as run

@dataclass
class ModelConfig:
    hidden_size: int = 512
    num_layers: int = 12
    dropout: float = 0.1

@dataclass
class TrainingConfig:
    learning_rate: float = 1e-4
    batch_size: int = 32
    epochs: int = 100

def train_model(model: ModelConfig, training: TrainingConfig):
    return model.hidden_size * training.epochs

# Direct configuration
config = run.Config(ModelConfig, hidden_size=1024, num_layers=24)
model = config.build()  # Returns ModelConfig instance

# Partial configuration
train_fn = run.Partial(train_model, model=ModelConfig(), training=TrainingConfig())
"""

TRAIN = """
from dataclasses import dataclass, field
import runbus.compat.nemo_run as run

@dataclass
class Model:
    hidden_size: int = 512
    layers: int = 12
    size: int = 7

@dataclass
class Training:
    learning_rate: float = 1e-4
    batch_size: int = 32

@run.cli.factory
def big() -> run.Config[Model]:
    return run.Config(Model, size=70)

@run.cli.entrypoint(skip_confirmation=True)
def train(model: Model = Model(), training: Training = Training()):
    print(model.hidden_size, model.layers, model.size, training.learning_rate, training.batch_size)

if __name__ == "__main__":
    run.cli.main(train)
"""

COMMANDS = {
    "python train.py model.hidden_size=1024 training.learning_rate=2e-4": "1024 12 7 0.0002 32\n",
    "python train.py --factory @configs/base.yaml model.layers=24": "64 24 7 0.0001 32\n",
    "python train.py model.size*=2 training.batch_size+=16": "512 12 14 0.0001 48\n",
    "python train.py model=big": "512 12 70 0.0001 32\n",
    "python train.py --to-yaml config.yaml model.size=512": "",
}


def test_the_configuration_block_runs() -> None:
    found: dict[str, object] = {"__name__": "block"}
    sys.modules["block"] = sys.modules[__name__]
    exec(CONFIGURATION, found)
    model, train_fn = found["model"], found["train_fn"]
    assert (model.hidden_size, model.num_layers, model.dropout) == (1024, 24, 0.1)  # type: ignore[attr-defined]
    assert isinstance(train_fn, Partial)
    assert train_fn.build()() == 51_200
    del sys.modules["block"]


def test_the_command_lines_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("model:\n  hidden_size: 64\n")
    for line, printed in COMMANDS.items():
        words = [sys.executable, *line.split()[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150
        )
        assert (done.stdout, done.returncode) == (printed, 0), done.stderr
    # Of an executor it is a job; the page's is a cluster's, and this one is here.
    (tmp_path / "executors").mkdir()
    (tmp_path / "executors" / "slurm.yaml").write_text("type: local\n")
    words = [sys.executable, "train.py", "--factory", "executor=@executors/slurm.yaml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "512 12 7 0.0001 32\n" in done.stderr
    assert [str(one.state) for one in runbus.runs("train")] == ["SUCCEEDED"]
    words = [sys.executable, "train.py", "--dryrun", "model.size=512"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "size: 512" in done.stdout
    assert "size: 512" in (tmp_path / "config.yaml").read_text()


def test_names_and_arguments_are_those_of_the_source() -> None:
    script = run.Script(inline="echo hi", env={"A": "1"})
    assert script.command_line()[:3] == ("bash", "-c", "echo hi")
    assert run.Script("pkg.train", entrypoint="python", m=True).command_line()[1:] == (
        "-m",
        "pkg.train",
    )
    with pytest.raises(TaskInvalid, match="only Python runs modules"):
        run.Script("pkg.train", m=True)


@dataclasses.dataclass
class Made:
    width: int = 1


def test_autoconvert_takes_functions_with_conditions() -> None:
    @run.autoconvert
    def make(large: bool = False) -> Made:
        if large:
            return Made(9)
        return Made()

    assert make() == Config(Made)
    assert make(large=True) == Config(Made, width=9)
    partial = run.autoconvert(Made, partial=True)(width=3)
    assert partial == Partial(Made, width=3)


def measured(model: Made, steps: int = 1) -> int:
    raise AssertionError("a recipe calls nothing")


@run.cli.factory(target=measured)
@run.autoconvert(partial=True)
def recipe(large: bool = False) -> int:
    width = 0
    for one in range(3):
        width += one
    if large:
        return measured(model=Made(width=99))
    return measured(model=Made(width=width), steps=2)


def test_autoconvert_makes_a_partial_of_what_a_recipe_returns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert recipe() == Partial(measured, model=Config(Made, width=3), steps=2)
    assert recipe(large=True) == Partial(measured, model=Config(Made, width=99))
    assert runbus.cli.run_entrypoint(measured, ["--factory", "recipe", "--dryrun"]) == 0
    assert "steps: 2" in capsys.readouterr().out


BACKENDS = """
import runbus.compat.nemo_run as run

# Local execution
local_exec = run.LocalExecutor(
    env_vars={"CUDA_VISIBLE_DEVICES": "0,1"},
    working_dir="/path/to/project"
)

# Docker execution
docker_exec = run.DockerExecutor(
    container_image="pytorch/pytorch:2.0.0",
    num_gpus=4,
    volumes=["/data:/data", "/models:/models"],
    ports=["8080:8080"]
)

# Slurm execution
slurm_exec = run.SlurmExecutor(
    nodes=2,
    gpus_per_node=8,
    time="04:00:00",
    account="gpu-dept",
    partition="a100"
)

# Use with any configuration
config = run.Partial(train_model, model_size=1024)
run.run(config, executor=local_exec)  # or docker_exec, slurm_exec
"""

PACKAGING = """
import runbus.compat.nemo_run as run

# Git archive packaging
git_packager = run.GitArchivePackager()

# Pattern-based packaging
pattern_packager = run.PatternPackager(
    include=["*.py", "*.yaml", "*.json"],
    exclude=["__pycache__", "*.pyc", "tests/"]
)

# Hybrid packaging
hybrid_packager = run.HybridPackager([
    git_packager,
    pattern_packager
])

# Use with executor
executor = run.SlurmExecutor(packager=hybrid_packager)
"""

TUNNELING = """
import runbus.compat.nemo_run as run

# SSH tunnel to remote cluster
ssh_tunnel = run.SSHTunnel(
    host="login.cluster.com",
    user="username",
    identity="~/.ssh/id_rsa",
    job_dir="/scratch/username/runs"
)

# Use with executor
executor = run.SlurmExecutor(tunnel=ssh_tunnel)
"""


def test_the_backend_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a folder that is there; the page's `ports=[8080:8080]` is no Python."""
    (tmp_path / "backends_of_a_page.py").write_text(
        "import os\n\ndef train_model(model_size: int) -> list:\n"
        "    return [model_size, os.getcwd(), os.environ['CUDA_VISIBLE_DEVICES']]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("backends_of_a_page")
    found = {"train_model": module.train_model, "__name__": "block"}
    exec(BACKENDS.replace("/path/to/project", str(tmp_path)), found)
    (record,) = runbus.runs()
    assert record.result == [1024, str(tmp_path), "0,1"]
    for name, kind in (("docker_exec", "docker"), ("slurm_exec", "slurm")):
        assert executor_data(found[name], name)["type"] == kind
    assert executor_data(found["local_exec"], "local")["working_dir"] == str(tmp_path)


def test_the_packaging_and_the_tunnel_block_run() -> None:
    found: dict[str, object] = {}
    exec(PACKAGING, found)
    packager = executor_data(found["executor"], "slurm")["packager"]
    git, pattern = packager["packagers"]
    assert (packager["type"], git, pattern["type"]) == ("hybrid", {"type": "git"}, "pattern")
    assert pattern["include"] == ["*.py", "*.yaml", "*.json"]
    assert pattern["exclude"] == ["__pycache__", "*.pyc", "tests/"]
    exec(TUNNELING, found)
    assert executor_data(found["executor"], "slurm")["host"] == {
        "type": "ssh", "host": "login.cluster.com", "user": "username",
        "identity": os.path.expanduser("~/.ssh/id_rsa"), "job_dir": "/scratch/username/runs",
    }  # fmt: skip


def test_names_that_are_not_here_say_so() -> None:
    packagers = {"code": run.GitArchivePackager(), "data": run.PatternPackager("*.json")}
    assert isinstance(run.HybridPackager(packagers), runbus.HybridPackager)
    with pytest.raises(AttributeError, match="nothing like NeMo Run's SkypilotExecutor yet"):
        _ = run.SkypilotExecutor


DEFAULTS = """
from dataclasses import dataclass
import runbus.compat.nemo_run as run
from runbus import LocalExecutor

@dataclass
class Model:
    hidden_size: int = 512

def recipe() -> run.Partial:
    return run.Partial(train, model=run.Config(Model, hidden_size=64))

@run.cli.entrypoint(name="train", namespace="llm", skip_confirmation=True, default_factory=recipe)
def train(model: Model, epochs: int = 1) -> dict:
    print(model.hidden_size, epochs)
    return {"size": model.hidden_size}

if __name__ == "__main__":
    run.cli.main(train, default_executor=EXECUTOR, cmd_defaults={"skip_confirmation": True})
"""


def test_the_defaults_of_an_entrypoint_are_what_words_change(tmp_path: Path) -> None:
    def call(executor: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "trained.py").write_text(DEFAULTS.replace("EXECUTOR", executor))
        return subprocess.run(
            [sys.executable, "trained.py", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=150,
        )  # fmt: skip

    assert call("None", "epochs+=1", "model.hidden_size*=2").stdout == "128 2\n"
    done = call("run.Config(LocalExecutor, gpus=[])", "model.hidden_size=3")
    assert done.returncode == 0, done.stderr
    assert [one.result for one in runbus.runs(project="train")] == [{"size": 3}]
    assert call("None", "run.name=x", "model.hidden_size=4").returncode == 0
    assert runbus.runs()[-1].result == {"size": 4}


EXPERIMENT = """
import runbus.compat.nemo_run as run

# Create experiment
with run.Experiment("hyperparameter-sweep") as exp:
    # Add tasks with different configurations
    task1 = exp.add(
        train_model,
        model_size=512,
        executor=slurm_exec,
        name="small-model"
    )

    task2 = exp.add(
        train_model,
        model_size=1024,
        executor=slurm_exec,
        name="large-model"
    )

    # Add dependent task
    exp.add(
        evaluate_models,
        dependencies=[task1, task2],
        name="evaluation"
    )

    # Launch experiment
    exp.run(tail_logs=True, sequential=False)

# Later reconstruction
exp = run.Experiment.from_id("hyperparameter-sweep_20241201_123456")
exp.status()
exp.logs("large-model")
"""

# What the page has defined before; its Slurm executor is another block's.
BEFORE_EXPERIMENT = """
import runbus.compat.nemo_run as run

slurm_exec = run.LocalExecutor("slurm")

def train_model(model_size: int) -> int:
    print("trained", model_size)
    return model_size

def evaluate_models() -> str:
    return "evaluated"
"""


def test_the_experiment_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models_of_a_page.py").write_text(BEFORE_EXPERIMENT)
    monkeypatch.syspath_prepend(tmp_path)
    found = vars(importlib.import_module("models_of_a_page")) | {"__name__": "block"}
    launch, later = EXPERIMENT.split("# Later reconstruction")
    exec(launch, found)
    made = found["exp"].id
    assert found["exp"].results == {
        "small-model": 512, "large-model": 1024, "evaluation": "evaluated",
    }  # fmt: skip
    assert "large-model | trained 1024\n" in capsys.readouterr().err
    # An id of theirs is a title and a second, and names two experiments of that second.
    exec(later.replace("hyperparameter-sweep_20241201_123456", made), found)
    *rows, line = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["small-model", "SUCCEEDED"], ["large-model", "SUCCEEDED"], ["evaluation", "SUCCEEDED"],
    ]  # fmt: skip
    assert line == "trained 1024"
    with pytest.raises(runbus.errors.ExperimentNotFound):
        exec(later, found)

    again = run.Experiment.from_id(made).reset()
    assert (again.id, list(again.jobs)) == ("", ["small-model", "large-model", "evaluation"])
    again.run()
    assert again.id not in ("", made)
    assert again.results == found["exp"].results
    (evaluation,) = (one for one in Asked.read(again.folder).jobs if one.name == "evaluation")
    assert [one.job for one in evaluation.depends_on] == ["small-model", "large-model"]


def test_run_is_one_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local_exec = run.LocalExecutor()
    config = run.Partial(sum, [1, 2])
    record = run.run(config, executor=local_exec)
    assert record is not None
    assert record.result == 3
    assert run.run(run.Script(inline="echo $A", env={"A": "b"}), dryrun=True) is None
    assert "echo $A" in capsys.readouterr().out
    assert len(runbus.runs()) == 1
    exp = run.Experiment("one", base_dir=str(tmp_path / "else"))
    exp.add(run.Script(inline="echo a; echo b"), name="says")
    exp.run()
    assert exp.logs("says", regex="b") == "b\n"
    status = exp.status(return_dict=True)
    assert isinstance(status, dict)
    assert status["says"]["status"] == "SUCCEEDED"
    assert (tmp_path / "else" / "experiments").is_dir()
