"""A query, a list of points and a plot leave out what is damaged, and say so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

import runbus
from runbus.catalog import query
from runbus.cli._app import run_command

COUNT = "SELECT name, count(*) FROM metrics GROUP BY name ORDER BY name"


def flip(path: str | Path, place: int | None = None) -> None:
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2 if place is None else place)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def make_run() -> runbus.Run:
    with runbus.init() as run:
        run.series("loss").extend(np.random.default_rng(0).normal(size=50_000))
        run.series("whole").extend(np.ones(10))
    return run


def counted() -> list[tuple[Any, ...]]:
    return query(COUNT)[1]


def test_a_damaged_column_of_a_segment_is_told(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run()
    (path,) = runbus.open_run(run.id).seal()
    flip(path)

    rows = counted()

    stored = runbus.open_run(run.id)
    assert stored.damage()
    assert rows == [(name, len(series)) for name, series in sorted(stored.metrics().items())]
    assert dict(rows).get("loss", 0) < 50_000
    assert f"bytes of {os.path.basename(path)} are damaged, and left out" in caplog.text


def test_a_damaged_page_of_values_costs_one_metric_and_it_is_told_which(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with runbus.init() as run:
        for step in range(300):
            run.log({"loss": 1 / (step + 1), "acc": step / 300, "lr": 0.1}, step=step)
    (path,) = runbus.open_run(run.id).seal()
    footer = parquet.ParquetFile(path).metadata.row_group(0)
    columns = [footer.column(place) for place in range(footer.num_columns)]
    (values,) = (column for column in columns if column.path_in_schema == "value")
    flip(path, values.data_page_offset + 100)

    stored = runbus.open_run(run.id)
    assert stored.lost_points() == {"loss": 300}
    assert {name: len(series) for name, series in stored.metrics().items()} == {
        "acc": 300,
        "lr": 300,
    }
    assert counted() == [("acc", 300), ("lr", 300)]
    assert f"{run.id}: 300 points of loss are lost to it" in caplog.messages
    assert run_command(["metrics", run.id, "acc"]) == 0
    assert "warning: 300 points of loss are lost to it\n" in capsys.readouterr().err
    assert run_command(["show", run.id]) == 0
    assert "300 points of loss" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["step", "time", "position"])
def test_a_damaged_page_of_what_all_points_have_costs_those_whose_rows_are_in_it(
    column: str, caplog: pytest.LogCaptureFixture
) -> None:
    steps = np.arange(100_000) ** 2 % 100_003  # none that a few bytes say
    with runbus.init() as run:
        run.series("short").extend(np.arange(100.0), steps[:100])
        for name in ("a", "b", "c"):
            run.series(name).extend(steps / 7, steps)
    (path,) = runbus.open_run(run.id).seal()
    group = parquet.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    (harmed,) = (one for one in columns if one.path_in_schema == column)
    flip(path, harmed.data_page_offset + 60)

    stored = runbus.open_run(run.id)
    read = {name: len(series) for name, series in stored.metrics().items()}
    lost = stored.lost_points()
    assert 0 < sum(lost.values()) <= 131_072
    assert lost["short"] == 100
    assert lost["a"] == 100_000
    assert "c" not in lost
    assert read == {"b": 100_000 - lost.get("b", 0), "c": 100_000}
    assert dict(counted()) == read
    assert f"{lost['a']} points of a are lost" in caplog.text


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_a_damaged_journal_is_told_sealed_or_not(
    harm: str,
    is_sealed: bool,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with runbus.init() as run:
        for step in range(1000):
            run.log("loss", 0.5, step=step)
    if harm == "flip":
        flip(run.path)
    else:
        os.truncate(run.path, os.path.getsize(run.path) // 2 + 4)
    if is_sealed:
        runbus.open_run(run.id).seal()

    ((_, count),) = counted()

    assert 0 < count < 1000
    (message,) = caplog.messages
    assert message.startswith(f"{run.id}: ")
    assert message.endswith(" are damaged, and left out")
    for command in ("metrics", "plot"):
        assert run_command([command, run.id, "loss"]) == 0
        assert "are damaged, and left out\n" in capsys.readouterr().err


def test_nothing_is_told_of_what_is_whole(caplog: pytest.LogCaptureFixture) -> None:
    make_run()
    runbus.open_run(make_run().id).seal()
    with runbus.init() as live:
        live.log("loss", 1.0)
        assert dict(counted())["loss"] == 100_001

    assert caplog.messages == []
