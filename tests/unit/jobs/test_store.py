"""The journal of an experiment, and the state that it adds up to."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runbus.attempt import Journal
from runbus.errors import JournalError, JournalHeld
from runbus.events import JobIntended, JobStarted
from runbus.jobs import FactReader, JobState, JobStore, read_jobs

ABOUT: dict[str, Any] = {"experiment_id": "e", "job": "j", "run_id": "e-1", "attempt": 1}
INTENDED = JobIntended(**ABOUT, time_ns=1, executor="local", folder="jobs/1-j/1", package="c.tgz")
STARTED = JobStarted(**ABOUT, time_ns=2, host="here", pid=42)


def test_an_intent_says_all_that_the_record_holds(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    record = store.record(INTENDED)
    store.close()

    assert record is not None
    assert (record.name, record.run_id, record.executor) == ("j", "e-1", "local")
    assert (record.folder, record.package, record.intended_ns) == ("jobs/1-j/1", "c.tgz", 1)
    assert read_jobs(str(tmp_path)) == {"j": record}


def test_a_store_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    first = JobStore(str(tmp_path))
    first.record(INTENDED)
    first.close()

    second = JobStore(str(tmp_path))
    second.record(STARTED)
    assert second.jobs["j"].state is JobState.RUNNING
    second.close()


def test_folders_are_named_within_the_experiment(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    store.close()

    assert store.relative(str(tmp_path / "jobs" / "1-j" / "1")) == "jobs/1-j/1"
    assert store.absolute("jobs/1-j/1") == str(tmp_path / "jobs" / "1-j" / "1")
    assert store.relative(str(tmp_path.parent / "code")) == "../code"


def test_a_journal_has_one_writer_and_says_whose_it_is(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    program = f"from runbus.jobs import JobStore; JobStore({str(tmp_path)!r})"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    store.close()

    assert f"{JournalHeld.__name__}: journal {tmp_path}/events.journal: " in done.stderr


def test_a_folder_that_is_not_there_is_told_with_its_path_and_reason(tmp_path: Path) -> None:
    with pytest.raises(JournalError) as caught:
        JobStore(str(tmp_path / "none"))

    assert caught.value.path == str(tmp_path / "none" / "events.journal")
    assert caught.value.reason == os.strerror(errno.ENOENT)


def test_what_is_not_a_journal_is_told_so_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.journal"
    path.write_bytes(b"something else entirely, and longer than any header" * 9)
    before = path.read_bytes()

    with pytest.raises(JournalError) as caught:
        JobStore(str(tmp_path))

    assert caught.value.path == str(path)
    assert caught.value.reason.startswith("not a ")
    assert path.read_bytes() == before


@pytest.fixture
def little_room() -> Iterator[None]:
    """Let no file of this process grow beyond 200,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_fact_that_cannot_be_written_is_told_and_changes_nothing(
    tmp_path: Path, little_room: None
) -> None:
    store = JobStore(str(tmp_path))
    intents = [replace(INTENDED, job=str(number), folder="x" * 1000) for number in range(1000)]
    with pytest.raises(JournalError) as caught:
        any(store.record(intent) is None for intent in intents)
    store.close()

    assert caught.value.path == str(tmp_path / "events.journal")
    assert caught.value.reason == os.strerror(errno.EFBIG)
    assert list(store.jobs) == [intent.job for intent in intents[: len(store.jobs)]]
    assert 100 < len(store.jobs) < 200
    assert read_jobs(str(tmp_path)) == store.jobs


def test_what_cannot_be_understood_hides_no_fact_after_it(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    store.record(INTENDED)
    store.close()
    journal = Journal(str(tmp_path / "events.journal"))
    journal.append(b'{"type":"from.a.newer.runbus"}')
    journal.append(b"\xff not json")
    journal.close()
    store = JobStore(str(tmp_path))
    store.record(STARTED)
    store.close()

    assert list(FactReader(str(tmp_path)).poll()) == [INTENDED, STARTED]
