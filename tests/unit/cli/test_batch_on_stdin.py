"""A batch that a pipe brings: `runbus submit -`, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.catalog import runs

YAML = b"""\
project: piped
jobs:
  - {name: where, command: [sh, -c, 'pwd; cat']}
"""
# A number that is none in YAML, which would take it for a text.
JSON = json.dumps(
    {
        "project": "piped",
        "jobs": [{"name": "where", "command": ["sh", "-c", "pwd; cat"], "config": {"lr": 1e-5}}],
    },
    indent="\t",
).encode()


def piped(cwd: Path, data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "runbus", *words, "-"]
    return subprocess.run(command, cwd=cwd, input=data, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("data", "params"),
    [(YAML, {}), (JSON, {"lr": 1e-5}), (b"\n " + JSON, {"lr": 1e-5})],
    ids=["yaml", "json", "spaces"],
)
def test_jobs_of_a_piped_batch_start_in_the_folder_of_the_command_and_inherit_no_pipe(
    data: bytes, params: dict[str, float], tmp_path: Path
) -> None:
    done = piped(tmp_path, data, "submit")

    assert done.returncode == 0, done.stderr
    (run,) = runs("piped")
    assert run.params == params
    assert run.job_folder is not None
    assert Path(run.job_folder, "stdout.log").read_bytes() == os.fsencode(tmp_path) + b"\n"


def test_a_piped_batch_is_planned_and_can_be_handed_over(tmp_path: Path) -> None:
    planned = piped(tmp_path, YAML, "plan")
    assert planned.returncode == 0, planned.stderr
    assert b"where" in planned.stdout
    assert runs("piped") == []

    assert piped(tmp_path, YAML, "submit", "--detach").returncode == 0
    attached = subprocess.run(
        [sys.executable, "-m", "runbus", "attach"], cwd=tmp_path, capture_output=True, check=False
    )
    assert attached.returncode == 0, attached.stderr


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"project: [", "<stdin>:1: "),
        (b'{"project": "p",\n]', "<stdin>:2: "),
        (YAML.replace(b"name", b"nam"), "<stdin>:3: jobs[0].nam: unknown key 'nam'; did you mean"),
        (b"", "<stdin>:1: a batch is a mapping"),
        (b"\xff", "<stdin>: it is not UTF-8 at byte 0"),
        (b" " * ((8 << 20) + 1), "<stdin>: it has more than 8,388,608 bytes"),
    ],
)
def test_a_wrong_one_is_refused_with_the_places(data: bytes, told: str, tmp_path: Path) -> None:
    done = piped(tmp_path, data, "submit")

    error = done.stderr.decode()
    assert done.returncode == 2, error
    assert error.startswith("error: <stdin> is refused, nothing was submitted\n")
    assert f"\n{told}" in error
    assert "Traceback" not in error


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "runbus", "submit", "-"]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, check=False)

    assert done.returncode == 2
    assert b"error: <stdin> is refused, nothing was submitted\n" in done.stderr
