"""The journal of opaque records: restarts, damage, errors."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import TYPE_CHECKING

import pytest

from runbus._core import Journal, JournalReader, MetricReader, MetricWriter

if TYPE_CHECKING:
    from pathlib import Path


def test_a_restarted_writer_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with Journal(path) as journal:
        first = journal.append(b"one")
    reader = JournalReader(path)
    assert reader.poll() == [(first, b"one")]
    with Journal(path) as journal:
        second = journal.append(b"two")
        assert reader.poll() == [(second, b"two")]

    assert (reader.poll(), reader.damage) == ([], [])
    assert path.stat().st_size < 300
    with pytest.raises(FileExistsError):
        Journal(path, append=False)


def test_a_second_writer_is_refused_with_a_clear_error(tmp_path: Path) -> None:
    with Journal(tmp_path / "events") as journal:
        with pytest.raises(BlockingIOError, match="another writer") as raised:
            Journal(tmp_path / "events")
        assert raised.value.filename == str(tmp_path / "events")
        assert raised.value.errno == errno.EAGAIN
        journal.append(b"still mine")


def test_a_damaged_record_is_skipped_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with Journal(path) as journal:
        offsets = [journal.append(bytes([index]) * 10) for index in range(3)]
    content = bytearray(path.read_bytes())
    content[offsets[1] + 17] ^= 4
    path.write_bytes(content)
    reader = JournalReader(path)

    assert [offset for offset, _ in reader.poll()] == [offsets[0], offsets[2]]
    assert reader.damage == [(offsets[1], offsets[2] - offsets[1])]


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events")
    journal.close()
    journal.close()
    assert journal.closed
    with pytest.raises(ValueError, match="closed"):
        journal.append(b"late")


def test_wrong_arguments_raise(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with Journal(path) as journal:
        with pytest.raises(TypeError, match="payload"):
            journal.append("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="too large"):
            journal.append(bytes(2**27))
    with pytest.raises(ValueError, match="offset"):
        JournalReader(path, offset=3)
    with pytest.raises(ValueError, match="not a metrics journal"):
        MetricReader(path)
    MetricWriter(tmp_path / "metrics").close()
    with pytest.raises(ValueError, match="not an event journal"):
        JournalReader(tmp_path / "metrics")
    (tmp_path / "text").write_text("some text " * 10)
    for reader in (JournalReader, MetricReader, Journal):
        with pytest.raises(ValueError, match="not a runbus journal"):
            reader(tmp_path / "text")
    assert (tmp_path / "text").read_text() == "some text " * 10


def open_files() -> set[str]:
    """Return the files that this process has open; others than the test may open and close some."""
    found = set()
    for file in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{file}"))
    return found


def test_a_sync_that_was_begun_tells_when_it_is_done(tmp_path: Path) -> None:
    with Journal(tmp_path / "events") as journal:
        journal.append(b"one")
        syncing = journal.begin_sync([tmp_path, tmp_path / "gone"])

        ready, _, _ = select.select([syncing], [], [], 120)
        assert ready == [syncing]
        syncing.wait()
        assert syncing.fileno() == -1
        syncing.wait()
    with pytest.raises(ValueError, match="closed"):
        journal.begin_sync()


def test_a_closed_journal_keeps_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "events.journal"
    journal = Journal(path)
    journal.append(b"one")
    assert str(path) in open_files()

    journal.close()

    assert str(path) not in open_files()
    assert journal.closed
    journal.close()
    journal.sync()
    with pytest.raises(ValueError, match="closed"):
        journal.append(b"two")
