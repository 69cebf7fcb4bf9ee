"""Which experiments run the jobs of one again: lines in a file of its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.processes import open_files

from runbus._ids import new_experiment_id
from runbus.jobs import note_again, read_again


def test_experiments_that_run_jobs_again_are_told_oldest_first(tmp_path: Path) -> None:
    one, two = new_experiment_id(), new_experiment_id()
    assert read_again(str(tmp_path)) == []
    note_again(str(tmp_path), one)
    note_again(str(tmp_path), two)

    assert read_again(str(tmp_path)) == [one, two]
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o600
    (tmp_path / "again").write_bytes(f"no id\n{two}\n\xff\n../{one}\n{one}".encode("latin-1"))
    assert read_again(str(tmp_path)) == [two, one]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_file_is_neither_read_nor_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "again"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("other")
    else:
        path.mkdir()

    with pytest.raises(OSError, match="again"):
        note_again(str(tmp_path), new_experiment_id())
    assert read_again(str(tmp_path)) == []
    assert not (tmp_path / "other").exists()
    assert open_files(tmp_path) == []
