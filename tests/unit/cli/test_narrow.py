"""What fits an 80-column terminal, and what is left out for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import runbus
from runbus.catalog import find_job, find_run

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
def test_lists_fit_80_columns_and_show_ids_and_names_by_which_runs_are_found(
    words: list[str], run: str
) -> None:
    status, narrow, _ = watch([RUNBUS, *words], 80, 24)
    assert status == 0
    _, wide, _ = watch([RUNBUS, *words], 200, 50)

    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert len(wide.splitlines()[0].split()) >= len(narrow.splitlines()[0].split())
    assert max(map(len, wide.splitlines())) >= max(map(len, narrow.splitlines()))
    if words == ["ls"]:
        assert find_run(narrow.splitlines()[1].split()[0]).id == run
        assert "SUCCEEDED" in "".join(narrow.split())
        assert "created" in narrow.splitlines()[0]
        assert "tags" in wide.splitlines()[0]
        assert narrow.splitlines()[-1] == "there is no room for tags"
    else:
        assert "long/name" in narrow


def test_what_came_out_stays_in_a_table_of_one_batch_and_its_ids_name_the_runs(
    tmp_path: Path,
) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import runbus\nrun = runbus.init()\nrun.log('loss', 0.12345678, step=12)\n"
        "raise SystemExit('the data set is not there')\n"
    )
    sweep = f"lr={','.join(str(0.01 * (at + 1)) for at in range(2))}"

    _, shown, _ = watch([RUNBUS, "run", str(script), "--sweep", sweep, "--project", "p"], 80, 40)

    table = shown[shown.index("run     ") :].splitlines()[:3]
    assert "loss" in table[0]
    assert all("0.123457" in line for line in table[1:])
    assert all(line.split()[1].startswith("train-lr=0.") for line in table[1:])
    short = table[1].split()[0]
    assert len(short) == len("k3x9qd-1")
    assert find_run(short).name == "train-lr=0.01"
    _, narrow, _ = watch([RUNBUS, "run", str(script), "--project", "p"], 60, 40)
    (header,) = (line for line in narrow.splitlines() if line.startswith("run  "))
    assert "loss" in header
    assert "last step" not in header
    hidden = [name for name in ("last step", "time") if name not in header]
    told = f"there is no room for {', '.join(hidden)}: runbus show RUN has all of a run"
    assert told in " ".join(narrow.split())
    assert os.path.basename(find_job(short)[0]) in find_run(short).id
    _, status, _ = watch([RUNBUS, "status", find_run(short).id.rpartition("-")[0]], 80, 40)
    assert short in status.split()
    assert find_run(short).id not in status
