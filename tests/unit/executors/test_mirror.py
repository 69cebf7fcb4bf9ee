"""Local copies of logs and journals, fed piece by piece."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runbus._core import MetricReader, MetricWriter
from runbus.attempt import read_cuts, whole_records
from runbus.executors._copies import JournalCopy, LogCopy


def journal(folder: Path, rows: int, *, finished: bool) -> bytes:
    """Return a journal's bytes: with reserved zeros behind it if it is not finished."""
    path = folder / "original.journal"
    writer = MetricWriter(str(path))
    for step in range(rows):
        writer.log("loss", step / 2, step)
        if step % 7 == 0:
            writer.log({"a": step, f"b{step}": 1.0}, step=step)
    data = path.read_bytes()
    writer.close()
    return path.read_bytes() if finished else data


def points(path: Path) -> int:
    columns = MetricReader(str(path)).poll(1_000_000)
    return 0 if columns is None else len(columns)


def copied(copy: JournalCopy, data: bytes) -> None:
    """Feed a copy from bytes as from a file, until nothing more comes."""
    for _ in range(10_000):
        before = copy.offset, copy.window
        copy.take(data[copy.offset : copy.offset + copy.window])
        if (copy.offset, copy.window) == before:
            return
    raise AssertionError("it never ends")


def test_a_journal_in_progress_is_copied_to_its_last_whole_record(tmp_path: Path) -> None:
    data = journal(tmp_path, 5000, finished=False)
    copy = JournalCopy(str(tmp_path / "copy"))

    copied(copy, data)

    assert copy.offset < len(data)
    assert points(tmp_path / "copy") == points(tmp_path / "original.journal")
    assert not any(data[copy.offset :])


@settings(max_examples=40)
@given(st.lists(st.integers(0, 40_000), max_size=6), st.booleans())
def test_a_journal_seen_in_any_states_of_growth_is_copied_whole(
    cuts: list[int], restarted: bool
) -> None:
    """What is not written yet reads as zeros, in the middle of what is reserved."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = journal(folder, 700, finished=True)
        path = str(folder / "copy")
        copy = JournalCopy(path)
        for cut in sorted(cuts):
            seen = data[: min(cut, len(data))]
            # Only up to a whole record: its first word is written last.
            whole, _ = whole_records(seen, at_start=True)
            copied(copy, seen[:whole] + bytes(50_000))
            if restarted:
                copy = JournalCopy(path)
        copied(copy, data)

        assert Path(path).read_bytes() == data


def test_a_journal_that_has_just_been_made_has_nothing_to_copy() -> None:
    assert whole_records(b"", at_start=True) == (0, 0)
    assert whole_records(bytes(4096), at_start=True) == (0, 0)


def test_a_record_that_is_longer_than_what_was_read_is_asked_for(tmp_path: Path) -> None:
    data = bytes([4]) + (1000).to_bytes(3, "little") + b"chek" + bytes(8000)

    assert whole_records(data[:100], at_start=False) == (0, 8008)
    assert whole_records(data, at_start=False) == (8008, 0)


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_a_log_goes_on_where_its_copy_ends(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for piece in pieces:
            LogCopy(name, "stdout").take(piece)

        copy = LogCopy(name, "stdout")
        written = b"".join(pieces)
        assert (copy.offset, copy.before) == (len(written), written[-64:])


def test_a_log_that_was_emptied_keeps_what_was_copied_of_it(tmp_path: Path) -> None:
    copy = LogCopy(str(tmp_path), "stderr")
    copy.take(b"old")
    copy.restart()
    copy.take(b"n")
    again = LogCopy(str(tmp_path), "stderr")

    assert (again.offset, again.before) == (1, b"n")
    again.take(b"ew")
    assert (tmp_path / "stderr.log").read_bytes() == b"oldnew"
    assert read_cuts(str(tmp_path)) == [("stderr", 3)]
