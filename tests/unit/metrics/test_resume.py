"""A run that another process has begun goes on: steps, records and state."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.errors import AmbiguousId, RunNotFound


def begun(**values: float) -> runbus.Run:
    run = runbus.init(project="p", config={"lr": 0.1})
    for _ in range(3):
        run.log({"loss": 1.0, **values})
    return run


@pytest.mark.parametrize("how", ["resume", "id and must", "id and allow", "variable"])
def test_steps_records_and_state_of_a_run_go_on(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun()
    run.tag("first")
    run.close(1)
    assert runbus.open_run(run.id).state == "FAILED"
    if how == "resume":
        again = runbus.init(resume=run.id)
    elif how == "variable":
        monkeypatch.setenv("RUNBUS_RUN", run.id)
        again = runbus.init(resume="must", config={"added": 1})
    else:
        again = runbus.init(id=run.id, resume=how.split()[-1])
    assert again.id == run.id
    assert again.last_step == 2
    again.log("loss", 2.0)
    again.log("loss", 3.0)
    again.tag("second")
    assert runbus.open_run(run.id).state == "RUNNING"
    again.finish()

    stored = runbus.open_run(run.id)
    assert stored.metrics("loss").steps.tolist() == [0, 1, 2, 3, 4]
    assert (stored.state, stored.tags) == ("SUCCEEDED", ["first", "second"])
    assert stored.config["lr"] == 0.1
    assert len(runbus.runs()) == 1


def test_joining_a_run_begins_its_own_steps() -> None:
    run = begun()
    with runbus.init(id=run.id) as other:
        other.log("loss", 9.0)
    run.finish()
    assert sorted(runbus.open_run(run.id).metrics("loss").steps.tolist()) == [0, 0, 1, 2]


def test_each_rank_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    run = runbus.init(project="p")
    for rank, steps in ((0, 5), (1, 2)):
        monkeypatch.setenv("RANK", str(rank))
        with runbus.init(id=run.id) as one:
            for _ in range(steps):
                one.log("loss", 0.0)
    for rank, last in ((0, 4), (1, 1), (2, None)):
        monkeypatch.setenv("RANK", str(rank))
        with runbus.init(resume=run.id) as one:
            assert one.last_step == last
    run.finish()


def test_a_sealed_run_goes_on() -> None:
    run = begun()
    run.log("late", 1.0, step=-7)
    run.log("late", 1.0, step=100)
    run.finish()
    runbus.open_run(run.id).seal()
    with runbus.init(resume=run.id) as again:
        again.log("late", 2.0)
    assert runbus.open_run(run.id).metrics("late").steps.tolist() == [-7, 100, 101]


@given(st.lists(st.integers(-(2**63), 2**63 - 2), min_size=1, max_size=5))
def test_the_next_step_follows_the_last(steps: list[int]) -> None:
    run = runbus.init(project="p")
    for step in steps:
        run.log("x", 0.0, step=step)
    run.finish()
    with runbus.init(resume=run.id) as again:
        again.log("y", 0.0)
    assert runbus.open_run(run.id).metrics("y").steps.tolist() == [steps[-1] + 1]


def test_a_checkpoint_brings_its_run_along(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.json"

    def train(steps: int) -> str:
        kept = json.loads(checkpoint.read_text()) if checkpoint.exists() else {}
        with runbus.init(project="p", resume=kept.get("run", "allow")) as run:
            for _ in range(steps):
                run.log("loss", 0.0)
            checkpoint.write_text(json.dumps({"run": run.id}))
            return run.id

    assert train(3) == train(2)
    (stored,) = runbus.runs()
    assert stored.metrics("loss").steps.tolist() == [0, 1, 2, 3, 4]


def test_what_is_not_there_is_refused_or_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="nothing names a run: give id, or set RUNBUS_RUN"):
        runbus.init(resume="must")
    gone = "20260101-000000-abcdef-1"
    with pytest.raises(RunNotFound):
        runbus.init(resume=gone)
    with pytest.raises(RunNotFound):
        runbus.init(id=gone, resume="must")
    with pytest.raises(TypeError, match="both name a run"):
        runbus.init(id=gone, resume=gone)
    assert runbus.runs() == []
    with runbus.init(id=gone, resume="allow", name="new") as run:
        assert run.id != gone
    monkeypatch.setenv("RUNBUS_RUN", os.path.join(run.folder, "gone"))
    with runbus.init(resume="allow") as other:
        assert other.id not in (run.id, gone)
    monkeypatch.delenv("RUNBUS_RUN")
    with pytest.raises(AmbiguousId):
        runbus.init(resume=run.id[:4])


def test_a_journal_that_is_damaged_does_not_keep_a_run_from_going_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = begun()
    run.finish()
    Path(run.path).write_bytes(b"not a journal at all" * 100)
    with runbus.init(resume=run.id) as again:
        again.log("loss", 4.0)
    assert "are not gone on with" in caplog.text
