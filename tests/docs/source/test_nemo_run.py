"""The configuration and command line blocks of NeMo Run's page, with one import changed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
import runbus.compat.nemo_run as run
from runbus.config import Config, Partial
from runbus.errors import TaskInvalid

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

# `--factory executor=@executors/slurm.yaml`, too, once there is such an executor.
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
            words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50
        )
        assert (done.stdout, done.returncode) == (printed, 0), done.stderr
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


def test_names_that_are_not_here_say_what_takes_their_place() -> None:
    assert run.LocalExecutor is runbus.LocalExecutor
    packagers = {"code": run.GitArchivePackager(), "data": run.PatternPackager("*.json")}
    assert isinstance(run.HybridPackager(packagers), runbus.HybridPackager)
    with pytest.raises(AttributeError, match=r"use runbus\.AsyncExperiment, which"):
        _ = run.Experiment
    with pytest.raises(AttributeError, match="nothing like NeMo Run's SlurmExecutor yet"):
        _ = run.SlurmExecutor


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
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50,
        )  # fmt: skip

    assert call("None", "epochs+=1", "model.hidden_size*=2").stdout == "128 2\n"
    done = call("run.Config(LocalExecutor, gpus=[])", "model.hidden_size=3")
    assert done.returncode == 0, done.stderr
    assert [one.result for one in runbus.runs(project="train")] == [{"size": 3}]
    assert call("None", "run.name=x", "model.hidden_size=4").returncode == 0
    assert runbus.runs()[-1].result == {"size": 4}
