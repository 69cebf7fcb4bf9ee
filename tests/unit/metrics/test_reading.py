"""One table of journals and segments: names, steps, pictures, averages."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbus
from runbus.errors import MetricNotFound, RunBusy, RunUnreadable
from runbus.metrics import MetricTable, Run, Series


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def logged(steps: int = 10) -> Run:
    """Return a finished run with metrics of one value and of several."""
    with runbus.init(project="p") as run:
        for step in range(steps):
            run.log("train/loss", 1 / (step + 1), step=step)
            run.log({"train/acc": step / steps, "lr": 0.5}, step=step)
    return run


def metrics_folder(run: Run) -> list[str]:
    return sorted(os.listdir(Path(run.folder) / "metrics"))


def test_a_pattern_is_a_table_of_what_it_matches() -> None:
    run = runbus.open_run(logged().id)

    table = run.metrics(["train/*"])

    assert isinstance(table, MetricTable)
    assert list(table) == ["train/loss", "train/acc"]
    assert list(run.metrics()) == ["train/loss", "train/acc", "lr"]
    assert list(run.metrics(["lr", "*/loss"])) == ["train/loss", "lr"]
    with pytest.raises(MetricNotFound, match=r"tr\*"):
        run.metrics("tr*")
    assert isinstance(run.metrics("lr"), Series)
    steps, values, _ = table.to_numpy()["train/acc"]
    assert steps.tolist() == list(range(10))
    assert values[-1] == 0.9


def test_a_pattern_that_matches_nothing_is_an_empty_table_and_a_name_an_error() -> None:
    run = runbus.open_run(logged().id)

    assert run.metrics(["x/*"]).keys() == []
    with pytest.raises(MetricNotFound):
        run.metrics("x")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (slice(5, None), [5, 6, 7, 8, 9]),
        (slice(None, 2), [0, 1]),
        (range(1, 8, 3), [1, 4, 7]),
        (range(20, 30), []),
    ],
)
def test_only_the_steps_asked_for_are_returned(steps: slice | range, expected: list[int]) -> None:
    run = runbus.open_run(logged().id)

    assert run.metrics("lr", steps=steps).steps.tolist() == expected
    assert run.metrics(["lr"], steps=steps)["lr"].steps.tolist() == expected


def test_steps_must_ascend() -> None:
    run = runbus.open_run(logged().id)

    with pytest.raises(ValueError, match="ascend"):
        run.metrics("lr", steps=range(9, 0, -1))


def test_sealing_changes_nothing_that_is_read() -> None:
    made = logged(2000)
    run = runbus.open_run(made.id)
    before = {
        name: [column.tolist() for column in s.to_numpy()] for name, s in run.metrics().items()
    }
    summaries, ends, state = run.summaries(), run.end_states(), run.state

    sealed = run.seal()

    assert [name.endswith(".parquet") for name in metrics_folder(made)] == [True]
    assert sorted(map(os.path.basename, sealed)) == metrics_folder(made)
    again = runbus.open_run(made.id)
    assert {
        name: [column.tolist() for column in s.to_numpy()] for name, s in again.metrics().items()
    } == before
    assert (again.summaries(), again.end_states(), again.state) == (summaries, ends, state)
    assert again.seal() == []


def test_a_run_that_is_being_written_is_not_sealed() -> None:
    with runbus.init() as run:
        run.log("x", 1.0)
        with pytest.raises(RunBusy, match=run.id):
            runbus.open_run(run.id).seal()
        assert metrics_folder(run)[0].endswith(".journal")


def test_segments_beside_their_journal_are_ignored() -> None:
    made = logged()
    run = runbus.open_run(made.id)
    journal = Path(made.folder) / "metrics" / metrics_folder(made)[0]
    kept = journal.read_bytes()
    run.seal()
    journal.write_bytes(kept)

    assert len(run.metrics("lr")) == 10
    run.seal()
    assert len(run.metrics("lr")) == 10
    assert not journal.exists()


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (slice(None, 2**63), 10),
        (slice(-(2**70), 2**70), 10),
        (slice(2**70, None), 0),
        (slice(None, -(2**70)), 0),
        (slice(0, None, 2**70), 1),
    ],
)
def test_steps_beyond_all_numbers_are_no_limits(steps: slice, found: int) -> None:
    run = runbus.open_run(logged(10).id)

    assert len(run.metrics("lr", steps=steps)) == found


@pytest.mark.parametrize("steps", [5, [1, 2]])
def test_steps_that_are_neither_slice_nor_range_are_refused(steps: Any) -> None:
    run = runbus.open_run(logged(10).id)

    with pytest.raises(TypeError, match="steps must be a slice or a range"):
        run.metrics("lr", steps=steps)


def test_damage_of_segments_is_told_and_not_read() -> None:
    made = logged(2000)
    run = runbus.open_run(made.id)
    segment = Path(*run.seal())
    assert run.damage() == {}

    whole = segment.read_bytes()
    flipped = bytearray(whole)
    flipped[5_000] ^= 1
    segment.write_bytes(flipped)
    [(offset, length)] = run.damage()[segment.name]
    assert offset <= 5_000 < offset + length < len(flipped)
    # The names are told by the footer; the points of this row group need the column.
    assert run.metric_names() == ["train/loss", "train/acc", "lr"]
    assert list(run.metrics()) == []

    for damaged in (whole[:-1], whole[:-40] + b"\0" + whole[-39:]):
        segment.write_bytes(damaged)
        assert run.damage() == {segment.name: [(0, len(damaged))]}
        with pytest.raises(RunUnreadable, match=segment.name):
            list(run.metrics())


def test_a_damaged_footer_is_an_error_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    made = logged(200)
    run = runbus.open_run(made.id)
    segment = Path(*run.seal())
    whole = segment.read_bytes()
    for place in range(len(whole) - 600, len(whole)):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(RunUnreadable):
            run.summaries()

    assert capfd.readouterr() == ("", "")


def test_a_journal_and_the_segments_of_another_writer_are_one_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = logged()
    run = runbus.open_run(made.id)
    run.seal()
    monkeypatch.setenv("RUNBUS_RUN", made.folder)
    with runbus.init() as second:
        second.log("lr", 0.25, step=10)

    assert run.metrics("lr").steps.tolist() == list(range(11))
    assert run.summaries()["lr"].last == 0.25
    assert run.summaries()["lr"].points == 11


def test_m4_keeps_every_spike_and_the_ends() -> None:
    values = np.zeros(50_000)
    values[[7_001, 31_337]] = [5.0, -3.0]
    with runbus.init() as run:
        append = run.series("loss").append
        for step, value in enumerate(values.tolist()):
            append(value, step)

    small = runbus.open_run(run.id).metrics("loss").downsample(100)

    assert len(small) <= 100
    assert {0, 7_001, 31_337, 49_999} <= set(small.steps.tolist())
    assert (max(small.values), min(small.values)) == (5.0, -3.0)


@pytest.mark.parametrize("method", ["m4", "minmax", "lttb"])
def test_a_short_series_stays_whole_and_too_few_points_are_refused(method: str) -> None:
    series = runbus.open_run(logged().id).metrics("lr")

    assert len(series.downsample(10, method)) == 10  # type: ignore[arg-type]
    assert len(series.downsample(10**30, method)) == len(series)  # type: ignore[arg-type]
    for few in (1, -1):
        with pytest.raises(ValueError, match=f"n must be at least . for {method}, not {few}"):
            series.downsample(few, method)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"n must be a whole number, not 2\.5"):
        series.downsample(2.5, method)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method must be"):
        series.downsample(10, "average")  # type: ignore[arg-type]


def test_points_lie_over_another_metric_by_their_steps() -> None:
    with runbus.init() as run:
        for step in range(4):
            run.log({"loss": 4.0 - step, "epoch": step / 2}, step=step)
        run.log("val", 1.0, step=-1)
        for step in (3, 9, 1):
            run.log("val", 0.5, step=step)
        run.log("epoch", 7.0, step=3)
    table = runbus.open_run(run.id).metrics()

    assert table["loss"].over(table["epoch"]).tolist() == [0.0, 0.5, 1.0, 7.0]
    before, *others = table["val"].over(table["epoch"]).tolist()
    assert math.isnan(before)
    assert others == [7.0, 7.0, 0.5]
    assert not table["loss"].over(table["epoch"]).flags.writeable


def test_smoothing_is_corrected_for_its_start_and_steps_over_nan() -> None:
    with runbus.init() as run:
        for value in (4.0, math.nan, 8.0):
            run.log("x", value)

    smooth = runbus.open_run(run.id).metrics("x").smooth(0.5)

    assert smooth.values[0] == 4.0
    assert math.isnan(smooth.values[1])
    assert smooth.values[2] == pytest.approx((0.25 * 4 + 0.5 * 8) / 0.75)


def test_what_was_logged_cannot_be_changed_by_accident() -> None:
    _, values, _ = runbus.open_run(logged().id).metrics("lr").to_numpy()

    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1.0
    assert values.copy().flags.writeable


def test_summaries_agree_with_numpy() -> None:
    values = np.random.default_rng(3).lognormal(size=5_000)
    with runbus.init() as run:
        append = run.series("x").append
        for value in values.tolist():
            append(value)

    stored = runbus.open_run(run.id)
    summary = stored.summaries()["x"]

    assert summary[:6] == (5_000, 4_999, values[-1], values.min(), values.max(), values[0])
    assert (summary.mean, summary.std) == pytest.approx((values.mean(), values.std()))
    assert [summary.min_step, summary.max_step] == [int(values.argmin()), int(values.argmax())]
    expected = np.quantile(values, [0.5, 0.95, 0.99], method="inverted_cdf")
    assert summary[8:11] == pytest.approx(expected.tolist(), rel=1 / 256)
    stored.seal()
    assert stored.summaries()["x"] == summary


def test_windows_add_up_to_the_series() -> None:
    series = runbus.open_run(logged(500).id).metrics("train/loss")

    windows = series.windows(0.000_1)

    assert len(windows) > 1
    assert [start for start, _ in windows] == sorted(start for start, _ in windows)
    assert all(start % 100_000 == 0 for start, _ in windows)
    assert sum(summary.points for _, summary in windows) == 500
    assert windows[-1][1].last == series.values[-1]
