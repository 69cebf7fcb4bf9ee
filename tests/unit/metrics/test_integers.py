"""Integers that no double represents, through every way in and out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import runbus
from runbus.catalog import query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runbus.metrics import StoredRun

BIG = 2**53 + 1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))


WAYS: dict[str, Callable[[runbus.Run, int], object]] = {
    "int": lambda run, value: run.log("n", value),
    "step=": lambda run, value: run.log("n", value, step=None),
    "keyword": lambda run, value: run.log(n=value),
    "dict": lambda run, value: run.log({"n": value, "loss": 0.5}),
    "numpy": lambda run, value: run.log("n", np.int64(value)),
    "array of one": lambda run, value: run.log("n", np.array([value])),
    "append": lambda run, value: run.series("n").append(value),
    "group": lambda run, value: run.group("loss", "n").log(None, 0.5, value),
    "extend": lambda run, value: run.series("n").extend(np.array([value])),
    "extend by a list": lambda run, value: run.series("n").extend([value]),
}


def finished(*logs: Callable[[runbus.Run], object]) -> StoredRun:
    with runbus.init(project="integers") as run:
        for log in logs:
            log(run)
        assert run.dropped == 0
    return runbus.open_run(run.id)


@pytest.mark.parametrize("way", WAYS)
def test_an_integer_beyond_doubles_is_kept_exactly_whichever_way_it_comes(way: str) -> None:
    values = [BIG, -BIG, 2**63 - 1, -(2**63), 3]
    stored = finished(*(lambda run, value=value: WAYS[way](run, value) for value in values))
    for _ in range(2):
        found = stored.metrics("n")
        assert found.values.dtype == np.int64
        assert found.values.tolist() == values
        assert np.asarray(found).tolist() == values
        assert found.steps.tolist() == [0, 1, 2, 3, 4]
        summary = stored.summaries()["n"]
        assert (summary.first, summary.last) == (BIG, 3.0)
        assert (summary.min, summary.max) == (-(2**63), 2**63 - 1)
        stored.seal()


def test_among_doubles_it_is_the_nearest_one_and_exact_beside() -> None:
    stored = finished(
        lambda run: run.log("n", 0.5),
        lambda run: run.series("n").extend([BIG, 1.5]),
        lambda run: run.log("n", BIG + 1),
    )
    found = stored.metrics("n")
    assert found.values.tolist() == [0.5, float(BIG), 1.5, float(BIG + 1)]
    assert found.integers == {1: BIG}
    assert found.downsample(4).integers == {1: BIG}


def test_a_summary_tells_neighbors_apart_that_are_one_double() -> None:
    stored = finished(*(lambda run, away=away: run.log("n", 2**62 + away) for away in (2, 1, 3)))
    summary = stored.summaries()["n"]
    assert (summary.min, summary.max, summary.last) == (2**62 + 1, 2**62 + 3, 2**62 + 3)
    assert (summary.min_step, summary.max_step) == (1, 2)


def test_a_question_has_a_column_for_exact_integers() -> None:
    sealed = finished(lambda run: run.log("n", BIG), lambda run: run.log("n", 0.5))
    sealed.seal()
    finished(lambda run: run.log("n", -BIG), lambda run: run.log("n", 2))
    _, rows = query("SELECT value, exact FROM metrics ORDER BY value")
    assert rows == [(-float(BIG), -BIG), (0.5, None), (2.0, None), (float(BIG), BIG)]


async def test_a_follower_gets_integers_exactly_whether_the_run_is_sealed_or_not() -> None:
    stored = finished(lambda run: run.log("n", BIG), lambda run: run.log({"loss": 0.5, "n": -BIG}))
    for _ in range(2):
        batches = [batch async for batch in stored.follow()]
        points = [(name, value) for batch in batches for name, _, _, value in batch.points()]
        assert points == [("n", BIG), ("loss", 0.5), ("n", -BIG)]
        stored.seal()


def test_data_frames_have_integers_where_all_values_are() -> None:
    found = finished(lambda run: run.log("n", BIG), lambda run: run.log("n", 1)).metrics("n")
    assert found.to_pandas()["value"].tolist() == [BIG, 1]
    assert found.to_arrow()["value"].to_pylist() == [BIG, 1]
    assert found.to_polars()["value"].to_list() == [BIG, 1]


def test_an_unsigned_array_within_64_bits_is_exact_and_beyond_it_the_nearest_double(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def log(run: runbus.Run) -> None:
        run.series("n").extend(np.array([BIG], np.uint64))
        for _ in range(3):
            run.series("far").extend(np.array([2**64 - 1], np.uint64))
            run.log("far", -(2**70) - 1)
            run.log({"far": 10**400, "loss": 0.5})

    with caplog.at_level(logging.WARNING, "runbus.metrics"):
        found = finished(log).metrics()
    assert found["n"].values.tolist() == [BIG]
    assert found["far"].values.tolist() == [2.0**64, -(2.0**70), float("inf")] * 3
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 1
    assert "metric 'far': an integer beyond 64 bits is stored as the nearest double" in texts[0]


def test_a_step_for_each_of_mixed_values_is_kept_and_too_many_are_refused() -> None:
    def log(run: runbus.Run) -> None:
        values: list[Any] = [0.5, BIG]
        run.series("n").extend(values, steps=range(3, 9, 5))
        run.series("n").extend(values, steps=[7, 1])
        for steps in (range(2**60), [1]):
            with pytest.raises(ValueError, match="there are 2 values and"):
                run.series("n").extend(values, steps=steps)

    assert finished(log).metrics("n").steps.tolist() == [3, 8, 7, 1]
