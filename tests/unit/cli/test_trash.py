"""Runs that were removed: in the trash, back from it, and gone for good."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job
from runbus._files import add_check, take_check
from runbus.attempt import wrapper_program
from runbus.catalog import (
    find_run,
    find_trashed,
    open_run,
    purge_run,
    remove_run,
    restore_run,
    runs,
    survey,
    trashed,
)
from runbus.cli._app import run_command
from runbus.errors import HomeUnusable, RunBusy, RunNotFound
from runbus.experiment import ExperimentDraft, StoredExperiment

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


@pytest.fixture(autouse=True)
def alone(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a run without a job; return the home."""
    monkeypatch.chdir(tmp_path)  # where there is no git
    with runbus.init("p", "alone", config={"lr": 0.1}) as run:
        run.log({"loss": 1.0})
        run.tag("good")
    return home


@pytest.fixture
def made(alone: Path, tmp_path: Path) -> Path:
    """Make a batch of two runs as well; return the home."""
    path = tmp_path / "b.json"
    jobs = [{"name": name, "command": ["echo", name]} for name in ("x", "y")]
    path.write_text(json.dumps({"project": "jobs", "jobs": jobs}))
    run_command(["submit", str(path)])
    return alone


def files(home: Path) -> dict[str, bytes]:
    """Return what the experiments of a home consist of."""
    found = (path for path in (home / "experiments").rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


@pytest.mark.parametrize("order", [["x", "y"], ["y", "x"]])
def test_what_was_removed_comes_back_as_it_was(made: Path, order: list[str]) -> None:
    before = files(made)
    for name in ("alone", "x", "y"):
        remove_run(find_run(name))
    assert runs() == []
    assert not any((made / "experiments" / "jobs").iterdir())
    assert [one.name for one in trashed()] == ["alone", "x", "y"]

    for name in ("alone", *order):
        restore_run(find_trashed(name))
    assert files(made) == before
    assert trashed() == []
    assert open_run("alone").tags == ["good"]


def test_the_rest_of_a_batch_stays_as_long_as_a_run_of_it_may_come_back(made: Path) -> None:
    before = files(made)
    for name in ("x", "y"):
        remove_run(find_run(name))
    purge_run(find_trashed("y"))  # it had the rest of the batch
    restore_run(find_trashed("x"))
    (folder,) = (made / "experiments" / "jobs").iterdir()
    kept = {path for path in files(made) if folder.name in path}
    of_y = "/jobs/2-y/", f"/runs/{folder.name}-2/"
    assert kept == {
        path for path in before if folder.name in path and not any(part in path for part in of_y)
    }

    remove_run(find_run("x"), purge=True)
    assert not folder.exists()
    assert trashed() == []
    with pytest.raises(RunNotFound):
        find_trashed("x")


@pytest.mark.parametrize("stop", range(1, 6))
@pytest.mark.parametrize("what", ["remove", "restore"])
def test_one_that_is_cut_short_is_finished_by_the_next(made: Path, what: str, stop: int) -> None:
    # The process is killed at its n-th rename.
    before = files(made)
    program = (
        "import os, sys\n"
        "from runbus.catalog import find_run, find_trashed, remove_run, restore_run\n"
        "left = int(sys.argv[2])\n"
        "def renaming(event, args):\n"
        "    global left\n"
        "    if event == 'os.rename':\n"
        "        left -= 1\n"
        "        if left == 0: os._exit(9)\n"
        "y = find_run('y')\n"
        "if sys.argv[1] == 'restore': remove_run(y)\n"
        "sys.addaudithook(renaming)\n"
        "remove_run(y) if sys.argv[1] == 'remove' else restore_run(find_trashed(y.id))\n"
    )
    remove_run(find_run("x"))
    run_id = find_run("y").id
    killed = subprocess.run(
        [sys.executable, "-c", program, what, str(stop)], timeout=120, check=False
    )
    assert killed.returncode in (0, 9)

    if what == "remove" and any(run.name == "y" for run in runs()):
        remove_run(find_run("y"))
    for name in (run_id, "x"):
        try:
            restore_run(find_trashed(name))
        except RunNotFound:
            assert find_run(name).name in {"x", "y"}
    assert files(made) == before
    assert trashed() == []


def test_no_run_is_removed_that_somebody_writes(made: Path) -> None:
    with runbus.init("p", "live") as run:
        run.log({"loss": 1.0})
        for purge in (False, True):
            with pytest.raises(RunBusy):
                remove_run(open_run("live"), purge=purge)
    for name in ("alone", "x"):  # of x the job is over all the same
        with runbus.init(id=open_run(name).id), pytest.raises(RunBusy):
            remove_run(open_run(name))
        remove_run(open_run(name))


@pytest.mark.parametrize("where", ["trash", "experiments/p", "runs", "inside"])
def test_no_link_is_followed_out_of_the_home(alone: Path, tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    run = open_run("alone")
    if where == "inside":
        outside.mkdir()
        (outside / "kept").write_text("kept")
        os.symlink(outside, Path(run.folder, "artifacts"))
        remove_run(run, purge=True)
        assert (outside / "kept").exists()
        return
    place = alone / where if where != "runs" else Path(run.experiment_folder, "runs")
    if place.exists():
        shutil.move(place, outside)
    else:
        outside.mkdir()
    os.symlink(outside, place)
    before = sorted(map(str, outside.rglob("*")))

    with pytest.raises((HomeUnusable, RunNotFound)):
        remove_run(find_run(run.id), purge=True)
    assert sorted(map(str, outside.rglob("*"))) == before


@pytest.mark.parametrize("field", ["project", "job"])
@pytest.mark.parametrize("name", ["../../outside", "..", "", "a\0b", 7], ids=range(5))
def test_a_note_in_the_trash_leads_nowhere_else(alone: Path, field: str, name: object) -> None:
    remove_run(open_run("alone"))
    (entry,) = (alone / "trash").iterdir()
    note = entry / "removed.json"
    about = json.loads(take_check(note.read_bytes(), str(note)))
    note.write_bytes(add_check(json.dumps(about | {field: name}).encode()))

    assert len(trashed()) == ((field, name) == ("job", ""))


def test_restoring_takes_nothing_elses_place(alone: Path) -> None:
    run = open_run("alone")
    remove_run(run)
    Path(run.folder).mkdir(parents=True)

    with pytest.raises(HomeUnusable, match="in its place"):
        restore_run(find_trashed(run.id))
    assert [one.id for one in trashed()] == [run.id]


def command(*words: str, status: int = 0) -> tuple[str, str]:
    made = subprocess.run(
        [RUNBUS, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert made.returncode == status, made.stderr
    return made.stdout, made.stderr


def test_the_command_removes_lists_restores_and_purges() -> None:
    run_id = open_run("alone").id
    assert command("rm", "alone") == (
        f"{run_id}\n", "in the trash: runbus rm --restore brings them back\n"
    )  # fmt: skip
    assert json.loads(command("rm", "--list", "--json")[0])[0]["id"] == run_id
    assert "did you mean 'alone'" in command("rm", "--restore", "alnoe", status=1)[1]
    command("rm", "--restore", "alone")
    assert "nobody can be asked" in command("rm", "--purge", "alone", status=2)[1]
    command("rm", "alone")
    assert command("rm", "--purge", "-y", run_id)[0] == f"{run_id}\n"
    assert command("rm", "--list") == ("", "the trash is empty\n")


def test_gc_removes_what_is_old_and_over_and_has_no_tags(made: Path) -> None:
    assert json.loads(command("gc", "--older-than", "1h", "--dry-run", "--json")[0]) == []
    found = json.loads(command("gc", "--older-than", "0s", "--dry-run", "--json")[0])
    assert sorted((one["name"], one["goes"]) for one in found) == [
        ("x", "to the trash"),
        ("y", "to the trash"),
    ]
    assert len(runs()) == 3
    assert "nobody can be asked" in command("gc", "--older-than", "0s", status=2)[1]
    assert "is not an age" in command("gc", "--older-than", "30", status=2)[1]

    command("gc", "--older-than", "0s", "-y", "--where", "name=x", "--where", "state=succeeded")
    assert [one.name for one in trashed()] == ["x"]
    assert {row.name for row in survey()} == {"alone", "y"}
    with runbus.init("p", "live"):
        command("gc", "--older-than", "0s", "-y", "--tagged")
        assert [run.name for run in runs()] == ["live"]
    assert [one.name for one in trashed()] == ["alone", "y"]


def test_gc_removes_what_is_old_in_a_home_and_is_made_again_if_need_be(home: Path) -> None:
    draft = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))])
    draft.prepare()  # somebody may be running it
    package = home / "cache/packages/0123.tar.gz"
    program = home / "bin" / ("0" * 64)
    own = Path(str(wrapper_program(home)))
    for path in (package, program, own.parent / "README"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    for path in (package, program, own):
        os.utime(path, (1, 1))

    def found(*words: str) -> dict[str, str]:
        shown = command("gc", "--older-than", "9d", "--dry-run", "--json", *words)[0]
        return {one["id"]: one["goes"] for one in json.loads(shown)}

    assert found() == {"cache/packages/0123.tar.gz": "for good"}
    StoredExperiment.open(draft.folder).give_up("by a test")
    assert found() == dict.fromkeys(["bin/" + "0" * 64, "cache/packages/0123.tar.gz"], "for good")
    assert found("--project", "p") == found("--where", "name=a") == {}
    command("gc", "--older-than", "9d", "-y")
    assert found() == {}
    assert own.exists()
    assert not package.exists()


@pytest.mark.parametrize("columns", [80, 200])
def test_names_that_hold_terminal_controls_are_shown_escaped(columns: int, alone: Path) -> None:
    open_run("alone").rename("al\x1b[2Jone")
    remove_run(open_run("al\x1b[2Jone"))
    (note,) = (alone / "trash").glob("*/removed.json")
    about = json.loads(take_check(note.read_bytes(), str(note)))
    # How long ago that was must be as wide as in the golden screens, whenever they are drawn.
    about["removed_ns"] = time.time_ns() - (3 * 60 + 5) * 60 * 10**9
    note.write_bytes(add_check(json.dumps(about).encode()))
    screens = []
    for words in (["rm", "--list"], ["gc", "--older-than", "0s", "--dry-run"]):
        status, screen, raw = watch([RUNBUS, *words], columns, 24)
        assert status == 0
        assert b"\x1b[2J" not in raw
        screens.append(screen)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-z]{6}", "20300101-120000-abcdef", "\n".join(screens))
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2030-01-01 12:00:00", text)
    check_golden(f"trash-{columns}x24", text)
