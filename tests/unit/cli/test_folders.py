"""What the command line says of folders that are gone, or another user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNBUS = f"'{sys.executable}' -m runbus.cli"


def said(script: str, home: Path) -> str:
    """Return what a script, in which `runbus` is the command, writes to stderr."""
    done = subprocess.run(
        ["sh", "-c", script.replace("runbus", RUNBUS)],
        env=os.environ | {"RUNBUS_HOME": str(home)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stderr


@pytest.mark.parametrize("command", ["run s.py", "run $T/s.py", "submit b.yaml"])
def test_a_deleted_current_folder_is_named(tmp_path: Path, command: str) -> None:
    (tmp_path / "b.yaml").write_text('project: p\njobs: [{name: a, command: ["true"]}]\n')
    (tmp_path / "s.py").write_text("")
    gone = tmp_path / "gone"
    gone.mkdir()

    script = f"T='{tmp_path}'; cd '{gone}'; rmdir '{gone}'; runbus {command}"
    told = said(script, tmp_path / "home")

    assert "the current folder has been deleted" in told
    assert "hint: cd to a folder that is there" in told


@pytest.mark.parametrize("command", ["ls", "status"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_user_s_home_is_named_as_that(tmp_path: Path, command: str) -> None:
    home = tmp_path / "home"
    (home / "experiments").mkdir(parents=True)
    for folder in (home / "experiments", home):
        folder.chmod(0o700)
        os.chown(folder, 65534, 65534)
    # Root without its right to pass over permissions is a user like others.
    without = "-dac_override,-dac_read_search"

    told = said(f"setpriv --bounding-set {without} --inh-caps {without} runbus {command}", home)

    assert (
        f"cannot use the home folder {home}: permission denied: it belongs to the user nobody"
        in told
    )
    assert "hint: set RUNBUS_HOME to a folder you can write" in told
