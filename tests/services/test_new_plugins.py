"""Each kind that `runbus plugins new` writes: built, installed, found by its name, tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.cli._plugin_templates import KINDS
from runbus.cli.commands._new_plugin import command

pytestmark = pytest.mark.services

FOUND = {
    "runbus.executors": "from runbus.plugins import PluginRegistry as R; "
    "print(R.shared().executors.origin_of('mine'))",
    "runbus.datastream": "from importlib.metadata import entry_points as e; "
    "(p,) = e(group='runbus.datastream', name='mine'); print(p.dist.name, p.dist.version)",
    "runbus.plugins": "from runbus.plugins import find; print(find().plugins['mine'].by)",
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_new_plugin_is_installed_and_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    command.main(["mine", "--kind", kind, "--into", str(tmp_path)], standalone_mode=False)
    folder, target = tmp_path / "runbus-mine", tmp_path / "installed"

    def said(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(target)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # Without a network: what builds it is here.
    said(
        "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index",
        "--target", str(target), ".",
    )  # fmt: skip
    assert said("-c", FOUND[KINDS[kind].group]) == "runbus-mine 0.1.0\n"
    assert " passed" in said("-m", "pytest", "-q", "-p", "no:cacheprovider")
