"""The live table: drawn by a thread, whatever jobs do; golden screens of it are in tests/golden."""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.cli._job_lines import JobLines
from runbus.cli._live import LiveProgress, _unmoving
from runbus.cli._live_rows import Row, picture_of
from runbus.cli._outlet import Outlet
from runbus.cli._screen import uncolored
from runbus.events import JobEnded, JobIntended, JobRetrying, JobStarted, JobSubmitted, LogLines

from .terminal import Terminal, check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def about(job: str) -> dict[str, Any]:
    return {"experiment_id": "e", "job": job, "run_id": f"e-{job}", "attempt": 1, "time_ns": 1}


def row(name: str, state: str = "PENDING", reason: str = "") -> Row:
    """Return a job that has come as far as a state."""
    made = Row(name, None)
    made.take_in(JobIntended(**about(name), executor="local", folder=f"jobs/{name}/1"))
    if state == "PENDING":
        return made
    made.take_in(JobSubmitted(**about(name), handle="h"))
    if state == "QUEUED":
        return made
    started = about(name) | {"time_ns": time.time_ns() - 65 * 10**9}
    made.take_in(JobStarted(**started, host="here", pid=1))
    if state != "RUNNING":
        end = {"state": state, "exit_code": 1, "signal": None, "duration_s": 12.0, "reason": reason}
        made.take_in(JobEnded(**about(name) | {"time_ns": time.time_ns()} | end))
    return made


def log(data: bytes, job: str = "a", source: str = "stdout") -> LogLines:
    return LogLines(experiment_id="e", job=job, attempt=1, source=source, offset=0, data=data)


def many() -> list[Row]:
    rows = [row(f"train-lr=0.{at:03d}", "SUCCEEDED") for at in range(120)]
    rows[7] = row("train-lr=0.007", "FAILED", "exit code 127")
    rows[80] = row("a name that is as long as names may be, " * 4, "TIMEOUT", "it ran for 12 s")
    rows += [row(f"train-lr=0.{at:03d}", "RUNNING") for at in range(120, 124)]
    rows += [row(f"train-lr=0.{at:03d}", "QUEUED") for at in range(124, 126)]
    rows += [row(f"train-lr=0.{at:03d}") for at in range(126, 200)]
    rows[120].bar = b"\x1b[32m 42%|####      | 42/100 [00:12<00:17,  3.4it/s]\x1b[0m"
    return rows


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (160, 50), (40, 10)])
def test_of_200_jobs_a_screen_shows_totals_then_those_that_failed_run_and_are_next(
    columns: int, height: int
) -> None:
    lines = [uncolored(line) for line in picture_of(many(), columns, height)]

    assert len(lines) <= height // 2 + 1
    assert all(len(line) < columns for line in lines)
    shown = re.sub(r"1 min \d+ s$", "1 min 5 s", "\n".join(lines) + "\n", flags=re.MULTILINE)
    shown = re.sub(r"[\d.]+/s · \d+ s left", "1.8/s · 41 s left", shown)
    check_golden(f"live-{columns}x{height}", shown)


@pytest.mark.parametrize("room", range(1, 12))
def test_a_screen_of_any_size_holds_the_picture(room: int) -> None:
    for lines in (picture_of(many(), room * 7, room * 3), picture_of(many()[:1], room * 7, room)):
        assert len(lines) < max(2, room * 3)
        assert all(len(uncolored(line)) < max(2, room * 7) for line in lines)


@given(st.lists(st.binary(max_size=8).map(lambda part: part + b"\n"), min_size=1), st.data())
def test_lines_come_whole_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    # As the tailer hands them on: up to the end of a line, or to what was overwritten.
    text = b"".join(lines)
    ends = [
        at + 1 for at in range(len(text)) if text[at] in b"\r\n" and text[at : at + 2] != b"\r\n"
    ]
    cuts = sorted({0, len(text), *data.draw(st.lists(st.sampled_from(ends)))})
    taking = JobLines()
    came: list[bytes] = []
    for start, end in itertools.pairwise(cuts):
        came += taking.take(log(text[start:end]))

    assert came == [line.rstrip(b"\r").rpartition(b"\r")[2] for line in text.split(b"\n")[:-1]]
    assert taking.state("a") == b""


def test_a_progress_bar_shows_its_latest_state_until_its_line_ends() -> None:
    lines = JobLines()

    assert lines.take(log(b"before\n\r 1%\r 2%\r", source="stderr")) == [b"before"]
    assert lines.state("a") == b" 2%"
    assert lines.take(log(b"told\n")) == [b"told"]
    assert lines.take(log(b" 3%\r", source="stderr")) == []
    assert lines.state("a") == b" 3%"
    assert lines.take(log(b" 100%\nafter\n", source="stderr")) == [b" 100%", b"after"]
    assert lines.state("a") == b""


