"""The live table: drawn by a thread, whatever jobs do; golden screens of it are in tests/golden."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runbus
from runbus.api import JobLines
from runbus.cli._live import LiveProgress
from runbus.cli._live_groups import grouped
from runbus.cli._live_row import Row
from runbus.cli._live_rows import picture_of
from runbus.cli._outlet import Outlet
from runbus.cli._printer import unmoving
from runbus.cli._screen import uncolored
from runbus.cli._sweep_best import BestSoFar
from runbus.events import (
    JobCancelRequested,
    JobEnded,
    JobIntended,
    JobRetrying,
    JobStarted,
    JobSubmitted,
    LogLines,
    MetricBatch,
)
from runbus.jobs import SweepAsked

from .terminal import Terminal, check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock stand still: what runs has run as long as in the golden screens."""
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)


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


def test_a_job_whose_end_is_asked_for_is_shown_as_being_cancelled_until_it_has_ended() -> None:
    one = row("a", "RUNNING")
    one.take_in(JobCancelRequested(**about("a"), reason="Ctrl-C"))

    assert one.state == "CANCELLING"
    end = {"exit_code": None, "signal": 15, "duration_s": 1.0, "reason": "Ctrl-C"}
    one.take_in(JobEnded(**about("a") | {"time_ns": time.time_ns()} | end, state="CANCELLED"))
    assert one.state == "CANCELLED"


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


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(("columns", "height"), [(80, 24), (160, 50), (40, 10)])
def test_of_200_jobs_a_screen_shows_totals_then_those_that_failed_run_and_are_next(
    columns: int, height: int
) -> None:
    lines = [uncolored(line) for line in picture_of(many(), columns, height)]

    assert len(lines) <= height // 2 + 1
    assert all(len(line) < columns for line in lines)
    check_golden(f"live-{columns}x{height}", "\n".join(lines) + "\n")


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

    assert unmoving(colored) == "\x1b[31mred\x1b[0m!\x1b[0m\n"
    assert unmoving("größe\t1\n") == "größe\t1\n"


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
        held.outlet.settle(40)
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
    # Nothing of the live table, whose head begins so, too.
    assert [line for line in lines if line.startswith("job ")] == [
        "job 'fails' FAILED: exit code 3"
    ]
    assert b" of 3 done" in data


def batch(job: str, points: list[tuple[str, int, float]], *, start_ns: int = 0) -> MetricBatch:
    """Return points as (name, second, value): each a second after the one before."""
    names = tuple(dict.fromkeys(name for name, _, _ in points))
    return MetricBatch(
        run_id=f"e-{job}",
        writer="w",
        names=names,
        series=array("I", [names.index(name) for name, _, _ in points]).tobytes(),
        steps=array("q", [second for _, second, _ in points]).tobytes(),
        times=array("q", [start_ns + second * 10**9 for _, second, _ in points]).tobytes(),
        values=array("d", [value for _, _, value in points]).tobytes(),
    )


def advance(one: Row, seconds: range, total: float = 1000.0) -> None:
    for second in seconds:
        done = second * 10.0
        points = [("loss", second, 0.5), ("progress/done", second, done)]
        one.measure(batch(one.name, [*points, ("progress/total", second, total)]))


def test_what_a_job_reports_is_shown_as_share_rate_and_time_left() -> None:
    one = row("a", "RUNNING")
    advance(one, range(21))

    assert (one.progress, one.rate, one.left) == ("200/1000 20%", "10.0/s", "1 min 20 s")
    assert (one.latest, one.step) == ("loss 0.5", "")
    end = {"exit_code": 1, "signal": None, "duration_s": 1.0, "reason": ""}
    one.take_in(JobEnded(**about("a") | end, state="FAILED"))
    assert (one.progress, one.rate, one.left) == ("200/1000 20%", "", "")


def test_a_job_that_begins_anew_is_as_quick_as_it_is_now() -> None:
    one = row("a", "RUNNING")
    advance(one, range(50))
    one.measure(batch("a", [("progress/done", 60, 0.0)]))
    one.measure(batch("a", [("progress/done", 61, 1.0)]))

    assert (one.progress, one.rate) == ("1/1000 0%", "1.0/s")


