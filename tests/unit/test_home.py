"""What a home folder remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbus._home import Home

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
