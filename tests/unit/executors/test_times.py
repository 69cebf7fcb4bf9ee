"""When a job on another machine began and ended, by our own clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import JobRef, Observation
from runbus.executors._host import FollowedJob, Host, Round
from runbus.executors._look import Answer, Look
from runbus.executors._placement import Placement
from runbus.transports import LocalTunnel

SECOND = 10**9
NOW_NS = 1_800_000_000 * SECOND


class Kept:
    """A job that is followed; keeps what it is told of it."""

    def __init__(self, folder: Path) -> None:
        self.host = Host(LocalTunnel(str(folder)), 1, [], lambda: None)
        place = Placement(
            host=self.host.name, folder="/there", run_folder="/there", local_run_folder="."
        )
        (folder / "here").mkdir()
        ref = JobRef(name="a", folder=str(folder / "here"), handle="1")
        self.job = FollowedJob(ref, place)

    def look(self, uptime: float, now_ns: int, **records: dict[str, Any]) -> Observation:
        lines: dict[str, Any] = {
            name: json.dumps(record).encode() for name, record in records.items()
        }
        answer = Answer(uptime=uptime, boot="this", looks=[Look(there=True, **lines)])
        seen = self.host._keep(self.job, answer.looks[0], Round(answer, now_ns))
        assert seen is not None
        return seen


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def began(uptime: float, boot: str = "this") -> dict[str, Any]:
    return {"pid": 1, "start": 1, "boot": boot, "host": "h", "uptime": uptime}


def ended(uptime: float) -> dict[str, Any]:
    return {"status": 0, "uptime": uptime, "user": "0m0s", "sys": "0m0s", "reason": ""}


def test_what_happened_on_the_machine_that_answers_has_the_time_of_then(kept: Kept) -> None:
    seen = kept.look(100, NOW_NS, pid=began(70), exit=ended(90))

    assert (seen.started_ns, seen.ended_ns) == (NOW_NS - 30 * SECOND, NOW_NS - 10 * SECOND)
    assert seen.duration_s == 20


def test_an_end_is_not_before_its_start_however_late_the_start_was_told(kept: Kept) -> None:
    first = kept.look(100, NOW_NS + 5 * SECOND, pid=began(99))
    seen = kept.look(101, NOW_NS + SECOND, pid=began(99), exit=ended(100))

    assert seen.ended_ns >= seen.started_ns == first.started_ns
    assert seen.duration_s == 1


@pytest.mark.parametrize("uptime", [5.0, 500.0])
def test_the_uptime_of_another_machine_than_the_one_that_answers_says_nothing(
    kept: Kept, uptime: float
) -> None:
    first = kept.look(100, NOW_NS, pid=began(uptime, boot="of a node"))
    later = NOW_NS + 8 * SECOND
    seen = kept.look(108, later, pid=began(uptime, boot="of a node"), exit=ended(uptime + 7))

    assert (first.started_ns, seen.started_ns, seen.ended_ns) == (NOW_NS, NOW_NS, later)
    assert seen.duration_s == 7
