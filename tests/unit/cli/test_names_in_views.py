"""Metrics and params under other names in views, and what is said of a run that is run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus import api
from runbus.catalog import Fields, find_run, open_run, survey
from runbus.cli._app import run_command
from runbus.errors import HomeUnusable

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture(autouse=True)
def runs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where there is no git
    for name in ("a", "b"):
        with runbus.init("p", name, config={"learning_rate": 0.1, "junk": 1}) as run:
            run.log({"train_loss": 2.0}, step=3)
            run.log({"noise": 1.0} if name == "a" else {"acc": 0.5}, step=4)


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert run_command(list(words)) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_views_show_other_names_and_take_either(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "rename", "p", "--metric", "train_loss=loss", "--param", "learning_rate=lr")
    said(capsys, "rename", "a", "--hide", "noise", "--hide", "junk")

    shown = said(capsys, "show", "a")
    assert "lr = 0.1" in shown
    assert "loss" in shown
    assert not any(word in shown for word in ("train_loss", "learning_rate", "noise", "junk"))
    fields = Fields()
    for row in survey():
        assert row.run is not None
        assert set(fields.values(row.run)) == {"loss", *(["acc"] if row.name == "b" else [])}
        for name in ("loss", "train_loss", "loss:min", "train_loss:max"):
            assert fields.of(row, name) == 2.0
        assert fields.of(row, "loss:min@step") == 3
        assert (fields.of(row, "lr"), fields.of(row, "learning_rate")) == (0.1, 0.1)
    assert Fields(3).of(survey()[0], "loss") == 2.0
    said(capsys, "ls", "--where", "loss<3 and lr>0", "--sort", "loss:mean")
    # Programs get what was logged.
    assert open_run("a").metric_names() == ["train_loss", "noise"]
    assert open_run("a").params == {"learning_rate": 0.1, "junk": 1}

    said(capsys, "rename", "p", "--unhide", "train_loss", "--unhide", "learning_rate")
    assert open_run("b").shown_names == {}
    assert open_run("a").shown_names == {"noise": None, "junk": None}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--metric", "trainloss=x"], "did you mean 'train_loss'"),
        (["--param", "junks=x"], "did you mean 'junk'"),
        (["--hide", "nois"], "did you mean 'noise'"),
        (["--metric", "train_loss"], "is not of the form OLD=NEW"),
        (["--metric", "train_loss=noise"], "has logged something as 'noise' already"),
        (["new", "--hide", "noise"], "given apart"),
        ([], "say the new name"),
    ],
)
def test_what_cannot_be_shown_so_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in said(capsys, "rename", "a", *words, status=2)
    assert open_run("a").shown_names == {}


@pytest.mark.parametrize("columns", [80, 200])
def test_a_name_that_holds_terminal_controls_is_shown_escaped(columns: int) -> None:
    run_command(["rename", "b", "--metric", "acc=a\x1b[2Jc"])
    words = [RUNBUS, "compare", "a", "b", "--all"]
    status, screen, raw = watch(words, columns, 24)

    assert status == 0
    assert b"\x1b[2J" not in raw
    lines = [line for line in screen.splitlines(keepends=True) if "created" not in line]
    check_golden(f"names-in-views-{columns}x24", "".join(lines))


def test_tags_notes_and_names_follow_a_retry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    jobs = [{"name": name, "command": ["false"]} for name in ("x", "y")]
    path.write_text(json.dumps({"project": "jobs", "jobs": jobs}))
    run_command(["submit", str(path)])
    first = find_run("x")
    first.tag("good", "old")
    first.untag("old")
    first.note("the one for the paper")
    first.show_as({"a": "b"})
    api.retry("jobs").prepare()

    again = find_run("x")
    assert again.id != first.id
    assert again.tags == ["good"]
    assert [note.text for note in again.notes] == ["the one for the paper"]
    assert again.shown_names == {"a": "b"}
    assert find_run("y").tags == []
    resumed = runbus.init(id=find_run("a").id)
    resumed.tag("on")
    resumed.finish()
    assert open_run("a").tags == ["on"]


def test_a_name_is_kept_or_refused_where_the_disk_is_full(home: Path) -> None:
    run = open_run("a")
    program = (
        "import resource, runbus\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "run = runbus.open_run('a')\n"
        "try: run.show_as({'noise': None})\n"
        "except runbus.errors.HomeUnusable: print('refused')\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert made.stdout == "refused\n"
    assert run.shown_names == {}
    os.rename(run.folder, f"{run.folder}-gone")
    with pytest.raises(HomeUnusable):
        run.show_as({"noise": None})
