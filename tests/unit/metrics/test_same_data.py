"""The same data through another argument are the same data."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import polars
import pyarrow
import pytest
from PIL import Image

import runbus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pandas: Any = importlib.import_module("pandas")

GREY = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


@pytest.fixture
def run() -> Iterator[runbus.Run]:
    with runbus.init() as run:
        yield run


def pixels(run: runbus.Run, image: Any) -> tuple[str, Any]:
    pillow = pytest.importorskip("PIL.Image")
    kept = run.log_image("i", image)
    assert kept is not None
    with pillow.open(kept.path) as picture:
        return picture.mode, np.asarray(picture).tolist()


def test_a_picture_of_floats_is_what_its_array_is(run: runbus.Run) -> None:
    pillow = pytest.importorskip("PIL.Image")

    assert pixels(run, pillow.fromarray(GREY)) == pixels(run, GREY)


@pytest.mark.parametrize("top", [1, 200, 255])
def test_a_picture_of_ints_is_what_its_array_is(run: runbus.Run, top: int) -> None:
    pillow = pytest.importorskip("PIL.Image")
    array = np.round(GREY * top).astype(np.int32)

    assert pixels(run, pillow.fromarray(array)) == pixels(run, array)


def test_a_picture_of_sixteen_bits_keeps_them(run: runbus.Run) -> None:
    pillow = pytest.importorskip("PIL.Image")
    array = np.round(GREY * 40_000).astype(np.int32)

    assert pixels(run, pillow.fromarray(array)) == ("I;16", array.tolist())


@pytest.mark.parametrize("mode", ["PA", "RGBa"])
def test_a_picture_keeps_what_shines_through(run: runbus.Run, mode: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.new("RGBA", (4, 4), (10, 20, 30, 0))
    picture = picture.convert("P").convert("PA") if mode == "PA" else picture.convert(mode)

    assert pixels(run, picture)[0] == "RGBA"


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_pictures_is_not_one_picture(run: runbus.Run, kind: Any) -> None:
    with pytest.raises(TypeError, match="each picture"):
        run.log_image("i", kind([np.zeros((8, 28)), np.ones((8, 28))]))


def test_a_lone_surrogate_in_a_table_leaves_it_readable(run: runbus.Run) -> None:
    duckdb = pytest.importorskip("duckdb")
    name = os.fsdecode(b"caf\xe9.txt")
    for table in ([{"file": name, name: 1}], {"file": [name], name: [1]}):
        kept = run.log_table("files", table)
        assert kept is not None

        assert duckdb.sql(f"FROM read_json('{kept.path}')").fetchall() == [("caf?.txt", 1)]
        with open(kept.path, encoding="utf-8") as file:
            assert json.loads(file.read()) == {"file": "caf?.txt", "caf?.txt": 1}


def test_a_column_of_objects_of_polars_is_refused_with_its_name(run: runbus.Run) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"a": [1, 2], "things": polars.Series([object(), {1}], dtype=polars.Object)}
    )
    with pytest.raises(TypeError, match="'things'"):
        run.log_table("t", frame)
    assert runbus.open_run(run.id).tables() == []


def test_arrays_of_the_narrow_types_of_jax_are_taken_wherever_arrays_are(run: runbus.Run) -> None:
    types = pytest.importorskip("ml_dtypes")
    values = np.array([0.0, 0.5, 1.0, -2.0], dtype=types.bfloat16)
    run.series("x").extend(values)
    run.series("y").extend(values.astype(types.float8_e4m3fn))
    run.log_histogram("h", values, bins=2)
    run.log_image("i", values[:3].reshape(1, 3))

    stored = runbus.open_run(run.id)
    assert stored.metrics("x").values.tolist() == [0.0, 0.5, 1.0, -2.0]
    assert stored.metrics("y").values.tolist() == [0.0, 0.5, 1.0, -2.0]
    assert stored.histograms("h")[0].counts == [1, 3]


def test_the_columns_of_a_series_are_arrays(run: runbus.Run) -> None:
    for step in range(4):
        run.log("x", step / 2, step=step)
    series = runbus.open_run(run.id).metrics("x")

    assert (series.values * 2).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert series.steps[np.array([True, False, True, False])].tolist() == [0, 2]
    assert np.asarray(series).dtype == np.float64
    assert np.asarray(series).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert np.mean(series) == 0.75
    assert not series.values.flags.writeable
    assert np.shares_memory(series.values, np.asarray(series))


def test_an_open_image_file_is_what_its_bytes_are(run: runbus.Run, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), 7).save(buffer, "PNG")
    path = tmp_path / "one.png"
    path.write_bytes(buffer.getvalue())
    kept = run.log_image("bytes", buffer.getvalue())
    with path.open("rb") as file:
        from_file = run.log_image("file", file)
    from_memory = run.log_image("memory", buffer)

    assert kept is not None
    assert from_file is not None
    assert from_memory is not None
    assert kept.sha256 == from_file.sha256 == from_memory.sha256
    with path.open() as text, pytest.raises(TypeError, match="open for reading bytes"):
        run.log_image("text", text)


COLUMNS = {
    "a range": range(1, 4),
    "the other byte order": np.array([1, 2, 3], dtype=">i8"),
    "doubles in the other byte order": np.array([1, 2, 3], dtype=">f8"),
    "long doubles": np.array([1, 2, 3], dtype=np.longdouble),
    "objects of numpy": np.array([1, 2.0, 3], dtype=object),
    "objects of pandas": pandas.Series([1, 2.0, 3], dtype=object),
    "decimals of polars": polars.Series([Decimal(1), Decimal(2), Decimal(3)]),
    "Arrow": pyarrow.array([1, 2, 3]),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_extend_takes_numbers_however_they_lie(run: runbus.Run, column: Any) -> None:
    run.series("loss").extend(column)
    run.finish()

    assert runbus.open_run(run.id).metrics("loss").values.tolist() == [1, 2, 3]


MASKED = {
    "numpy, doubles": np.ma.masked_array([1.0, 2.0], [False, True]),
    "numpy, ints": np.ma.masked_array([1, 2], [False, True]),
    "pandas": pandas.Series([1, None], dtype="Int64"),
    "polars": polars.Series([1, None]),
    "Arrow": pyarrow.array([1, None]),
    "Arrow in chunks": pyarrow.chunked_array([[1], [None]], pyarrow.int64()),
}


@pytest.mark.parametrize("column", MASKED.values(), ids=MASKED)
def test_what_a_column_lacks_is_nan(run: runbus.Run, column: Any) -> None:
    run.series("loss").extend(column)
    run.finish()

    first, second = runbus.open_run(run.id).metrics("loss").values.tolist()
    assert (first, math.isnan(second)) == (1, True)


def test_objects_that_are_no_numbers_are_refused_by_their_place(run: runbus.Run) -> None:
    with pytest.raises(TypeError, match="number 1 of the values of metric 'loss'"):
        run.series("loss").extend(np.array([1, "two"], dtype=object))

    assert run.accepted == 0
