"""`runbus export`: what other programs read of runs is what they logged."""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbus
from runbus.catalog import export, open_run, query, survey
from runbus.cli._app import run_command
from runbus.errors import HomeUnusable, UsageError

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
VALUES = [0.5, 1e300, math.nan, math.inf, -math.inf, -0.0]


@pytest.fixture(autouse=True)
def folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make two runs of one project, one of them sealed; return where the files are to be."""
    monkeypatch.chdir(tmp_path)  # where there is no git
    with runbus.init("p", "a", config={"lr": 0.1, "text": 'of "quotes", and\nlines'}) as run:
        for value in VALUES:
            run.log({"loss": value})
        run.log({"big": 2**63 - 1})
        run.tag("good")
    open_run("a").seal()
    with runbus.init("p", "b\x1b[2J") as run:
        run.log({"loss": 2.0, "acc": 1.0})
    return tmp_path / "out"


def read(path: str) -> list[dict[str, Any]]:
    match Path(path).suffix:
        case ".csv":
            with open(path, newline="") as file:
                return list(csv.DictReader(file))
        case ".json":
            text = Path(path).read_text()
            rows: list[dict[str, Any]] = json.loads(text, parse_constant=pytest.fail)
            return rows
    import pyarrow.parquet

    found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("kind", ["parquet", "csv", "json"])
def test_points_come_back_as_they_were_logged(kind: Any, folder: Path) -> None:
    runs, metrics = export(survey(), kind, folder)

    rows = read(runs)
    assert [row["name"] for row in rows] == ["a", "b\x1b[2J"]
    for row, one in zip(rows, survey(), strict=True):
        assert abs(int(row["created_ns"]) - one.created_ns) <= 1000
    config = rows[0]["config"]
    config = config if isinstance(config, dict) else json.loads(config)
    assert config == {"lr": 0.1, "text": 'of "quotes", and\nlines'}
    tags = rows[0]["tags"]
    assert tags == (["good"] if kind != "csv" else '["good"]')
    points = read(metrics)
    loss = [one for one in points if one["name"] == "loss" and one["run"] == rows[0]["id"]]
    assert [float(one["value"]).hex() for one in loss] == [float(one).hex() for one in VALUES]
    assert [int(one["step"]) for one in loss] == list(range(len(VALUES)))
    (big,) = [one for one in points if one["name"] == "big"]
    assert int(big["exact"]) == 2**63 - 1
    assert query("SELECT epoch_ns(time) FROM metrics WHERE name = 'big'")[1] == [
        (int(big["time_ns"]),)
    ]


def test_only_what_is_asked_for_is_written(folder: Path) -> None:
    _, metrics = export(survey(), "csv", folder, ["ac?", "b*"])

    assert {row["name"] for row in read(metrics)} == {"acc", "big"}


def test_nothing_is_replaced_and_nothing_is_left_where_the_disk_is_full(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(UsageError, match="name another folder"):
        export(survey(), "csv", folder)
    with pytest.raises(HomeUnusable, match="no such file"):
        export(survey(), "csv", folder / "a" / "b")
    folder.rmdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(HomeUnusable):
            export(survey(), "csv", folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in folder.parent.iterdir() if "out" in path.name] == []


def test_the_command_names_its_files_and_refuses_what_is_unknown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_command(["export", *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    assert command("p", "--to", "csv")[:2] == (0, "p-export/runs.csv\np-export/metrics.csv\n")
    assert len(read("p-export/metrics.csv")) == len(VALUES) + 3
    assert command("a", "--to", "json", "-o", str(folder))[0] == 0
    assert len(read(str(folder / "runs.json"))) == 1
    assert "name another folder" in command("p", "--to", "csv")[2]
    assert "'cvs' is not one of 'parquet', 'csv', 'json'" in command("p", "--to", "cvs")[2]
    assert "did you mean 'loss'" in command("p", "--to", "csv", "--metrics", "los")[2]
    assert "no run named 'pp'" in command("pp", "--to", "csv")[2]


def test_names_that_hold_terminal_controls_are_shown_escaped(folder: Path) -> None:
    out = f"{folder}\x1b[2J"
    made = subprocess.run(
        [RUNBUS, "export", "a", "--to", "csv", "-o", out],
        capture_output=True,
        timeout=120,
        check=True,
    )

    assert b"\x1b" not in made.stdout
    assert len(read(f"{out}/runs.csv")) == 1
