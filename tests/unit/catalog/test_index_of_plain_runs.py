"""Runs without jobs in the index: a list is quick, and says what is there now all the same."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.settled import index_when_settled

import runbus
from runbus._core import Journal
from runbus._home import Home
from runbus._ids import run_id_of
from runbus.catalog import find_run, open_run, rebuild_index, survey
from runbus.catalog._listings import Listings
from runbus.jobs import JobStore
from runbus.metrics import RunInfo, make_run_folder

ODD: dict[str, Any] = {"nan": float("nan"), "big": 2**70, "text": "ü\ud800", "deep": [{"a": (1,)}]}


@pytest.fixture
def run(home: Path) -> Path:
    """The folder of a run that is over, in a home with an index that has it."""
    with runbus.init("p", name="mine", config={"lr": 0.1}) as made:
        made.log({"loss": 1.0})
        made.tag("good")
    folder = Path(open_run(made.id).folder)
    assert index_when_settled(home) == 1
    return folder


def is_indexed(run: Path) -> bool:
    with Listings(Home()) as listings:
        return listings.of(str(run.parents[1])) is not None


def test_a_run_that_is_over_is_listed_from_the_index_as_from_its_files(run: Path) -> None:
    assert is_indexed(run)
    with_index = survey()
    assert (with_index[0].state, with_index[0].tags) == ("SUCCEEDED", ["good"])

    (Home().path / Path("index.db")).unlink()

    assert survey() == with_index
    assert not is_indexed(run)


def test_as_many_as_are_in_the_index_need_not_be_the_same(home: Path, tmp_path: Path) -> None:
    for _ in range(3):
        with runbus.init("p"):
            pass
    _, removed, new = sorted(Path(row.folder).parents[1] for row in survey())
    new.rename(tmp_path / "aside")
    assert index_when_settled(home) == 2
    (tmp_path / "aside").rename(new)
    shutil.rmtree(removed)

    with_index = survey()
    assert len(with_index) == 2
    (home / "index.db").unlink()

    assert survey() == with_index


def test_a_list_of_many_runs_extends_the_index_itself(home: Path) -> None:
    experiment_id, folder = Home().new_experiment("p")
    for number in range(1, 201):
        make_run_folder(folder, RunInfo.new(run_id_of(experiment_id, number), "n", "p", {}))
    index_when_settled(home)
    (home / "index.db").unlink()

    survey(newest=199)
    assert not (home / "index.db").exists()
    with_files = survey()
    assert is_indexed(Path(folder, "runs", f"{experiment_id}-1"))
    assert survey() == with_files


def rename(run: Path) -> None:
    open_run(run.name).rename("other")


def tag(run: Path) -> None:
    open_run(run.name).tag("better")


def untag_after_tagging(run: Path) -> None:
    open_run(run.name).untag("good")


def go_on_and_fail(run: Path) -> None:
    with pytest.raises(ZeroDivisionError), runbus.init(id=run.name):
        _ = 1 / 0


def keep_times(change: Callable[[bytes], bytes], path: Path) -> None:
    """Change a file in place, to as many bytes, and set its times to what they were."""
    before = path.stat()
    with path.open("r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(change(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.stat().st_size == before.st_size


def edit_run_json_in_place(run: Path) -> None:
    keep_times(lambda data: data.replace(b"mine", b"fake"), run / "run.json")


def spoil_the_journal_in_place(run: Path) -> None:
    (journal,) = (run / "metrics").iterdir()
    keep_times(lambda data: b"\xff" * len(data), journal)


def spoil_the_records_in_place(run: Path) -> None:
    (journal,) = (run / "records").iterdir()
    keep_times(lambda data: b"\xff" * len(data), journal)


def remove_the_journal(run: Path) -> None:
    (journal,) = (run / "metrics").iterdir()
    journal.unlink()


def remove_the_records(run: Path) -> None:
    shutil.rmtree(run / "records")


def replace_the_run_by_a_link(run: Path) -> None:
    run.rename(run.parents[1] / "away")
    run.symlink_to(run.parents[1] / "away")


def remove_the_run(run: Path) -> None:
    shutil.rmtree(run)


def copy_another_run_beside_it(run: Path) -> None:
    shutil.copytree(run, run.with_name(run.name[:-1] + "2"))


def make_a_journal_of_jobs_that_is_none(run: Path) -> None:
    (run.parents[1] / "events.journal").write_bytes(b"\xff" * 5000)


CHANGES = [
    rename,
    tag,
    untag_after_tagging,
    go_on_and_fail,
    edit_run_json_in_place,
    spoil_the_journal_in_place,
    spoil_the_records_in_place,
    remove_the_journal,
    remove_the_records,
    replace_the_run_by_a_link,
    remove_the_run,
    copy_another_run_beside_it,
    make_a_journal_of_jobs_that_is_none,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_run_that_changed_after_it_was_indexed_is_shown_as_it_is(
    change: Callable[[Path], None], run: Path, home: Path
) -> None:
    before = survey()

    change(run)

    with_index = survey()
    (home / "index.db").unlink()
    assert with_index == survey()
    assert with_index != before


def test_the_first_tag_of_a_run_is_shown(home: Path) -> None:
    runbus.init("p").finish()
    assert index_when_settled(home) == 1

    runbus.runs()[0].tag("new")

    assert [row.tags for row in survey()] == [["new"]]


def test_an_experiment_that_may_get_jobs_is_not_kept(run: Path, home: Path) -> None:
    JobStore(str(run.parents[1])).close()

    assert index_when_settled(home) == 0


def test_what_changed_a_moment_ago_is_not_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = run / "run.json"
    file.touch()
    changed_ns = file.stat().st_ctime_ns

    for later_ns, count in ((0, 0), (40_000_000, 0), (60_000_000, 1)):
        monkeypatch.setattr(time, "time_ns", lambda now_ns=changed_ns + later_ns: now_ns)
        assert rebuild_index(Home()) == count


def test_a_run_is_kept_once_nobody_holds_its_records_open(run: Path, home: Path) -> None:
    # Its pages are mapped: what is written to them next changes no time stamp.
    journal = Journal(run / "records" / "later-h.journal")
    journal.append(b'{"what":"note","time_ns":1,"text":"a"}')
    assert index_when_settled(home) == 0

    journal.close()

    assert index_when_settled(home) == 1


def test_a_run_that_goes_on_is_not_kept(home: Path) -> None:
    with runbus.init("p"):
        assert index_when_settled(home) == 0
        assert [row.state for row in survey()] == ["RUNNING"]


def test_what_only_pythons_json_has_comes_back_from_the_index(home: Path) -> None:
    with runbus.init("p", name="odd", config=ODD):
        pass
    from_files = repr(find_run("odd").info)
    assert index_when_settled(home) == 1

    assert repr(find_run("odd").info) == from_files
    assert is_indexed(Path(find_run("odd").folder))


def test_a_home_is_indexed_whatever_characters_its_path_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a?mode=rwc#%41"
    monkeypatch.setenv("RUNBUS_HOME", str(home))
    runbus.init("p").finish()

    assert index_when_settled(home) == 1
    assert is_indexed(Path(survey()[0].folder))
