"""What happens to the index while it is written, and what others leave in its place."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.settled import index_when_settled

from runbus._home import Home
from runbus._ids import run_id_of
from runbus.catalog import RunRow, rebuild_index, survey
from runbus.catalog._listings import BUSY_S, VERSION, Listings
from runbus.metrics import RunInfo, make_run_folder

EXPERIMENTS = 30
REBUILD = """
from runbus._home import Home
from runbus.catalog import rebuild_index
print("begun", flush=True)
while True:
    rebuild_index(Home())
"""


@pytest.fixture
def rows(home: Path) -> list[RunRow]:
    """What a list shows of a home without an index."""
    for number in range(EXPERIMENTS):
        experiment_id, folder = Home().new_experiment(f"p{number % 3}")
        make_run_folder(folder, RunInfo.new(run_id_of(experiment_id, 1), f"n{number}", "p", {}))
    assert index_when_settled(home) == EXPERIMENTS
    (home / "index.db").rename(home / "kept.db")
    found = survey()
    assert len(found) == EXPERIMENTS
    return found


def is_used() -> bool:
    with Listings(Home()) as listings:
        return all(listings.of(folder) is not None for folder in Home().experiment_folders())


@contextmanager
def rebuilding() -> Iterator[subprocess.Popen[str]]:
    """Have another process make the index anew, again and again, until it is killed."""
    command = [sys.executable, "-c", REBUILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            yield writer
        finally:
            writer.kill()


def test_a_list_is_right_while_the_index_is_written_and_after_its_writer_was_killed(
    rows: list[RunRow], home: Path
) -> None:
    for seed in range(2):
        with rebuilding() as writer:
            until = time.monotonic() + random.Random(seed).uniform(0.0, 0.1)
            while time.monotonic() < until:
                assert survey() == rows
            writer.kill()
        assert survey() == rows
    assert rebuild_index(Home()) == EXPERIMENTS
    assert is_used()


def test_two_that_write_the_index_at_once_leave_one_that_is_right(rows: list[RunRow]) -> None:
    with rebuilding(), rebuilding():
        for _ in range(5):
            assert survey() == rows
    assert survey() == rows


def test_an_index_that_somebody_is_writing_is_not_waited_for(
    rows: list[RunRow], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(home / "kept.db", home / "index.db")
    waits: list[float] = []

    def connect(path: Any, *, timeout: float, uri: bool = False) -> sqlite3.Connection:
        waits.append(timeout)
        return sqlite3.Connection(path, timeout=timeout, uri=uri)

    with closing(sqlite3.connect(home / "index.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", connect)
        assert survey() == rows
        assert not is_used()
        # To read it and to write it, not for each experiment.
        assert waits == [BUSY_S, BUSY_S]
        assert BUSY_S < 0.5
    assert is_used()


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_an_index_of_another_version_is_not_read_and_is_made_anew(
    version: int, rows: list[RunRow], home: Path
) -> None:
    with closing(sqlite3.connect(home / "index.db")) as other, other:
        other.execute("CREATE TABLE listings (key, other)")
        other.execute('CREATE TABLE "of ""another"" version" (key)')
        other.execute("INSERT INTO listings VALUES ('a', 'b')")
        other.execute(f"PRAGMA user_version = {version}")
    assert survey() == rows
    assert not is_used()

    from runbus.catalog._looks import Looks

    with Listings(Home()) as listings:
        looks = Looks(Home(), listings)
        for folder in Home().experiment_folders():
            list(looks.rows(folder))
        assert looks.save(worth=0) == EXPERIMENTS
    assert is_used()
    assert survey() == rows
