"""What an entrypoint says, as it is read at 80 columns without color: help and errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden" / "entrypoints"

SCRIPT = '''
from dataclasses import dataclass, field
from typing import Literal

import runbus.cli
from runbus import Config


@dataclass
class Optimizer:
    """How weights change.

    Attributes:
        lr: The learning rate, before the schedule changes it; the larger the model, the smaller.
        betas: How fast the moments are forgotten.
    """

    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass
class Model:
    """A model.

    Attributes:
        width: Units in a layer.
    """

    width: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    layers: list[int] = field(default_factory=list)


@runbus.cli.factory
def small(width: int = 8) -> Config[Model]:
    return Config(Model, width=width)


def train(
    model: Model,
    data: str = "digits",
    kind: Literal["adam", "sgd"] = "adam",
    p3: int = 1,
    p34: int = 1,
    p13: int = 1,
) -> None:
    """Train a model on some data, and say how well it does when it has seen all of it.

    Args:
        data: What to train on.
        kind: Which optimizer.
    """


if __name__ == "__main__":
    runbus.cli.main(train)
'''

ERRORS = [
    ["--pp3"],
    ["--pp3=5", "model=small"],
    ["model=smal"],
    ["model=small(widht=3)"],
    ["model.widht=3", "kind=adma", "p3=five", "data.x=1"],
    ["model=small", "model.optimizer.betas[2]=1"],
    ["model=small", "model.layers[0]=1"],
    ["model=small", "kind*=2"],
    ["data=a"],
    ["model=small", "--yaml", "gone.yaml"],
    ["model=small", "p3=1", "late"],
    ["model=small", "executor=lcoal"],
    ["model=small", "run.executr=local"],
    ["model=small", "--factory"],
    ["model=small", "p3="],
    ["model.width=\x1b[31m\u202e" + "x" * 200],
]


def said(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: os.environ[name] for name in ("PATH", "RUNBUS_HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env=environment | {"COLUMNS": "200", "PYTHONUTF8": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("entry")
    (path / "train.py").write_text(SCRIPT)
    return path


def test_the_help_is_the_one_that_was_agreed_on(folder: Path) -> None:
    done = said(folder, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (GOLDEN / "help.txt").read_text()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_errors_are_the_ones_that_were_agreed_on(folder: Path) -> None:
    told = []
    for words in ERRORS:
        done = said(folder, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        told.append(f"$ train.py {' '.join(words)!a}\n{done.stderr}")
    found = "\n".join(told).replace(str(folder), "FOLDER")
    assert found == (GOLDEN / "errors.txt").read_text()
    assert "\x1b" not in found
