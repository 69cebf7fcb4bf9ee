"""What a run reports of its progress is in its metrics, and leaves its steps alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import runbus
from runbus.metrics import DONE, TOTAL


def test_automatic_steps_go_on_as_without_it(home: Path) -> None:
    with runbus.init("p") as run:
        before = run.last_step
        assert before is None
        run.progress(0, 3)
        for done in range(1, 4):
            run.log({"loss": 1.0})
            run.progress(done, 3)
        assert run.last_step == 2
        run.log({"late": 1.0}, step=100)
        run.progress(4)
    stored = runbus.open_run(run.id)

    assert list(stored.metrics("loss").steps) == [0, 1, 2]
    assert list(stored.metrics(DONE).values) == [0, 1, 2, 3, 4]
    assert list(stored.metrics(DONE).steps) == [-1, 0, 1, 2, 100]
    assert list(stored.metrics(TOTAL).values) == [3] * 4


def test_what_is_no_number_is_refused(home: Path) -> None:
    with runbus.init("p") as run:
        with pytest.raises(TypeError):
            run.progress("1", 3)  # type: ignore[arg-type]
        run.progress(1)

    assert len(runbus.open_run(run.id).metrics(DONE)) == 1
    with pytest.raises(ValueError, match="closed"):
        run.progress(2)
