"""The live table: what it shows of a job is what its result shows."""

from __future__ import annotations

from array import array

from runbus.cli._live_row import Row
from runbus.events import MetricBatch


def batch(*points: tuple[int, int, float], names: tuple[str, ...]) -> MetricBatch:
    series, steps, values = zip(*points, strict=True)
    return MetricBatch(
        run_id="r",
        writer="w",
        names=names,
        series=array("I", series).tobytes(),
        steps=array("q", steps).tobytes(),
        times=array("q", steps).tobytes(),
        values=array("d", values).tobytes(),
    )


def test_the_first_three_metrics_are_shown_in_the_order_of_the_result() -> None:
    names = ("loss", "acc", "lr", "last")
    row = Row("r", None)
    # As when the batches before it made room for it.
    row.measure(batch((2, 0, 0.1), names=names))
    assert (row.step, row.latest) == ("0", "lr 0.1")
    row.measure(batch(*((at, 1, float(at)) for at in range(4)), names=names))
    assert (row.step, row.latest) == ("1", "loss 0  acc 1  lr 2")

    row.measure(batch((0, 2, 7.0), (1, 2, 8.0), names=("last", "loss")))
    assert row.latest == "loss 8  acc 1  lr 2"
