"""Who writes a journal, as told by its lock alone."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from tests.processes import open_files

from runbus.attempt import Journal, has_writer


def test_a_journal_has_a_writer_while_one_has_it_open(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    assert not has_writer(path)
    journal = Journal(path)

    before = open_files(tmp_path)
    assert has_writer(path)
    assert open_files(tmp_path) == before

    journal.close()
    assert not has_writer(path)


def test_a_lock_for_reading_is_no_writers(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch()
    with path.open("rb") as file:
        asked = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, asked)

        assert not has_writer(str(path))


def test_a_pipe_in_the_place_of_a_journal_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal")

    assert not has_writer(str(tmp_path / "journal"))
