"""What follows the records of a run, and tells its config."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import runbus
from runbus.events import NoteAdded, ParamsLogged
from runbus.metrics import RecordTail, RunInfo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder of a run that was made for a job, which attaches to it."""
    path = str(tmp_path / "r")
    os.mkdir(path)
    RunInfo("r", "r", "p", {"lr": 0.1}, 1).write(path)
    monkeypatch.setenv("RUNBUS_RUN", path)
    return path


def params_of(tail: RecordTail) -> list[dict[str, object]]:
    facts = tail.poll(1)
    assert all(isinstance(fact, ParamsLogged) for fact in facts)
    return [fact.params for fact in facts if isinstance(fact, ParamsLogged)]


def test_what_is_added_to_a_config_is_told_when_it_is_there_and_nothing_twice(folder: str) -> None:
    tail = RecordTail("r", "e", "j", folder)
    assert params_of(tail) == [{"lr": 0.1}]
    assert params_of(tail) == []

    runbus.init(config={"lr": 9.0, "opt": {"name": "adam"}}).finish()
    assert params_of(tail) == [{"opt/name": "adam"}]
    runbus.init(config={"opt": {"name": "adam"}}).finish()
    assert params_of(tail) == []


def test_who_follows_on_tells_only_what_is_added_after_that(folder: str) -> None:
    tail = RecordTail("r", "e", "j", folder, {"writer": 8})
    assert params_of(tail) == []

    runbus.init(config={"seed": 5}).finish()
    assert params_of(tail) == [{"seed": 5}]


@pytest.mark.parametrize("name", ["0", "z"], ids=["before the others", "after them"])
def test_an_index_that_cannot_be_read_is_told_once_and_hides_no_other(
    folder: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkdir(f"{folder}/records")
    Path(folder, "records", f"{name}.journal").write_text("no journal\n")
    tail = RecordTail("r", "e", "j", folder)
    with runbus.init() as run:
        for note in ("first", "second"):
            run.note(note)
            facts = tail.poll(1)
            assert [fact.text for fact in facts if isinstance(fact, NoteAdded)] == [note]

    path = f"{folder}/records/{name}.journal"
    (told,) = caplog.messages
    assert told.startswith(f"records of run r cannot be read: {path}: ")
