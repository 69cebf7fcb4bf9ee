from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import open_files

from runbus.attempt import LogTail
from runbus.attempt._logs import LINE_LIMIT, log_state, note_cut, read_cuts, read_log

if TYPE_CHECKING:
    from pathlib import Path


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
    tail = LogTail(str(log))

    assert (tail.poll(), tail.poll(final=True)) == (b"", b"")
    assert open_files(tmp_path) == []
    log.write_bytes(b"a\n")
    assert tail.poll() == b"a\n"
    assert open_files(tmp_path) == [str(log)]
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


def test_a_progress_bar_that_has_begun_to_draw_anew_has_drawn_what_was_before(
    tmp_path: Path,
) -> None:
    file = tmp_path / "stderr.log"
    file.write_bytes(b" 1%\r2")
    tail = LogTail(str(file))

    assert tail.poll() == b" 1%\r"
    assert tail.poll(final=True) == b"2"


def test_a_log_that_is_over_is_handed_on_in_whole_lines_but_for_its_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"some words\n" * (2 * LINE_LIMIT // 11) + b"and no end")
    tail = LogTail(str(log))

    *pieces, last = iter(lambda: tail.poll(final=True), b"")

    assert all(piece.endswith(b"\n") for piece in pieces)
    assert b"".join([*pieces, last]) == log.read_bytes()


def test_a_log_of_the_same_size_is_looked_at_again_in_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail(str(log))
    for number, text in enumerate([b"one\n", b"two\n", b"six\n"]):
        log.write_bytes(text)
        if number:
            assert tail.poll() == b""
        assert drained(tail, final=True) == text
        assert (tail.cuts, tail.offset) == (number, 4)


def test_a_small_hole_of_a_log_is_handed_on_as_the_zeros_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"o" * 65_535 + b"\n")  # whole blocks, after which the hole begins
    tail = LogTail(str(log))
    assert drained(tail) == log.read_bytes()
    with log.open("ab") as file:
        file.truncate(200_000)

    assert drained(tail, final=True) == bytes(200_000 - 65_536)


def test_a_line_without_end_behind_a_large_hole_is_handed_on_in_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        file.seek(1 << 40)
        file.write(b"last words")
    tail = LogTail(str(log))

    assert drained(tail, final=True).strip(b"\0") == b"last words"


def test_a_log_is_read_from_any_byte_on_a_mebibyte_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"0123456789" * 200_000)

    assert read_log(str(tmp_path), "stdout", 1_999_995) == b"56789"
    assert read_log(str(tmp_path), "stdout", 3) == (b"3456789012" * 200_000)[:LINE_LIMIT]
    assert read_log(str(tmp_path), "stdout", 2_000_000) == b""
    assert read_log(str(tmp_path), "stderr", 0) == b""
    assert open_files(tmp_path) == []


def test_what_was_written_to_logs_is_known_by_their_sizes_and_times(tmp_path: Path) -> None:
    assert log_state(str(tmp_path)) == ((0, 0), (0, 0))
    for name, size in (("stdout.log", 3), ("stderr.log", 5)):
        (tmp_path / name).write_bytes(bytes(size))
        os.utime(tmp_path / name, ns=(0, 1_000_000_000 + size))

    assert log_state(str(tmp_path)) == ((3, 1_000_000_003), (5, 1_000_000_005))


def test_where_a_job_has_emptied_its_logs_is_kept_and_read_in_order(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert read_cuts(folder) == []
    note_cut(folder, "stdout", 7)
    note_cut(folder, "stderr", 0)
    assert read_cuts(folder) == [("stdout", 7), ("stderr", 0)]
    assert (tmp_path / "cuts").stat().st_mode & 0o777 == 0o600

    with (tmp_path / "cuts").open("ab") as file:
        file.write(b"stdin 3\nstdout -1\nstdout 12345678901234567890\n\xff\nstdout 8\nstdout 9")
    assert read_cuts(folder) == [("stdout", 7), ("stderr", 0), ("stdout", 8)]


@pytest.mark.parametrize("kind", ["folder", "pipe", "nowhere"])
def test_a_cut_that_cannot_be_noted_is_passed_over(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "attempt"
    if kind != "nowhere":
        folder.mkdir()
        make = os.mkdir if kind == "folder" else os.mkfifo
        make(folder / "cuts")

    note_cut(str(folder), "stdout", 7)
    assert read_cuts(str(folder)) == []
