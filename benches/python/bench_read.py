"""What reading costs: a journal and its segments to numpy, and a picture of ten million points."""

from __future__ import annotations

import importlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.rivals.trackers import STORED, measured
from benches.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from runbus.metrics import Run, StoredRun

POINTS = 1_000_000
NAMES = [f"layer{index}/grad_norm" for index in range(100)]


def milliseconds(work: Callable[[], object], *, rounds: int = 7) -> float:
    """Return the median wall time of `work()`, whose result is freed outside the clock."""
    spans = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        result = work()
        spans.append(time.perf_counter_ns() - start)
        del result
    return statistics.median(spans) / 1e6


def pair(
    ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int = 9
) -> tuple[float, float]:
    """Return the medians of both, by turns: the machine is as quick for one as for the other."""
    spans = [(milliseconds(ours, rounds=1), milliseconds(theirs, rounds=1)) for _ in range(rounds)]
    own, other = zip(*spans, strict=True)
    return statistics.median(own), statistics.median(other)


def main() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["RUNBUS_HOME"] = os.path.join(folder, "home")
        return [*picture(), *journals(Path(folder)), *at_rest(Path(folder))]


def written(log: Callable[[Run], None]) -> StoredRun:
    """Return a finished run that `log` has logged to."""
    import runbus

    with runbus.init(project="bench") as run:
        log(run)
    return runbus.open_run(run.id)


def walk(points: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).standard_normal(points).cumsum()


def picture() -> list[Row]:
    rivals: Any = importlib.import_module("tsdownsample")
    their_m4, their_minmax = rivals.M4Downsampler(), rivals.MinMaxDownsampler()
    values = walk(10_000_000)

    def log(run: Run) -> None:
        append = run.series("loss").append
        for value in values.tolist():
            append(value)

    series = written(log).metrics("loss")
    m4 = {
        "tsdownsample, one thread": milliseconds(lambda: their_m4.downsample(values, n_out=2_000)),
        "tsdownsample, parallel": milliseconds(
            lambda: their_m4.downsample(values, n_out=2_000, parallel=True)
        ),
    }
    minmax = {
        "tsdownsample, one thread": milliseconds(
            lambda: their_minmax.downsample(values, n_out=2_000)
        )
    }
    return [
        Row(
            "M4 of 10M points to 2,000",
            milliseconds(lambda: series.downsample(2_000)),
            "ms",
            10,
            m4,
        ),
        Row(
            "minmax of 10M points to 2,000",
            milliseconds(lambda: series.downsample(2_000, "minmax")),
            "ms",
            None,
            minmax,
        ),
    ]


def log_one(run: Run) -> None:
    append = run.series("loss").append
    for step, value in enumerate(walk(POINTS).tolist()):
        append(value, step)


def log_hundred(run: Run) -> None:
    appends = [run.series(name).append for name in NAMES]
    values = iter(walk(POINTS).tolist())
    for step in range(POINTS // len(NAMES)):
        for append in appends:
            append(next(values), step)


def journals(folder: Path) -> list[Row]:
    """Return rows of journals, then of the segments that they become."""
    one, hundred = written(log_one), written(log_hundred)
    pyarrow, name = pyarrow_read(one, folder), "pyarrow: parquet of the same columns"
    theirs = {
        f"{rival}, {POINTS // STORED} times {STORED:,} points": POINTS
        // STORED
        * measured(rival, "stored", str(folder / rival))["read_ms"]
        for rival in ("tensorboard", "aim")
    }
    rows = []
    for state, limit, ratios in (("journal", None, {name: 0.7}), ("sealed", 15, {})):
        ours, beside = pair(lambda: one.metrics("loss").to_numpy(), pyarrow)
        rows += [
            Row(
                f"1M points of one series to numpy: {state}",
                ours,
                "ms",
                limit,
                {name: beside} | theirs,
                ratios=ratios,
            ),
            Row(
                f"1M points of 100 series to numpy: {state}",
                milliseconds(lambda: every(hundred)),
                "ms",
                40,
            ),
        ]
        one.seal()
        hundred.seal()
    return rows


def at_rest(folder: Path) -> list[Row]:
    """Return what a point takes: the noisy decay of a loss, and twenty wandering norms."""
    random = np.random.default_rng(2)
    noise = random.standard_normal(POINTS)
    loss = 2.5 * np.exp(-np.arange(POINTS) / 3e5) + 0.05 * noise
    norms = np.exp(random.standard_normal((POINTS // 20, 20)).cumsum(axis=0) / 1e3)
    single = loss.astype(np.float32).astype(np.float64)
    wide = norms.astype(np.float32).astype(np.float64)
    return [
        size_row("float32-precision data", 6.2, single[:, None], folder),
        size_row("full doubles", 9.5, loss[:, None], folder),
        size_row("20 wide", 3.5, wide, folder),
        size_row("20 wide, all noise", None, single.reshape(-1, 20), folder),
    ]


def size_row(label: str, limit: float | None, values: NDArray[np.float64], folder: Path) -> Row:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = NAMES[: values.shape[1]]

    def log(run: Run) -> None:
        if len(names) == 1:
            append = run.series(names[0]).append
            for step, value in enumerate(values[:, 0].tolist()):
                append(value, step)
            return
        for step, row in enumerate(values.tolist()):
            run.log(dict(zip(names, row, strict=True)), step=step)

    run = written(log)
    steps, _, times = run.metrics(names[0]).to_numpy()
    columns = {"step": steps, "time": times} | dict(zip(names, values.T, strict=True))
    path = folder / "size.parquet"
    beside = {}
    for setting, options in (
        ("its defaults", {}),
        (
            "our encodings",
            {
                "use_dictionary": False,
                "compression": "lz4",
                "column_encoding": {"step": "DELTA_BINARY_PACKED", "time": "DELTA_BINARY_PACKED"}
                | dict.fromkeys(names, "BYTE_STREAM_SPLIT"),
            },
        ),
    ):
        pq.write_table(pa.table(columns), path, **options)
        beside[f"pyarrow's writer, {setting}"] = path.stat().st_size / values.size
    if label.startswith("float32"):
        beside |= {
            name: measured(name, "stored", str(folder / f"{name} at rest"))["bytes"]
            for name in ("dvclive", "tensorboardX", "wandb offline")
        }
    ours = sum(os.path.getsize(segment) for segment in run.seal()) / values.size
    return Row(f"bytes a point at rest: {label}", ours, "B", limit, beside)


def every(run: StoredRun) -> list[object]:
    return [series.to_numpy() for series in run.metrics().values()]


def pyarrow_read(run: StoredRun, folder: Path) -> Callable[[], object]:
    """Return how pyarrow reads a file of its own with default settings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps, values, times = run.metrics("loss").to_numpy()
    path = folder / "pyarrow.parquet"
    pq.write_table(pa.table({"step": steps, "value": values, "time": times}), path)
    return lambda: [column.to_numpy() for column in pq.read_table(path).columns]
