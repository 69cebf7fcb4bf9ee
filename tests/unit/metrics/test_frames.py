"""Other libraries read points in memory, and segments as they lie."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus._core import MetricWriter, seal_journal
from runbus.errors import ExtraMissing
from runbus.metrics import StoredRun

duckdb: Any = importlib.import_module("duckdb")
pandas: Any = importlib.import_module("pandas")
polars: Any = importlib.import_module("polars")
pyarrow: Any = importlib.import_module("pyarrow")
dataset: Any = importlib.import_module("pyarrow.dataset")
parquet: Any = importlib.import_module("pyarrow.parquet")

ROWS = 3_000


@pytest.fixture
def run(tmp_path: Path) -> StoredRun:
    """A finished run: one metric alone, two in rows."""
    with runbus.init(home=tmp_path / "home") as made:
        for step in range(ROWS):
            made.log("loss", np.nan if step == 7 else 1 / (step + 1), step=step)
            made.log({"acc": step / ROWS, "größe/0": -0.0}, step=2**62 + step)
    return StoredRun(made.folder)


def check(names: list[str], steps: list[int], values: list[float]) -> None:
    assert names == ["loss"] * ROWS + ["acc"] * ROWS + ["größe/0"] * ROWS
    assert steps == [*range(ROWS), *range(2**62, 2**62 + ROWS), *range(2**62, 2**62 + ROWS)]
    assert np.isnan(values[7])
    assert values[ROWS - 1] == 1 / ROWS
    assert np.signbit(values[-1])


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_table_goes_to_every_library(run: StoredRun, is_sealed: bool) -> None:
    if is_sealed:
        run.seal()
    table = run.metrics()
    times = np.concatenate([series.to_numpy()[2] for series in table.values()])

    arrow = table.to_arrow()
    arrow.validate(full=True)
    check(
        arrow["name"].to_pylist(),
        arrow["step"].to_pylist(),
        arrow["value"].to_pylist(),
    )
    assert arrow["time"].cast("int64").to_numpy().tolist() == times.tolist()
    frame = table.to_polars()
    check(frame["name"].to_list(), frame["step"].to_list(), frame["value"].to_list())
    data = table.to_pandas()
    check(list(data["name"]), list(data["step"]), list(data["value"]))
    assert data["time"].astype("int64").tolist() == times.tolist()
    relation = table.to_duckdb(duckdb.connect())
    rows = relation.fetchall()
    check([row[0] for row in rows], [row[1] for row in rows], [row[3] for row in rows])


def test_a_series_is_a_frame_of_one_name_and_an_empty_table_of_none(run: StoredRun) -> None:
    assert run.metrics("loss").to_polars().shape == (ROWS, 4)
    assert run.metrics("loss").to_pandas().shape == (ROWS, 4)
    nothing = run.metrics(["nothing"])
    assert nothing.to_arrow().column_names == ["name", "step", "time", "value"]
    assert nothing.to_pandas().shape == (0, 4)
    assert nothing.to_numpy() == {}


def test_points_outlive_the_table_that_they_were_read_with(run: StoredRun) -> None:
    arrow = run.metrics().to_arrow()
    _, values, _ = run.metrics("acc").to_numpy()

    assert arrow["value"].to_numpy()[-1] == 0.0
    assert values[-1] == (ROWS - 1) / ROWS


def test_a_missing_library_is_named_with_its_extra(
    run: StoredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(ExtraMissing) as caught:
        run.metrics("loss").to_polars()

    assert caught.value.hint == "pip install 'runbus[polars]'"


def test_every_library_reads_the_folder_of_a_sealed_run_as_one_data_set(run: StoredRun) -> None:
    table = {name: series.to_numpy() for name, series in run.metrics().items()}
    [segment] = run.seal()
    folder = os.path.dirname(segment)
    # A second writer, whose points are others: of one name, with no part of a microsecond.
    writer = MetricWriter(os.path.join(folder, "ff-1.journal"), sync_ms=None)
    writer.log("alone", 1.0, step=3)
    writer.close()
    seal_journal(writer.path)

    for columns in (
        pandas.read_parquet(folder).to_dict("list"),
        polars.read_parquet(folder).to_dict(as_series=False),
        duckdb.sql(f"FROM '{folder}/*.parquet'").to_arrow_table().to_pydict(),
        dataset.dataset(folder).to_table().to_pydict(),
    ):
        names = ["name", "step", "time", "time_ns", "position", "value", "value_rest"]
        assert list(columns) == names
        rows: list[Any] = list(zip(*columns.values(), strict=True))
        assert sum(name == "alone" for name, *_ in rows) == 1
        for name, (steps, values, times) in table.items():
            own = [row for row in rows if row[0] == name]
            assert [row[1] for row in own] == steps.tolist()
            found = np.array([row[5] for row in own])
            assert found.view(np.int64).tolist() == values.view(np.int64).tolist()
            micros = [round(row[2].timestamp() * 1e6) for row in own]
            assert [
                micro * 1000 + row[3] for micro, row in zip(micros, own, strict=True)
            ] == times.tolist()


def test_the_segment_of_a_small_run_takes_no_more_of_the_disk_than_a_block() -> None:
    with runbus.init() as made:
        for step in range(20):
            made.log({"loss": 1.0 / (step + 1), "acc": 0.5}, step=step)
    [segment] = runbus.open_run(made.id).seal()

    assert os.path.getsize(segment) < 2048


def test_the_encodings_are_the_ones_the_format_promises(run: StoredRun) -> None:
    for path in run.seal():
        group = parquet.ParquetFile(path).metadata.row_group(0)
        chunks = [group.column(index) for index in range(group.num_columns)]
        encodings = {chunk.path_in_schema: chunk.encodings for chunk in chunks}
        # Which fastparquet has not: it reads all columns but this one, as the docs say.
        split = [name for name, kinds in encodings.items() if "BYTE_STREAM_SPLIT" in kinds]
        assert split == ["value"]
        for column in ("step", "time", "position"):
            assert "DELTA_BINARY_PACKED" in encodings[column]
        assert {chunk.compression for chunk in chunks} == {"LZ4"}
        assert not any(
            chunk.has_dictionary_page
            for chunk in chunks
            if chunk.path_in_schema not in {"name", "time_ns", "value_rest"}
        )
