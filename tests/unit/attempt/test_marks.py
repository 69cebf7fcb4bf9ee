"""Marks: how far logs had been read, and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.attempt._marks import LogMarks, Mark, log_offset_at, read_marks

S = 10**9


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return 10**18 + int(self.now_s * S)


def logs(folder: Path, stdout: bytes, stderr: bytes = b"") -> None:
    (folder / "stdout.log").write_bytes(stdout)
    (folder / "stderr.log").write_bytes(stderr)


def test_marks_are_a_second_apart_and_the_last_one_is_remembered(tmp_path: Path) -> None:
    clock = FakeClock()
    marks = LogMarks(str(tmp_path), clock)
    begin = clock.time_ns()

    for quarter in range(1, 13):
        clock.advance(0.25)
        marks.note(10 * quarter, quarter)

    assert read_marks(str(tmp_path)) == [
        Mark(begin + 1 * S, 40, 4),
        Mark(begin + 2 * S, 80, 8),
        Mark(begin + 3 * S, 120, 12),
    ]
    assert LogMarks(str(tmp_path), clock).last == (120, 12)
    assert (tmp_path / "cursor").stat().st_mode & 0o177 == 0


def test_a_job_that_is_over_within_a_second_leaves_no_mark(tmp_path: Path) -> None:
    clock = FakeClock()
    marks = LogMarks(str(tmp_path), clock)

    clock.advance(0.9)
    marks.note(10, 0)

    assert os.listdir(tmp_path) == []


def test_what_is_not_new_is_not_noted(tmp_path: Path) -> None:
    clock = FakeClock()
    marks = LogMarks(str(tmp_path), clock)
    for _ in range(3):
        clock.advance(1)
        marks.note(5, 0)

    assert [mark[1:] for mark in read_marks(str(tmp_path))] == [(5, 0)]


@given(st.integers(0, 200))
def test_a_torn_line_hides_no_other_mark(cut: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        marks = LogMarks(folder, clock)
        for number in range(1, 4):
            clock.advance(1)
            marks.note(number, 0)
        whole = read_marks(folder)
        path = Path(folder, "cursor")
        path.write_bytes(path.read_bytes()[:cut])
        later = LogMarks(folder, clock)
        for number in (99, 100):
            clock.advance(1)
            later.note(number, 0)

        read = read_marks(folder)

    assert [one.stdout for one in read[-2:]] == [99, 100]
    assert set(read[:-2]) <= set(whole)


def test_since_a_time_never_leaves_out_what_was_written_since(tmp_path: Path) -> None:
    clock = FakeClock()
    marks = LogMarks(str(tmp_path), clock)
    begin = clock.time_ns()
    logs(tmp_path, b"x" * 350, b"x" * 40)
    for second in range(1, 4):
        clock.advance(1)
        marks.note(100 * second, 10 * second)
    for name in ("stdout.log", "stderr.log"):
        os.utime(tmp_path / name, ns=(begin + 3 * S, begin + 3 * S))

    def at(seconds: float) -> int:
        return log_offset_at(str(tmp_path), "stdout", begin + int(seconds * S))

    assert [at(0), at(0.5), at(1), at(1.9), at(2.5), at(3)] == [0, 0, 100, 100, 200, 300]
    assert at(4.1) == 350, "nothing has been written since"
    stderr = [log_offset_at(str(tmp_path), "stderr", begin + at_s * S) for at_s in (0, 2, 5)]
    assert stderr == [0, 20, 40]
    assert log_offset_at(str(tmp_path / "gone"), "stderr", begin) == 0


def test_a_clock_that_was_set_back_makes_it_show_more_and_never_less(tmp_path: Path) -> None:
    logs(tmp_path, b"x" * 300)
    now = (tmp_path / "stdout.log").stat().st_mtime_ns
    lines = [(now - 100 * S, 100), (now - 40 * S, 200), (now - 90 * S, 300)]
    (tmp_path / "cursor").write_bytes(
        b"".join(b"%019d %016d %016d\n" % (time_ns, offset, 0) for time_ns, offset in lines)
    )

    assert log_offset_at(str(tmp_path), "stdout", now - 50 * S) == 100


def test_marks_that_cannot_be_written_stop_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    marks = LogMarks(str(tmp_path / "gone"), clock)
    clock.advance(1)

    marks.note(5, 5)

    assert marks.last == (0, 0)


@pytest.mark.parametrize("junk", [b"", b"\n\n", b"\xff\n", b"1 2 3\n", b"a b c\n"])
def test_what_is_no_mark_is_passed_over(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "cursor").write_bytes(junk)

    assert read_marks(str(tmp_path)) == []
