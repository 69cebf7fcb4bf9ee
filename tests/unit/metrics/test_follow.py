"""Following a run: every point once, to the end, whatever becomes of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

import runbus
from runbus.events import MetricBatch
from runbus.metrics import RunTail, StoredRun


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))


def steps(batch: MetricBatch) -> list[int]:
    return memoryview(batch.steps).cast("q").tolist()


async def test_a_follower_sees_every_point_once_and_ends_with_the_run() -> None:
    run = runbus.init()
    run.log("x", 0.5, step=0)
    seen = []

    async for batch in StoredRun(run.folder).follow(poll_s=0.001):
        seen += steps(batch)
        if seen[-1] < 20:
            run.log("x", 0.5, step=seen[-1] + 1)
        else:
            run.finish()

    assert seen == list(range(21))


async def test_a_sealed_run_is_followed_from_its_segments() -> None:
    with runbus.init() as run:
        for step in range(5):
            run.log({"a": 1.0, "b": 2.0}, step=step)
    stored = StoredRun(run.folder)
    stored.seal()

    batches = [batch async for batch in stored.follow()]

    assert [(batch.names, steps(batch)) for batch in batches] == [
        (("a",), [0, 1, 2, 3, 4]),
        (("b",), [0, 1, 2, 3, 4]),
    ]


def test_a_journal_that_is_sealed_while_it_is_followed_is_read_to_its_end() -> None:
    run = runbus.init()
    tail = RunTail(run.id, run.folder)
    run.log("x", 0.5, step=0)
    first = [steps(batch) for batch in tail.poll()]
    run.log("x", 0.5, step=1)
    run.finish()
    StoredRun(run.folder).seal()

    assert (first, [steps(batch) for batch in tail.poll()]) == ([[0]], [[1]])
    assert list(tail.poll()) == []
