"""The command line where a standard stream is closed or full, and in locales that are not UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.cli._app import COMMANDS

ARGUMENTS = {
    "run": ["no.py"], "submit": ["no.yaml"], "plot": ["loss"], "query": ["select 1"],
    "replay": ["no.jsonl"], "why": ["nothing"], "logs": ["no"], "metrics": ["no"],
    "show": ["no"], "artifacts": ["no"], "attach": ["no"], "cancel": ["no"], "retry": ["no"],
}  # fmt: skip

EACH = """
import json, os, sys
from runbus.cli.__main__ import main

lines, closed, told = json.loads(sys.argv[1])
statuses = {}
for line in lines:
    for number in closed:
        os.close(number)
    sys.argv = ["runbus", *line]
    try:
        main()
    except SystemExit as end:
        statuses[line[0]] = end.code
    # The next file that is opened must not be what is printed to. What is printed after the result
    # goes to standard error.
    for number in closed:
        places = ["/dev/null", "/dev/null" if number == 2 else "/proc/self/fd/2"]
        if not any(os.path.samefile(f"/proc/self/fd/{number}", place) for place in places):
            statuses[line[0]] = "not open"
with open(told, "w") as file:
    json.dump(statuses, file)
"""


@pytest.mark.parametrize("closed", [[0, 1], [2]], ids=["stdout", "stderr"])
def test_every_command_works_with_closed_streams(tmp_path: Path, closed: list[int]) -> None:
    lines = [[name, *ARGUMENTS.get(name, [])] for name in COMMANDS]
    told = tmp_path / "told"
    subprocess.run(
        [sys.executable, "-c", EACH, json.dumps([lines, closed, str(told)])],
        env=os.environ | {"RUNBUS_HOME": str(tmp_path / "home")},
        cwd=tmp_path, capture_output=True, timeout=180, check=False,
    )  # fmt: skip

    statuses = json.loads(told.read_text())
    assert statuses.keys() == COMMANDS.keys()
    assert set(statuses.values()) <= {0, 1, 2}, statuses


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("words", "where", "status"),
    [(["nothing"], "stderr", 2), (["executors"], "stdout", 1), (["executors"], "stderr", 0)],
)
def test_a_status_is_told_where_nothing_can_be_printed(
    unbuffered: str, words: list[str], where: str, status: int
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words],
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, where: full},  # type: ignore[call-overload]
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, timeout=120, check=False,
        )  # fmt: skip

    assert done.returncode == status
    said = b"error: no space left on device\n" if where == "stdout" else None
    assert done.stderr == said


BATCH = """
project: p\u00e9
jobs: [{name: \u00e9, command: [printf, "%s", "\u00e9"], env: {X: "\u2603"}}]
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["ls", "--help"], ["executors"], ["executors", "--json"]], ids=" ".join
)
def test_a_reader_that_went_away_is_told_from_a_failure(tmp_path: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        ended = subprocess.run(
            [sys.executable, "-m", "runbus.cli", *words],
            env={**os.environ, "RUNBUS_HOME": str(tmp_path)},
            stdout=unread,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_names_are_utf8_whatever_the_locale_is(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(BATCH, encoding="utf-8")
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    env = os.environ | ascii_only | {"RUNBUS_HOME": str(tmp_path / "home")}
    words = [sys.executable, "-m", "runbus.cli"]

    made = subprocess.run(
        [*words, "submit", tmp_path / "b.yaml"],
        env=env,
        capture_output=True,
        timeout=120,
        check=True,
    )
    logs = subprocess.run(
        [*words, "logs", "\u00e9".encode()], env=env, capture_output=True, timeout=120, check=True
    )

    assert made.stdout.isascii()
    assert logs.stdout == "\u00e9".encode()
    assert (tmp_path / "home/experiments/p\u00e9").is_dir()
