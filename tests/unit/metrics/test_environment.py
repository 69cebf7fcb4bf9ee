"""What a job ran in is on record: packages, machine, and the names of its variables."""

from __future__ import annotations

import os
import stat
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import runbus
from runbus._home import ENV_ATTEMPT, ENV_RUN
from runbus.metrics import read_environment


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an attempt that this process is part of."""
    folder = tmp_path / "attempt"
    folder.mkdir()
    run = runbus.init(project="p")
    run.finish()
    monkeypatch.setenv(ENV_ATTEMPT, str(folder))
    monkeypatch.setenv(ENV_RUN, run.folder)
    return folder


def test_packages_machine_and_names_of_variables_are_noted_and_no_values(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    monkeypatch.setenv("RUNBUS_IMAGE", "repo@sha256:12")
    runbus.init().finish()

    known = read_environment(str(attempt))
    assert known["python"] == sys.version.split()[0]
    assert known["packages"]["pytest"] == version("pytest")
    assert known["packages"]["typing-extensions"] == version("typing_extensions")
    assert known["host"] == os.uname().nodename
    assert known["image"] == "repo@sha256:12"
    assert "MY_TOKEN" in known["variables"]
    file = attempt / "environment.json"
    assert "s3cret-value" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_first_process_of_an_attempt_speaks_for_all_and_no_helper_does(
    attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    runbus.init().finish()
    assert read_environment(str(attempt)) == {}

    monkeypatch.delenv("RANK")
    runbus.init().finish()
    before = (attempt / "environment.json").read_bytes()
    monkeypatch.setenv("ANOTHER", "1")
    runbus.init().finish()
    assert (attempt / "environment.json").read_bytes() == before


@pytest.mark.parametrize("harm", ["gone", "link", "full of it"])
def test_training_goes_on_where_it_cannot_be_noted_or_read(harm: str, attempt: Path) -> None:
    file = attempt / "environment.json"
    if harm == "gone":
        attempt.rmdir()
    elif harm == "link":
        file.symlink_to("/dev/zero")
    else:
        file.write_text("[" * 100_000)

    with runbus.init() as run:
        run.log("loss", 1.0)

    assert read_environment(str(attempt)) == {}