def test_a_log_may_color_its_lines_but_moves_nothing() -> None:
    colored = "\x1b[31mred\x1b[0m\x1b[2J\x1b[3A\x1b]0;title\x07\x08!\n"

    assert _unmoving(colored) == "\x1b[31mred\x1b[0m!\x1b[0m\n"
    assert _unmoving("größe\t1\n") == "größe\t1\n"


class _Held:
    """The end of a pipe that is read when asked for."""

    def __init__(self) -> None:
        self.read, write = os.pipe()
        self.raw = os.fdopen(write, "w")
        self.outlet = Outlet(self.raw)

    def all(self) -> str:
        closing = threading.Thread(target=self._close)
        closing.start()
        data = b""
        while piece := os.read(self.read, 1 << 16):
            data += piece
        closing.join()
        os.close(self.read)
        return data.decode()

    def _close(self) -> None:
        self.outlet.close()
        self.raw.close()


def test_what_is_written_scrolls_above_a_picture_of_which_nothing_stays() -> None:
    class Counting:
        drawn = 0

        def news(self) -> str:
            return "news\n" if self.drawn == 1 else ""

        def lines(self, columns: int, rows: int) -> list[str]:
            self.drawn += 1
            both.release()
            return [f"{columns}x{rows}", f"frame {self.drawn}"]

    both = threading.Semaphore(0)
    held, picture = _Held(), Counting()
    with held.outlet.showing(picture):
        both.acquire()
        held.outlet.write("a warning\nno end")
        both.acquire()
    text = held.all()

    assert "80x24\nframe 1" in text
    terminal = Terminal(80, 24)
    terminal.feed(text.replace("\n", "\r\n"))
    assert str(terminal).splitlines() == ["a warning", "no end"] or "news" in str(terminal)
    assert "frame" not in str(terminal)


def test_a_picture_that_cannot_be_drawn_does_not_end_the_outlet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def news(self) -> str:
            raise ValueError("no news")

        def lines(self, columns: int, rows: int) -> list[str]:
            raise AssertionError

    held = _Held()
    with held.outlet.showing(Broken()):
        held.outlet.settle(10)
        held.outlet.write("goes on\n")

    assert held.all() == "goes on\n"
    assert "the jobs' progress is not shown any more" in caplog.text


def test_a_flood_of_lines_is_bounded_and_the_last_ones_are_shown() -> None:
    held = _Held()
    progress = LiveProgress([], {}, held.outlet)
    for at in range(30):
        progress._news.add("a", [b"%d" % number for number in range(at * 1000, at * 1000 + 1000)])
    shown = progress.news().splitlines()
    held.all()

    assert shown[0] == "… 28,000 lines were left out; runbus logs shows them"
    assert shown[1:] == [str(number) for number in range(28_000, 30_000)]
    assert progress.news() == ""

    for _ in range(100):
        progress._news.add("a", [b"x" * 100_000])
    assert progress._news._bytes <= 3_000_000
    assert "… 80 lines" in progress.news()


def test_a_retry_is_announced() -> None:
    held = _Held()
    progress = LiveProgress([], {}, held.outlet)
    progress._rows["a"] = row("a", "RUNNING")
    retrying = JobRetrying(
        **about("a"), state="FAILED", exit_code=1, signal=None, reason="exit code 1",
        next_attempt=2, folder="jobs/a/2", delay_s=0.1,
    )  # fmt: skip
    progress._take_in(retrying)
    held.all()

    assert progress.news() == "attempt 1 failed: exit code 1; again in 0.1 s\n"


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (160, 50)])
def test_in_a_terminal_all_that_stays_is_what_jobs_wrote_and_the_result(
    columns: int, rows: int, tmp_path: Path
) -> None:
    bar = (
        "import sys, time\n"
        "for n in range(9):\n"
        "    sys.stderr.write(f'\\r{n}/8')\n"
        "    time.sleep(0.02)\n"
        "sys.stderr.write('\\n')"
    )
    jobs = [
        {"name": "talks", "command": ["seq", "100"]},
        {"name": "fails", "command": ["sh", "-c", "exit 3"]},
        {"name": "bar", "command": [sys.executable, "-c", bar]},
    ]
    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps({"project": "p", "jobs": jobs}))

    status, shown, data = watch([RUNBUS, "submit", str(batch)], columns, rows)

    assert status == 1
    lines = shown.splitlines()
    assert [line for line in lines if line.startswith("talks | ")] == [
        f"talks | {number}" for number in range(1, 101)
    ]
    assert sum(line.startswith("fails | FAILED") and "exit code 3" in line for line in lines) == 1
    assert [line for line in lines if line.startswith("bar | ")] == ["bar | 8/8"]
    assert sum(line.split()[:1] == ["run"] for line in lines) == 1  # the result's head
    assert not any(line.startswith("job ") for line in lines)  # nothing of the live table
    assert b" of 3 done" in data
