"""The file of the index: whose it is, and what lies in its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.settled import index_when_settled

from runbus._home import Home
from runbus._ids import run_id_of
from runbus.catalog import survey
from runbus.events import JobEnded, JobIntended
from runbus.jobs import JobStore
from runbus.metrics import RunInfo, make_run_folder


@pytest.fixture
def index(home: Path) -> Path:
    """The index of a home that has something to be indexed."""
    experiment_id, folder = Home().new_experiment("p")
    run_id = run_id_of(experiment_id, 1)
    make_run_folder(folder, RunInfo.new(run_id, "j", "p", {}, "j"))
    store = JobStore(folder)
    about: Any = {"experiment_id": experiment_id, "job": "j", "run_id": run_id, "attempt": 1}
    store.record(JobIntended(**about, executor="local", folder="f", time_ns=1))
    end: Any = {"state": "FAILED", "exit_code": 1, "signal": None, "reason": "", "duration_s": 1.0}
    store.record(JobEnded(**about, **end, time_ns=2))
    store.close()
    return home / "index.db"


@pytest.mark.parametrize("umask", [0, 0o077])
@pytest.mark.parametrize(("shared", "mode"), [("", 0o600), ("group", 0o660)])
def test_the_index_is_its_users_whatever_the_umask(
    umask: int, shared: str, mode: int, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_SHARED", shared)
    before = os.umask(umask)
    try:
        assert index_when_settled(index.parent) == 1
    finally:
        os.umask(before)

    assert index.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_lies_in_the_place_of_the_index_is_neither_read_nor_written(
    kind: str, index: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    match kind:
        case "link":
            index.symlink_to(other)
        case "pipe":
            os.mkfifo(index)
        case "folder":
            index.mkdir()
    from runbus.catalog._index import Index

    read = Index(Home())
    for folder in Home().experiment_folders():
        read.experiment(folder)

    assert read.save(worth=0) == 0
    assert other.read_bytes() == b""
    assert [row.state for row in survey()] == ["FAILED"]
