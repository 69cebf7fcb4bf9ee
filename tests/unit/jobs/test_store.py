"""The journal of an experiment, and the state that it adds up to."""

from __future__ import annotations

import errno
import os
import pty
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from runbus import codec
from runbus.abc import JobSpec, Package
from runbus.attempt import Journal
from runbus.errors import JournalError, JournalHeld
from runbus.events import (
    JobEnded,
    JobFact,
    JobIntended,
    JobStarted,
    JobSubmitted,
    KernelStopping,
    RetryPolicy,
)
from runbus.jobs import FactReader, JobState, JobStore, intend, read_jobs

ABOUT: dict[str, Any] = {"experiment_id": "e", "job": "j", "run_id": "e-1", "attempt": 1}
INTENDED = JobIntended(
    **ABOUT, time_ns=1, executor="local", folder="jobs/1-j/1", package="code/c.tgz"
)
STARTED = JobStarted(**ABOUT, time_ns=2, host="here", pid=42)
ENDED = JobEnded(
    **ABOUT, time_ns=3, state="SUCCEEDED", exit_code=0, signal=None, reason="", duration_s=1.0
)


def test_an_intent_says_all_that_the_record_holds(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    record = store.record(INTENDED)
    store.close()

    assert record is not None
    assert (record.name, record.run_id, record.executor) == ("j", "e-1", "local")
    assert (record.folder, record.package, record.intended_ns) == ("jobs/1-j/1", "code/c.tgz", 1)
    assert read_jobs(str(tmp_path)) == {"j": record}


def test_what_is_intended_of_jobs_is_all_that_a_next_leader_needs(tmp_path: Path) -> None:
    packed = Package(path=str(tmp_path / "code/c.tgz"), sha256="0" * 64, size=1, root="/")
    retry = RetryPolicy(retries=3)
    one, two = (
        JobSpec(
            experiment_id="e", name=name, run_id=f"e-{name}", executor="local", argv=("true",),
            cwd="/", env={}, folder=str(tmp_path / "jobs" / name), run_folder="", package=package,
            retry=retry,
        )
        for name, package in (("one", packed), ("two", None))
    )  # fmt: skip
    store = JobStore(str(tmp_path))
    first, second = intend(store, [one, two])
    assert intend(store, [two]) == [second]  # which is known
    store.close()

    assert (first.name, first.folder, first.package) == ("one", "jobs/one", "code/c.tgz")
    assert (second.name, second.folder, second.package) == ("two", "jobs/two", "")
    assert (first.retry, second.retry) == (retry, retry)
    assert [fact.job for fact in FactReader(str(tmp_path)).poll()] == ["one", "two"]


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
    with pytest.raises(JournalError) as told:
        read_jobs(str(tmp_path))
    assert (told.value.path, told.value.reason) == (caught.value.path, caught.value.reason)


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
    journal.append(codec.encode_event(KernelStopping(reason="no fact of a job", budget_s=1.0)))
    journal.close()
    store = JobStore(str(tmp_path))
    store.record(STARTED)
    store.close()

    assert list(FactReader(str(tmp_path)).poll()) == [INTENDED, STARTED]


@pytest.fixture
def refused() -> Iterator[str]:
    """Give the path of what no disk could keep: opening it is an input/output error."""
    other_end, terminal = pty.openpty()
    os.close(other_end)
    yield f"/proc/self/fd/{terminal}"
    os.close(terminal)


RUN = "runs/e-1"
RESTS_ON = {
    INTENDED: ("experiment.json", "code/c.tgz", "code", f"{RUN}/run.json", RUN),
    ENDED: (
        "jobs/1-j/1/exit.json", "jobs/1-j/1/pid.json", "jobs/1-j/1",
        f"{RUN}/metrics.cursor", f"{RUN}/records.cursor",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "path"), [(fact, path) for fact, paths in RESTS_ON.items() for path in paths]
)
def test_a_fact_is_on_the_disk_only_with_what_it_rests_on(
    tmp_path: Path, refused: str, fact: JobIntended | JobEnded, path: str
) -> None:
    store = JobStore(str(tmp_path))
    if fact is not INTENDED:
        store.record(INTENDED)
        store.sync()
    rests_on = tmp_path / path
    rests_on.parent.mkdir(parents=True, exist_ok=True)
    rests_on.symlink_to(refused)
    store.record(fact)

    for sync in (store.sync, store.sync, store.close):  # it is not forgotten
        with pytest.raises(JournalError) as caught:
            sync()
        assert caught.value.path == str(tmp_path / "events.journal")
        assert caught.value.reason == os.strerror(errno.EIO)
    store.close()


def test_what_is_on_the_disk_is_not_written_to_it_again(tmp_path: Path, refused: str) -> None:
    store = JobStore(str(tmp_path))
    store.record(INTENDED)
    store.record(ENDED)
    were_unsynced = store.has_unsynced_ends
    store.sync()

    (tmp_path / "experiment.json").symlink_to(refused)
    (tmp_path / "jobs/1-j").mkdir(parents=True)
    (tmp_path / "jobs/1-j/1").symlink_to(refused)
    store.record(STARTED)
    assert (were_unsynced, store.has_unsynced_ends) == (True, False)
    store.close()
    store.close()


def test_a_store_that_is_closed_puts_on_the_disk_what_it_recorded_last(
    tmp_path: Path, refused: str
) -> None:
    store = JobStore(str(tmp_path))
    store.sync()
    (tmp_path / "experiment.json").symlink_to(refused)
    store.record(INTENDED)

    with pytest.raises(JournalError):
        store.close()


def test_what_was_recorded_while_a_sync_failed_is_not_forgotten(
    tmp_path: Path, refused: str
) -> None:
    store = JobStore(str(tmp_path))
    (tmp_path / "runs").mkdir()
    (tmp_path / "jobs").mkdir()
    store.record(INTENDED)
    store.record(ENDED)
    (tmp_path / "runs/e-1").symlink_to(refused)
    syncing = store.begin_sync()
    store.record(replace(INTENDED, job="k", run_id="e-2", folder="jobs/k"))
    store.record(replace(ENDED, job="k", run_id="e-2"))
    with pytest.raises(JournalError):
        syncing.wait()
    (tmp_path / "runs/e-1").unlink()

    for path in ("runs/e-2", "jobs/k"):  # of its intent, and of its end
        (tmp_path / path).symlink_to(refused)
        with pytest.raises(JournalError):
            store.sync()
        (tmp_path / path).unlink()
    store.sync()
    store.close()


@pytest.mark.parametrize(
    ("later", "is_owed"),
    [
        (None, True),
        (JobSubmitted(**ABOUT, time_ns=2, handle="7"), False),
        (replace(ENDED, state="CANCELLED"), False),
    ],
    ids=["intended", "submitted", "ended"],
)
def test_a_next_leader_puts_on_the_disk_what_may_not_have_come_there(
    tmp_path: Path, refused: str, later: JobFact | None, is_owed: bool
) -> None:
    first = JobStore(str(tmp_path))
    first.record(INTENDED)
    if later is not None:
        first.record(later)
    first.close()
    (tmp_path / "experiment.json").symlink_to(refused)

    second = JobStore(str(tmp_path))
    if is_owed:
        with pytest.raises(JournalError):
            second.close()
    second.close()


def test_what_was_recorded_is_told_also_once_the_experiment_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "e"
    folder.mkdir()
    store = JobStore(str(folder))
    reader = FactReader(str(folder))
    assert list(reader.poll()) == []
    store.record(INTENDED)
    shutil.rmtree(folder)

    assert list(reader.poll()) == [INTENDED]
    assert list(reader.poll()) == []
    store.close()
