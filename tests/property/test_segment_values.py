"""Values and steps survive journal, segment and every reader bit for bit."""

from __future__ import annotations

import importlib
import struct
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runbus._core import MetricWriter, read_metrics, seal_journal

duckdb: Any = importlib.import_module("duckdb")
polars: Any = importlib.import_module("polars")
compute: Any = importlib.import_module("pyarrow.compute")
parquet: Any = importlib.import_module("pyarrow.parquet")

INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0])
BITS = st.integers(0, 2**64 - 1) | st.sampled_from([0x7FF0000000000001, 0x8000000000000000])


def bits(values: memoryview[Any]) -> list[int]:
    return values.cast("B").cast("Q").tolist()


def value_of(word: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", word))[0]
    return value


@settings(max_examples=60)
@given(st.lists(st.tuples(INT64, BITS), max_size=40), st.booleans())
def test_points_are_the_same_bits_everywhere(points: list[tuple[int, int]], is_wide: bool) -> None:
    steps = [step for step, _ in points] * (30 if is_wide else 1)
    words = [word for _, word in points] * (30 if is_wide else 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1-1.journal"
        writer = MetricWriter(path)
        for step, word in zip(steps, words, strict=True):
            value = value_of(word)
            writer.log({"x": value, "y": value} if is_wide else {"x": value}, step=step)
        writer.close()
        before = read_metrics([[path]], ["x"])

        segment = seal_journal(path)

        after = read_metrics([[segment]], ["x"])
        for found in (before, after):
            assert [name for name, _ in found] == ["x"] * bool(points)
            for _, data in found:
                assert data.steps.tolist() == steps
                assert bits(data.values) == words
                assert data.times.tolist() == before[0][1].times.tolist()
        tables = [
            parquet.read_table(segment),
            polars.read_parquet(segment).to_arrow(),
            duckdb.sql(f"FROM '{segment}'").to_arrow_table(),
        ]
        for table in tables:
            rows = table.filter(compute.equal(table["name"].cast("string"), "x"))
            assert rows["step"].to_pylist() == steps
            assert bits(memoryview(rows["value"].to_numpy())) == words
