"""A home of somebody else: another user is told so. Needs root, to become that user."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbus
from runbus.catalog import survey

pytestmark = pytest.mark.services

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
SCRIPT = """
import runbus
with runbus.init() as run:
    run.log("loss", 0.5)
"""


NEEDED = dict.fromkeys([sys.base_prefix, sys.prefix, str(Path(runbus.__file__).parents[1])])
"""Where the interpreter lies, what is installed for it, and this package."""


def as_nobody(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, who may have to be let in where what that needs lies."""
    command = shlex.join([*NOBODY, sys.executable, *words])
    closed = dict.fromkeys(filter(None, map(closed_above, NEEDED)))
    if closed:
        # In a view of the file system of its own, where nothing else of those folders is left.
        lines = ["set -e", "kept=$(mktemp -d)"]
        for number, one in enumerate(map(shlex.quote, NEEDED)):
            lines.append(f"mkdir $kept/{number}; mount --bind {one} $kept/{number}")
        lines += [f"mount -t tmpfs -o mode=755 none {top}" for top in map(shlex.quote, closed)]
        for number, one in enumerate(map(shlex.quote, NEEDED)):
            lines.append(f"mkdir -p {one}; mount --bind $kept/{number} {one}")
        script = "\n".join([*lines, f"exec {command}"])
        command = shlex.join(["unshare", "--mount", "sh", "-c", script])
    environment = {**os.environ, "RUNBUS_HOME": str(home), "HOME": "/nonexistent"}
    return subprocess.run(
        ["sh", "-c", command],
        env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def closed_above(path: str) -> str:
    """Return the topmost folder above a path that others cannot enter; empty if there is none."""
    closed = [str(at) for at in Path(path).parents if not at.stat().st_mode & 1]
    return closed[-1] if closed else ""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a batch, whose path anybody may walk along: pytest's own folders are closed."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        script = Path(folder, "train.py")
        script.write_text(SCRIPT)
        home = Path(folder, "home")
        subprocess.run(
            [sys.executable, "-m", "runbus.cli", "run", script],
            env={**os.environ, "RUNBUS_HOME": str(home)}, check=True, capture_output=True,
            timeout=120,
        )  # fmt: skip
        yield home


@pytest.mark.parametrize("closed", ["home", "project", "experiment"])
def test_another_user_is_told_that_permission_is_denied(home: Path, closed: str) -> None:
    (row,) = survey(home=home)
    run_id = row.id
    experiment = Path(row.folder).parent.parent
    above = {"home": [], "project": [home, home / "experiments"]}.get(closed)
    for folder in [home, home / "experiments", experiment.parent] if above is None else above:
        folder.chmod(0o755)

    for words in (
        ["show", run_id], ["metrics", run_id], ["logs", run_id], ["artifacts", run_id],
        ["plot", run_id, "loss"], ["seal", run_id], ["status", experiment.name],
        ["cancel", experiment.name], ["retry", experiment.name], ["attach", experiment.name],
    ):  # fmt: skip
        done = as_nobody(home, "-m", "runbus.cli", *words)
        assert done.returncode == 1, (words, done)
        assert "permission denied" in done.stderr, (words, done)
        assert "Traceback" not in done.stderr
    listed = as_nobody(home, "-m", "runbus.cli", "ls")
    assert "permission denied" in listed.stderr + listed.stdout
    logged = as_nobody(home, "-c", "import runbus; runbus.init()")
    assert "HomeUnusable" in logged.stderr
    assert "permission denied" in logged.stderr
    assert [one.state for one in survey(home=home)] == ["SUCCEEDED"]
