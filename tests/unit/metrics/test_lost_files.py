"""A disk that is full, and files that somebody removed, cost data, are counted, and never raise."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runbus
from runbus.jobs import JobState
from runbus.testing._waiting import wait_until

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize("what", ["folder", "journal"])
def test_who_removes_a_run_costs_its_points_and_is_told_once(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "runbus.metrics")
    with runbus.init() as run:
        for step in range(100):
            run.log("loss", 1.0, step=step)
        assert (run.accepted, run.dropped) == (100, 0)
        if what == "folder":
            shutil.rmtree(run.folder)
        else:
            os.remove(run.path)
        # The background thread notices it without a call.
        wait_until(lambda: "removed" in caplog.text)
        for step in range(100_000):
            run.log("loss", 1.0, step=step)

        assert (run.accepted, run.dropped) == (0, 100_100)
        assert "was removed" in (run.last_error or "")
        with pytest.raises(FileNotFoundError, match=run.id):
            run.sync()

    assert caplog.text.count("was removed") == 1
    assert os.path.exists(run.folder) == (what == "journal")


def test_the_counters_tell_of_a_removed_run_at_once() -> None:
    run = runbus.init()
    run.log({"a": 1.0, "b": 2.0})
    shutil.rmtree(run.folder)

    assert run.dropped == 2
    run.log("a", 1.0)
    assert run.dropped == 3
    run.finish()


@pytest.mark.parametrize("what", ["folder", "records"])
def test_records_of_a_removed_run_are_counted(
    what: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with runbus.init() as run:
        run.note("before")
        run.tag("before")
        shutil.rmtree(run.folder if what == "folder" else os.path.join(run.folder, "records"))
        run.note("after")
        assert run.log_table("t", [{"a": 1}]) is None or what == "records"
        assert run.lost_records == (4 if what == "folder" else 2)

    assert os.path.exists(run.folder) == (what == "records")
    if what == "records":
        assert [note.text for note in runbus.open_run(run.id).notes] == ["after"]


@pytest.mark.parametrize("points", [0, 1000, 60_000])
@pytest.mark.parametrize("room", [70_000, 300_000, 2_000_000])
def test_a_run_ends_where_there_is_no_more_room(room: int, points: int, home: Path) -> None:
    """The end has its room from the start, whatever else does not fit."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import resource, runbus
                resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
                left, finished = runbus.init(name="left"), runbus.init(name="finished")
                for run in (left, finished):
                    for step in range({points}):
                        run.log("loss", 1.0, step=step)
                finished.close(2)
                """
            ),
        ],
        timeout=150,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr

    assert [(run.name, run.state) for run in runbus.runs()] == [
        ("left", JobState.SUCCEEDED),
        ("finished", JobState.CANCELLED),
    ]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != room


def test_what_fits_before_the_end_is_kept_and_the_rest_is_counted() -> None:
    code = """
        import resource, runbus
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with runbus.init() as run:
            for step in range(100_000):
                run.log("loss", float(step), step=step)
            print(run.accepted, run.dropped)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        timeout=150,
        check=True,
        capture_output=True,
        text=True,
    )

    accepted, dropped = map(int, done.stdout.split())
    assert accepted + dropped == 100_000
    values: list[Any] = runbus.runs()[0].metrics("loss").values.tolist()
    assert values == list(map(float, range(accepted)))