def test_steps_say_how_quick_a_job_is_that_reports_nothing() -> None:
    one = row("a", "RUNNING")
    for second in range(5):
        one.measure(batch("a", [("loss", second * 3, 0.5)], start_ns=second * -2 * 10**9))

    assert (one.progress, one.step, one.rate, one.left) == ("", "12", "3.0/s", "")


@pytest.mark.parametrize("total", [0.0, -1.0, math.nan, math.inf, 5e-324])
def test_any_total_that_was_reported_can_be_shown(total: float) -> None:
    one = row("a", "RUNNING")
    advance(one, range(3), total)

    assert one.progress.startswith("20")
    assert one.left == ""


def groups() -> list[Row]:
    rows = many()[:60]
    rows += [row(f"eval-{at}", "QUEUED") for at in range(10)]
    rows += [row("report\x1b[2J", "RUNNING")]
    for name in ("b-lr=1", "b-lr=2"):
        rows.append(row(name, "RUNNING"))
        advance(rows[-1], range(21))
    return rows


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(("columns", "height"), [(80, 24), (200, 50)])
def test_more_than_40_jobs_are_folded_into_their_groups(columns: int, height: int) -> None:
    lines = [uncolored(line) for line in picture_of(groups(), columns, height)]

    assert len(lines) <= height // 2 + 1
    assert all(len(line) < columns for line in lines)
    check_golden(f"live-groups-{columns}x{height}", "\n".join(lines) + "\n")


def test_up_to_40_jobs_have_a_row_each() -> None:
    rows = [row(f"a-{at}") for at in range(20)] + [row(f"b-{at}") for at in range(20)]

    assert grouped(rows) == []
    assert [one.title for one in grouped([*rows, row("c")])] == ["a (20)", "b (20)"]


@pytest.mark.usefixtures("still")
def test_a_sweep_is_one_row_of_the_live_table_however_few_points_it_has() -> None:
    rows = [row("train-lr=0.1", "SUCCEEDED"), row("train-lr=0.2", "FAILED")]
    rows += [row("train-lr=0.3", "RUNNING"), row("report", "QUEUED")]
    jobs = {one.name: one.name for one in rows[:3]}
    sweep = SweepAsked(name="rates", space={}, total=8, jobs=jobs, done={"k1": "r1", "k2": "r2"})

    lines = [uncolored(line) for line in picture_of(rows, 80, 24, [sweep])]

    check_golden("live-sweep-80x24", "\n".join(lines) + "\n")
    assert [line.split()[:4] for line in lines if line.startswith("rates")] == [
        ["rates", "(8)", "RUNNING", "7/8"]
    ]


@pytest.mark.usefixtures("still")
def test_the_row_of_a_sweep_shows_its_best_point_so_far() -> None:
    with runbus.init("p", "train-lr=0.2") as run:
        run.log({"loss": 0.25}, step=0)
        run.log({"loss": 5.0}, step=1)
    names = ["train-lr=0.1", "train-lr=0.2", "train-lr=0.3"]
    sweep = SweepAsked(
        name="", space={}, total=3, jobs={name: name for name in names}, goal="min:loss"
    )
    folders = {name: run.folder if name == "train-lr=0.2" else "gone" for name in names}
    found = BestSoFar("gone", 0, sweep, folders)
    rows = [row(name, "RUNNING") for name in names]
    assert found.text(rows) == ""
    nan = float("nan")
    found.measure("train-lr=0.1", batch("train-lr=0.1", [("acc", 0, 0.0), ("loss", 0, 0.5)]))
    found.measure("train-lr=0.1", batch("train-lr=0.1", [("loss", 1, nan), ("loss", 2, 4.0)]))
    found.measure("report", batch("report", [("loss", 0, 0.0)]))
    assert found.text(rows) == "best loss 0.5, lr=0.1"
    # What batches have left out, the run of a job that has ended has.
    rows[1] = row("train-lr=0.2", "SUCCEEDED")
    rows[2] = row("train-lr=0.3", "FAILED")
    best = found.text(rows)
    assert best == "best loss 0.25, lr=0.2"
    lines = [uncolored(line) for line in picture_of(rows, 80, 24, [sweep], {0: best})]
    check_golden("live-best-80x24", "\n".join(lines) + "\n")
