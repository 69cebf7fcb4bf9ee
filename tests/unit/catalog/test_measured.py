"""What runs are chosen and ordered by comes from the index, as long as their files are the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.settled import index_when_settled

import runbus
from runbus._home import Home
from runbus.catalog import runs
from runbus.catalog._measured import MeasuredRuns
from runbus.cli._app import run_command

COUNT = 210


@pytest.fixture
def folders(home: Path) -> list[str]:
    """Return the folders of runs that are over, more than it takes to keep what they measured."""
    made = []
    for number in range(COUNT):
        with runbus.init("p", f"r{number}", {"lr": number}, sync_ms=None) as run:
            run.log({"loss": float(number % 7), "odd": float("nan")}, step=0)
            run.log({"loss": 9.0}, step=1)
        made.append(run.folder)
    index_when_settled(home)
    return made


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert run_command(["ls", "--json", *words]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


ASKED = [
    ("--where", "lr<3 and loss:min>0", "--columns", "name,lr,loss:min,odd"),
    ("--sort", "-loss:min", "-n", "5", "--columns", "name,loss:min@step,loss"),
]


def test_answers_are_the_same_from_the_index_and_after_files_have_changed(
    folders: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(listed(capsys, "--where", "lr>=0")) == COUNT  # no metric is read
    assert {one.summaries for _, one in MeasuredRuns(Home()).of(folders)} == {None}
    before = [listed(capsys, *words) for words in ASKED]
    known = dict(MeasuredRuns(Home()).of(folders))
    assert len(known) == COUNT
    assert all(one.summaries for one in known.values())
    one = known[folders[3]]
    assert one.params == {"lr": 3}
    assert one.summaries is not None
    assert (one.summaries["loss"].min, one.summaries["loss"].last_step) == (3.0, 1)
    assert [listed(capsys, *words) for words in ASKED] == before

    runs("p")[1].set_params({"lr": 2.5})
    with runbus.init(resume=runs("p")[0].id) as run:
        run.log({"loss": 0.5}, step=2)
        run.log({"loss": -1.0}, step=3)
    assert dict(MeasuredRuns(Home()).of(folders[:2])) == {}
    named = {row["name"]: row for row in listed(capsys, "--columns", "name,lr,loss:min")}
    assert named["r0"] == {"name": "r0", "lr": 0, "loss:min": -1.0}
    assert named["r1"] == {"name": "r1", "lr": 2.5, "loss:min": 1.0}


def test_a_damaged_entry_is_as_good_as_none(
    folders: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [listed(capsys, *words) for words in ASKED]
    with closing(sqlite3.connect(home / "index.db")) as database, database:
        database.execute("UPDATE measured SET measured = replace(measured, '3', '4')")
    assert len(dict(MeasuredRuns(Home()).of(folders))) < COUNT
    assert [listed(capsys, *words) for words in ASKED] == before
