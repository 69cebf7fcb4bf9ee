"""What fits an 80-column terminal, and what is left out for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import runbus

from .terminal import watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Return the id of a run with long names and files."""
    file = tmp_path / "a file of a long name that goes on.txt"
    file.write_text("x")
    with runbus.init(project="a-project-of-a-long-name", name="a run of a long name " * 3) as run:
        run.tag("one-tag", "another-tag")
        run.log_artifact(str(file), name="artifacts/of/a/long/name")
        for step in range(3):
            run.log({"train/loss/of/a/long/name": 1 / (step + 1), "acc": step}, step=step)
    return run.id


@pytest.mark.parametrize("words", [["ls"], ["artifacts", "latest"], ["metrics", "latest"]])
def test_lists_fit_80_columns_and_show_whole_ids_and_names(words: list[str], run: str) -> None:
    status, narrow, _ = watch([RUNBUS, *words], 80, 24)
    assert status == 0
    _, wide, _ = watch([RUNBUS, *words], 200, 50)

    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert len(wide.splitlines()[0].split()) >= len(narrow.splitlines()[0].split())
    assert max(map(len, wide.splitlines())) >= max(map(len, narrow.splitlines()))
    if words == ["ls"]:
        assert run in narrow
        joined = "".join(narrow.split())
        assert "SUCCEEDED" in joined
        assert "created" not in narrow
        assert "created" in wide
    else:
        assert "long/name" in narrow
