"""How long a job may wait for its start, and how long be silent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runbus.abc import Observation, Timeouts
from runbus.attempt import log_state
from runbus.jobs import Patience

QUEUED = Observation(phase="queued")
RUNNING = Observation(phase="running", started_ns=1)


def exceeded(patience: Patience, seen: Observation | None, now: float, folder: Path) -> str | None:
    return patience.take_in(seen, log_state(str(folder)), now)


def test_a_job_may_wait_as_long_as_it_was_given(tmp_path: Path) -> None:
    patience = Patience(Timeouts(queue_s=10), 100.0)

    assert exceeded(patience, QUEUED, 109.9, tmp_path) is None
    assert exceeded(patience, RUNNING, 500.0, tmp_path) is None
    assert (
        exceeded(patience, QUEUED, 110.0, tmp_path)
        == "it had not started after 10 s, its queue timeout"
    )


def test_a_job_waits_while_its_machine_is_made(tmp_path: Path) -> None:
    patience = Patience(Timeouts(queue_s=10), 100.0)

    made = Observation(phase="provisioning")
    assert exceeded(patience, made, 109.9, tmp_path) is None
    assert exceeded(patience, made, 110.0, tmp_path) is not None


def test_a_job_that_stands_still_is_not_silent(tmp_path: Path) -> None:
    patience = Patience(Timeouts(idle_s=10), 0.0)

    assert exceeded(patience, RUNNING, 0.0, tmp_path) is None
    assert exceeded(patience, Observation(phase="suspended"), 9.0, tmp_path) is None
    assert exceeded(patience, RUNNING, 12.0, tmp_path) is None
    assert exceeded(patience, RUNNING, 21.9, tmp_path) is None
    assert exceeded(patience, RUNNING, 22.0, tmp_path) is not None


def test_a_job_that_was_not_seen_may_have_started(tmp_path: Path) -> None:
    patience = Patience(Timeouts(queue_s=10, idle_s=10), 100.0)

    assert exceeded(patience, None, 1000.0, tmp_path) is None


@pytest.mark.parametrize("source", ["stdout", "stderr"])
def test_every_byte_of_output_grants_more_time(tmp_path: Path, source: str) -> None:
    patience = Patience(Timeouts(idle_s=10), 0.0)
    log = tmp_path / f"{source}.log"

    for now in (0.0, 9.0, 18.0, 27.0):
        assert exceeded(patience, RUNNING, now, tmp_path) is None
        with log.open("ab") as file:
            file.write(b"x")
    assert exceeded(patience, RUNNING, 36.0, tmp_path) is None
    assert exceeded(patience, RUNNING, 45.9, tmp_path) is None
    assert (
        exceeded(patience, RUNNING, 46.0, tmp_path) == "it wrote nothing for 10 s, its idle timeout"
    )


def test_a_log_that_was_emptied_and_written_anew_is_output(tmp_path: Path) -> None:
    patience = Patience(Timeouts(idle_s=10), 0.0)
    log = tmp_path / "stdout.log"
    log.write_bytes(b"12")
    assert exceeded(patience, RUNNING, 0.0, tmp_path) is None
    log.write_bytes(b"34")
    os.utime(log, ns=(5, 5))

    assert exceeded(patience, RUNNING, 11.0, tmp_path) is None


def test_the_time_in_which_nobody_saw_the_job_is_no_silence(tmp_path: Path) -> None:
    patience = Patience(Timeouts(idle_s=10), 0.0)

    assert exceeded(patience, RUNNING, 0.0, tmp_path) is None
    assert exceeded(patience, None, 5.0, tmp_path) is None
    assert exceeded(patience, RUNNING, 100.0, tmp_path) is None
    assert exceeded(patience, RUNNING, 110.0, tmp_path) is not None


def test_a_job_without_time_outs_may_take_for_ever(tmp_path: Path) -> None:
    patience = Patience(Timeouts(), 0.0)

    assert [
        exceeded(patience, seen, now, tmp_path) for now in (0.0, 1e9) for seen in (QUEUED, RUNNING)
    ] == [None] * 4
