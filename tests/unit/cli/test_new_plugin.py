"""`runbus plugins new` writes a whole distribution, or nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from runbus.cli._plugin_templates import KINDS
from runbus.cli.commands._new_plugin import command
from runbus.errors import UsageError


def new(*words: str) -> object:
    return command.main([*words], standalone_mode=False)


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_is_a_distribution_that_says_what_it_brings(kind: str, tmp_path: Path) -> None:
    assert new("my-thing", "--kind", kind, "--into", str(tmp_path)) == 0
    folder = tmp_path / "runbus-my-thing"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "runbus-my-thing"
    ((group, points),) = project["entry-points"].items()
    module, _, name = points["my-thing"].partition(":")
    tree = ast.parse((folder / "src" / module / "__init__.py").read_text())
    names = {one.name for one in tree.body if isinstance(one, ast.ClassDef)}
    names |= {t.id for one in tree.body if isinstance(one, ast.Assign) for t in one.targets
              if isinstance(t, ast.Name)}  # fmt: skip
    assert name in names
    special = {"executor": "runbus.executors", "service": "runbus.datastream"}
    assert group == special.get(kind, "runbus.plugins")
    ast.parse((folder / "tests" / f"test_{module}.py").read_text())
    assert "$" not in (folder / "README.md").read_text()
    assert os.access(folder, os.R_OK | os.X_OK)


def test_a_new_extension_passes_its_own_tests(tmp_path: Path) -> None:
    new("mine", "--kind", "extension", "--into", str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "runbus-mine",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 passed" in done.stdout


@pytest.mark.parametrize(
    "name", ["", "Mine", "my thing", "../x", "my--thing", "-x", "9x", "class", "x" * 51, "ü", "a/b"]
)
def test_a_bad_name_is_refused_and_nothing_written(name: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, click.UsageError)):
        new("--kind", "hook", "--into", str(tmp_path), "--", name)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("class", "keyword of Python"), ("x" * 51, "longer than 50"), ("jsonl", "there is a plugin")],
)
def test_a_name_is_refused_with_its_own_reason(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        new(name, "--kind", "hook", "--into", str(tmp_path))
    assert not [*tmp_path.iterdir()]


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    for kind in ("folder", "file", "link"):
        place = tmp_path / f"runbus-{kind}"
        match kind:
            case "folder":
                place.mkdir()
            case "file":
                place.write_text("mine")
            case "link":
                place.symlink_to(tmp_path / "nowhere")
        with pytest.raises(UsageError, match="is there already"):
            new(kind, "--kind", "hook", "--into", str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["runbus-file", "runbus-folder", "runbus-link"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        new("mine", "--kind", "hook", "--into", str(tmp_path / "file" / "below"))
