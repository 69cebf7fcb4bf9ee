from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbus.attempt import LogTail
from runbus.attempt._logs import LINE_LIMIT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def drained(tail: LogTail, *, final: bool = False) -> bytes:
    return b"".join(iter(lambda: tail.poll(final=final), b""))


def test_only_whole_lines_are_handed_on_until_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\ntw")
    tail = LogTail(str(log))

    assert drained(tail) == b"one\n"
    with log.open("ab") as file:
        file.write(b"o\nthree")
    assert drained(tail) == b"two\n"
    assert drained(tail, final=True) == b"three"


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert LogTail(str(tmp_path / "log")).poll(final=True) == b""


def test_a_log_that_nobody_writes_to_takes_no_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    before = len(os.listdir("/proc/self/fd"))
    tail = LogTail(str(log))

    assert (tail.poll(), tail.poll(final=True)) == (b"", b"")
    assert len(os.listdir("/proc/self/fd")) == before
    log.write_bytes(b"a\n")
    assert tail.poll() == b"a\n"
    tail.close()


def test_a_line_without_end_is_handed_on_in_pieces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * (10 * LINE_LIMIT + 7) + b"\nlast\n")
    tail = LogTail(str(log))

    pieces = list(iter(tail.poll, b""))

    assert all(len(piece) <= LINE_LIMIT for piece in pieces)
    assert b"".join(pieces) == log.read_bytes()


def test_the_holes_of_a_sparse_log_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.write(b"first\n")
        file.seek(1 << 40)
        file.write(b"later\n")
        file.truncate(1 << 42)
    tail = LogTail(str(log))

    data = drained(tail, final=True)

    assert data.replace(b"\0", b"") == b"first\nlater\n"
    assert len(data) < 4 * LINE_LIMIT
    assert tail.offset == 1 << 42
    with log.open("ab") as file:
        file.write(b"last\n")
    assert drained(tail) == b"last\n"


def test_a_job_that_truncates_its_log_is_followed_from_the_start(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"a long first version\n")
    tail = LogTail(str(log))
    drained(tail)
    log.write_bytes(b"second\n")

    assert drained(tail) == b"second\n"
    assert (tail.cuts, tail.offset) == (1, 7)


@pytest.mark.parametrize("second", [b"other\n", b"another, longer one\n" * 9])
def test_a_log_that_has_grown_again_since_it_was_emptied_is_not_mixed_up(
    tmp_path: Path, second: bytes
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n")
    tail = LogTail(str(log))
    drained(tail)
    log.write_bytes(second)
    with log.open("ab") as file:
        file.write(b"more\n")

    assert drained(tail) == second + b"more\n"
    assert tail.cuts == 1


@given(st.lists(st.binary(max_size=40)), st.binary(max_size=5))
def test_every_byte_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], rest: bytes
) -> None:
    log = tmp_path_factory.mktemp("log") / "log"
    tail = LogTail(str(log))
    seen = b""
    for piece in [*pieces, rest]:
        with log.open("ab") as file:
            file.write(piece)
        seen += drained(tail)
    seen += drained(tail, final=True)
    tail.close()

    assert seen == b"".join(pieces) + rest


def test_what_a_progress_bar_overwrites_is_handed_on_before_its_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "stderr.log"
    tail = LogTail(str(file))
    file.write_bytes(b"start\n 1%\r 2%\r 3%")

    assert tail.poll() == b"start\n 1%\r 2%\r"
    with file.open("ab") as more:
        more.write(b"\r")
    assert tail.poll() == b""  # half of a line end, perhaps
    with file.open("ab") as more:
        more.write(b"\nend\r\n")
    assert tail.poll() == b" 3%\r\nend\r\n"
    tail.close()
