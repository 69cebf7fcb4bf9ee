"""Which folders of experiments on other machines may go, and how a shell is told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from runbus.codec import encode_json
from runbus.executors import idle_script, kept_folders, parse_idle
from runbus.executors._placement import Placement, write_placement

ID = "20260101-000000-abcdef"


def kept(folder: Path) -> Path:
    """Make a folder of a job that ended two days ago."""
    attempt = folder / "jobs" / "1-a" / "1"
    attempt.mkdir(parents=True)
    for name in ("pid.json", "exit.json"):
        (attempt / name).touch()
    return age(folder)


def age(folder: Path) -> Path:
    at = time.time() - 2 * 86400
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (at, at))
    return folder


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(["dash"], id="dash"),
        pytest.param(["bash"], id="bash"),
        pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
    ],
)
def test_what_nothing_uses_is_told_and_removed(tmp_path: Path, shell: list[str]) -> None:
    idle, lives, new = (kept(tmp_path / name) for name in ("it's idle", "lives", "new"))
    (lives / "jobs" / "1-a" / "1" / "exit.json").unlink()
    age(lives)
    (new / "written").touch()
    link = tmp_path / "link"
    link.symlink_to(idle)
    paths = [str(one) for one in (tmp_path / "gone", lives, idle, new, link)]

    def told(*, removes: bool) -> list[str]:
        done = subprocess.run(
            shell, input=idle_script(paths, removes=removes), capture_output=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return parse_idle(done.stdout, paths)

    assert told(removes=False) == [str(idle)]
    assert idle.is_dir()
    assert told(removes=True) == [str(idle)]
    assert told(removes=True) == []
    assert not idle.exists()
    assert lives.is_dir()
    assert new.is_dir()


@pytest.mark.parametrize("output", [b"-1\n", b"2\n", b"01\n", b"0 x\n", b"\xff\n"])
def test_an_answer_that_names_no_folder_is_refused(output: bytes) -> None:
    with pytest.raises(ValueError, match="does not say which folders are idle"):
        parse_idle(output, ["/a", "/b"])


@pytest.mark.parametrize(
    "folder",
    [f"/far/{ID}", "/jobs/1-a/1", f"{ID}/jobs/1-a/1", "/far/20260101-000000-other1/jobs/1-a/1"],
)
def test_a_folder_that_is_none_of_the_experiment_is_never_asked_for(
    tmp_path: Path, folder: str
) -> None:
    def written(name: str, folder: str) -> str:
        attempt = tmp_path / name
        attempt.mkdir()
        place = Placement(host="box", folder=folder, run_folder="/r", local_run_folder="r")
        write_placement(str(attempt), encode_json(place), durable=False)
        return str(attempt)

    good = written("good", f"/far/{ID}/jobs/1-a/1")
    assert list(kept_folders(ID, [written("bad", folder), good])) == [("box", f"/far/{ID}")]
    assert list(kept_folders("far", [written("other", "/home/far/jobs/1-a/1")])) == []
