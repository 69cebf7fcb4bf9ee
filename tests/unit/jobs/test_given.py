"""Settings of plugins that were said after an experiment was recorded: a file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbus.jobs import note_settings, read_settings


def test_later_settings_go_before_and_leave_the_others_at_any_depth(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert read_settings(folder) == {}
    first: dict[str, dict[str, Any]] = {
        "wandb": {"key": {"secret": "env:KEY"}, "tags": ["a"], "net": {"proxy": "p", "port": 1}},
        "other": {"level": 1},
    }
    note_settings(folder, first)
    assert read_settings(folder) == first

    note_settings(folder, {"wandb": {"tags": ["b"], "net": {"port": 2}, "mode": None}})
    assert read_settings(folder) == {
        "wandb": {
            "key": {"secret": "env:KEY"},
            "tags": ["b"],
            "net": {"proxy": "p", "port": 2},
            "mode": None,
        },
        "other": {"level": 1},
    }


@pytest.mark.parametrize("harm", ["cut", "changed", "folder"])
def test_settings_that_are_damaged_count_as_none(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "settings.json"
    note_settings(str(tmp_path), {"wandb": {"tags": ["a"]}})
    text = path.read_bytes()
    if harm == "cut":
        path.write_bytes(text[: len(text) // 2])
    elif harm == "changed":
        path.write_bytes(text.replace(b'"a"', b'"b"'))
    else:
        path.unlink()
        path.mkdir()

    assert read_settings(str(tmp_path)) == {}
