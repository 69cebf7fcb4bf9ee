"""`runbus compare`: configs and metrics side by side, and only what differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbus

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture(autouse=True)
def runs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make runs of which one has a name that would clear a terminal."""
    monkeypatch.chdir(tmp_path)  # where there is no git
    for name, lr in [("small", 0.01), ("large", 0.3), ("odd\x1b[2J", 0.3)]:
        config = {"lr": lr, "seed": 7, "optimizer": {"name": "adam" if lr < 0.1 else "sgd"}}
        with runbus.init("p", name, config=config) as run:
            if name == "large":
                run.params({"schedule": "cosine, of which the description is rather long"})
            run.tag(*["best"][: lr < 0.1])
            for step in range(3):
                run.log({"loss": (1 - lr) ** step, "constant\x1b[2J": 1.0}, step=step)


def compare(*words: str, status: int = 0) -> tuple[str, str]:
    made = subprocess.run([RUNBUS, "compare", *words], capture_output=True, text=True, timeout=120)
    assert made.returncode == status, made.stderr
    return made.stdout, made.stderr


@pytest.mark.parametrize("columns", [80, 200])
def test_only_what_differs_is_shown(columns: int) -> None:
    names = "small", "large", "odd\x1b[2J"
    status, screen, _ = watch([RUNBUS, "compare", *names], columns, 24)

    assert status == 0
    lines = [line for line in screen.splitlines(keepends=True) if not line.startswith("created")]
    check_golden(f"compare-{columns}x24", "".join(lines))


def test_all_and_what_was_asked_for_are_shown_too() -> None:
    rows = json.loads(compare("small", "large", "--all", "--json")[0])
    kinds = {one["name"]: (one["kind"], list(one["values"].values())) for one in rows}
    assert kinds["seed"] == ("param", [7, 7])
    assert kinds["constant\x1b[2J"] == ("metric", [1.0, 1.0])
    assert kinds["schedule"][1][0] is None

    rows = json.loads(compare("p", "--columns", "loss:min@step,state", "--json")[0])
    assert [list(one["values"].values()) for one in rows] == [[2, 2, 2], ["SUCCEEDED"] * 3]
    rows = json.loads(compare("small", "large", "--at", "step=1", "--json")[0])
    assert [0.99, 0.7] in [list(one["values"].values()) for one in rows]


def test_what_cannot_be_compared_is_refused_with_what_may_have_been_meant() -> None:
    assert "did you mean 'small'" in compare("smal", "large", status=1)[1]
    assert "name another" in compare("small", "small", status=2)[1]
    assert "did you mean 'loss:min'" in compare("p", "--columns", "los:min", status=2)[1]
    assert (
        "the steps next to it are 2"
        in compare("p", "--columns", "loss", "--at", "step=9", status=2)[1]
    )
