"""The programs that the package carries, as files in the home folder."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runbus import __version__
from runbus.attempt import (
    WRAPPER,
    carried_program,
    carried_sampler,
    program_digest,
    sampler_program,
    wrapper_program,
    wrapper_words,
)
from runbus.attempt._program import program_names

GIVE = [
    pytest.param(wrapper_program, id="wrapper"),
    pytest.param(sampler_program, id="sampler"),
    pytest.param(carried_program, id="carried wrapper"),
    pytest.param(carried_sampler, id="carried sampler"),
]
Give = Callable[[Path], object]


@pytest.mark.parametrize("carried", [carried_program, carried_sampler])
def test_a_carried_program_says_what_it_is_and_where(carried, tmp_path: Path) -> None:
    program = carried(tmp_path)

    digest = hashlib.sha256(Path(program.path).read_bytes()).hexdigest()
    assert program.path == str(tmp_path / "bin" / digest)
    assert program.sha256 == digest
    assert program.machine == platform.machine()
    assert program.version == __version__


def test_the_wrapper_is_the_program_where_it_runs(tmp_path: Path) -> None:
    program = carried_program(tmp_path)

    assert program is not None
    assert program.sha256 == program_digest()
    assert wrapper_words(tmp_path) == (program.path,)
    said = subprocess.run([program.path, "version"], capture_output=True, check=True, timeout=120)
    assert said.stdout.decode() == f"{__version__}\n"


def test_the_sampler_is_the_one_that_is_sent_elsewhere(tmp_path: Path) -> None:
    sampler = carried_sampler(tmp_path)

    assert sampler is not None
    assert sampler_program(tmp_path) == sampler_program(tmp_path) == sampler.path
    assert sampler.sha256 != program_digest()


def test_a_home_keeps_nothing_but_the_programs_for_its_owner_alone(tmp_path: Path) -> None:
    wrapper_program(tmp_path)
    sampler_program(tmp_path)

    assert {*os.listdir(tmp_path / "bin")} == program_names()
    assert (tmp_path / "bin").stat().st_mode & 0o777 == 0o700
    # In a container it may be somebody else who runs it.
    assert {one.stat().st_mode & 0o777 for one in (tmp_path / "bin").iterdir()} == {0o755}


def test_the_script_is_used_where_asked_and_no_program_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBUS_WRAPPER", "script")

    assert wrapper_words(tmp_path) == ("/bin/sh", WRAPPER)
    assert wrapper_program(tmp_path) is None
    assert carried_program(tmp_path) is None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("give", GIVE)
def test_a_program_for_which_there_is_no_room_is_not_given_and_leaves_nothing(
    give: Give, tmp_path: Path
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert give(tmp_path) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert os.listdir(tmp_path / "bin") == []


def test_a_program_is_written_in_its_own_folder_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another file system it could not be moved there at once."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))

    assert carried_program(tmp_path / "home") is not None


def test_a_program_with_more_behind_it_is_written_anew(tmp_path: Path) -> None:
    program = carried_program(tmp_path)
    assert program is not None
    whole = Path(program.path).read_bytes()
    Path(program.path).write_bytes(whole + b"x")

    assert carried_program(tmp_path) == program
    assert Path(program.path).read_bytes() == whole


def test_a_program_that_may_not_be_executed_is_not_tried_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = carried_program(tmp_path)
    assert program is not None
    Path(program.path).chmod(0o644)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    assert wrapper_words(tmp_path) == ("/bin/sh", WRAPPER)
    assert waits == []
