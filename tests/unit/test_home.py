"""What a home folder remembers."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from runbus._home import Home
from runbus._ids import new_experiment_id
from runbus.errors import HomeUnusable

if TYPE_CHECKING:
    from pathlib import Path


def test_a_note_of_open_work_that_is_not_written_yet_is_no_experiment(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _, folder = home.new_experiment("project")
    home.note_open(folder)
    (tmp_path / "open" / "being-written").touch()

    assert home.open_experiments() == [folder]


def test_a_note_that_is_taken_back_meanwhile_stops_nobody(tmp_path: Path) -> None:
    home = Home(tmp_path)
    _, folder = home.new_experiment("project")
    home.note_open(folder)
    # Listed, and not there when it is read.
    (tmp_path / "open" / "gone").symlink_to("nowhere")

    assert home.open_experiments() == [folder]


@pytest.mark.parametrize("path", ["/proc/x", "/proc/x/y/z"])
def test_a_home_where_no_folder_can_be_made_is_unusable(path: str) -> None:
    with pytest.raises(HomeUnusable, match="no such file or directory"):
        Home(path).new_experiment("project")


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_home_behind_a_link_to_nothing_is_unusable_and_not_empty(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    home = Home(tmp_path / "link" / below)

    with pytest.raises(HomeUnusable, match="link to nowhere, which does not exist"):
        list(home.experiment_folders())
    with pytest.raises(HomeUnusable, match="link to nowhere, which does not exist"):
        home.new_experiment("project")
    assert list(Home(tmp_path / "none").experiment_folders()) == []


def set_forward(home: Home, project: str) -> str:
    """Make an experiment as if the clock were an hour ahead; return its id."""
    experiment_id = new_experiment_id(time.time() + 3600)
    os.makedirs(os.path.join(home.experiments, project, experiment_id, "runs"))
    return experiment_id


@pytest.mark.parametrize("note", [None, "lost", "20991399-000000-000000", "\u00ff"])
def test_what_is_made_after_the_clock_was_set_back_is_the_newest(
    tmp_path: Path, note: str | None
) -> None:
    home = Home(tmp_path / "home")
    made = [home.new_experiment("a")[0], set_forward(home, "b")]
    if note is None:
        (tmp_path / "home" / "newest").unlink()
    else:
        (tmp_path / "home" / "newest").write_text(note)
    made += [home.new_experiment(project)[0] for project in "abc"]

    assert sorted(made) == made


def test_the_newest_id_is_noted_so_that_nobody_has_to_look_for_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    first = set_forward(home, "a")
    second, folder = home.new_experiment("a")
    os.rename(folder, tmp_path / "elsewhere")
    os.rename(os.path.join(home.experiments, "a", first), tmp_path / "elsewhere too")

    assert home.new_experiment("a")[0] > second > first


def test_the_note_of_the_newest_is_written_over_since_to_replace_a_file_waits_for_the_disk(
    tmp_path: Path,
) -> None:
    home, note = Home(tmp_path), tmp_path / "newest"
    home.new_experiment("a")
    before = note.stat().st_ino
    newest = home.new_experiment("a")[0]

    assert (note.read_text(), note.stat().st_ino) == (newest, before)


@pytest.mark.parametrize("kind", ["link", "second name", "longer"])
def test_what_is_no_note_of_ours_is_replaced_and_not_written_to(tmp_path: Path, kind: str) -> None:
    home, note, other = Home(tmp_path / "home"), tmp_path / "home" / "newest", tmp_path / "other"
    noted = home.new_experiment("a")[0]
    content = noted + "more" if kind == "longer" else noted
    other.write_text(content)
    note.unlink()
    if kind == "link":
        note.symlink_to(other)
    elif kind == "second name":
        note.hardlink_to(other)
    else:
        note.write_text(content)
    newest = home.new_experiment("a")[0]

    assert (note.read_text(), other.read_text()) == (newest, content)
