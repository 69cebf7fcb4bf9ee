"""Other libraries read points in memory, and segments as they lie."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus.errors import ExtraMissing
from runbus.metrics import StoredRun

duckdb: Any = importlib.import_module("duckdb")
pandas: Any = importlib.import_module("pandas")
polars: Any = importlib.import_module("polars")
pyarrow: Any = importlib.import_module("pyarrow")
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


def test_every_library_reads_segments_as_they_lie(run: StoredRun) -> None:
    steps, values, times = run.metrics("loss").to_numpy()
    long, wide = run.seal()

    for columns in (
        parquet.read_table(long).to_pydict(),
        polars.read_parquet(long).to_dict(as_series=False),
        pandas.read_parquet(long).to_dict("list"),
        duckdb.sql(f"FROM '{long}'").to_arrow_table().to_pydict(),
    ):
        assert set(columns["name"]) == {"loss"}
        assert columns["step"] == steps.tolist()
        assert np.array(columns["value"]).view(np.int64).tolist() == values.view(np.int64).tolist()
        micros = [round(time.timestamp() * 1e6) for time in columns["time"]]
        assert [
            micro * 1000 + rest for micro, rest in zip(micros, columns["time_ns"], strict=True)
        ] == times.tolist()
    for columns in (
        parquet.read_table(wide).to_pydict(),
        polars.read_parquet(wide).to_dict(as_series=False),
        pandas.read_parquet(wide).to_dict("list"),
        duckdb.sql(f"FROM '{wide}'").to_arrow_table().to_pydict(),
    ):
        assert columns["step"] == list(range(2**62, 2**62 + ROWS))
        assert columns["acc"] == [step / ROWS for step in range(ROWS)]
        assert np.signbit(columns["größe/0"]).all()
        assert columns["row"] == list(range(1, 2 * ROWS, 2))


def test_the_encodings_are_the_ones_the_format_promises(run: StoredRun) -> None:
    long, wide = run.seal()

    for path, value in ((long, "value"), (wide, "acc")):
        group = parquet.ParquetFile(path).metadata.row_group(0)
        chunks = [group.column(index) for index in range(group.num_columns)]
        encodings = {chunk.path_in_schema: chunk.encodings for chunk in chunks}
        assert "BYTE_STREAM_SPLIT" in encodings[value]
        for column in ("step", "time", "row"):
            assert "DELTA_BINARY_PACKED" in encodings[column]
        assert {chunk.compression for chunk in chunks} == {"LZ4"}
        assert not any(
            chunk.has_dictionary_page
            for chunk in chunks
            if chunk.path_in_schema not in {"name", "time_ns"}
        )
