"""Every file of a home, harmed in every way, for every command that reads: it answers, and soon."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import runbus
from runbus.cli._app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = """
import sys, runbus
print("out")
print("err", file=sys.stderr)
with runbus.init() as run:
    for step in range(3):
        run.log({"loss": 0.5, "acc": 1.0}, step=step)
    run.tag("good")
    run.log_text("long", "x" * 100_000)
"""

OF_JOBS = {
    "request": "jobs/{job}/1/request",
    "stdout.log": "jobs/{job}/1/stdout.log",
    "stderr.log": "jobs/{job}/1/stderr.log",
    "pid.json": "jobs/{job}/1/pid.json",
    "exit.json": "jobs/{job}/1/exit.json",
    "run.json": "runs/{run}/run.json",
    "metrics.cursor": "runs/{run}/metrics.cursor",
    "records.cursor": "runs/{run}/records.cursor",
    "metrics journal": "runs/{run}/metrics/*.journal",
    "records journal": "runs/{run}/records/*.journal",
    "artifact": "runs/{run}/artifacts/*/long.txt",
    "segment": "runs/{run}/metrics/*.parquet",
}
"""Files of one job each: all are harmed at once, each of another job, and one job is left alone."""

OF_ALL = {
    "experiment.json": ["experiment.json"],
    "events.journal": ["events.journal"],
    "what lies beside": ["trace.jsonl", "leader", "leader.lock", "../../../newest"],
}
"""Files that all jobs of an experiment go by: some at a time are harmed."""


def _denied(path: Path) -> None:
    path.chmod(0)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return what moves a file aside and makes something else in its place."""

    def replace(path: Path) -> object:
        path.rename(path.with_name("moved"))
        return make(path)

    return replace


HARMS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(os.urandom(5000)),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "brackets": lambda path: path.write_bytes(b'{"a":' + b"[" * 200_000),
    "sparse": _sparse,
    "truncated": _truncated,
    "denied": _denied,
    "gone": Path.unlink,
    "pipe": _replaced(os.mkfifo),
    "socket": _replaced(_socket),
    "folder": _replaced(Path.mkdir),
    "device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "link within": _replaced(lambda path: path.symlink_to("moved")),
    "link without": _replaced(lambda path: path.symlink_to("/etc/passwd")),
}

GLOBAL = [
    ["ls"],
    ["status"],
    ["query", "SELECT id, state FROM runs"],
    ["query", "SELECT run, count(*), max(value) FROM metrics GROUP BY run"],
    ["seal", "--all"],
    ["doctor"],
]
OF_RUN = ["show", "why", "logs", "metrics", "artifacts"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of one experiment with a job for each file to harm, and one more; one is sealed."""
    folder = tmp_path_factory.mktemp("whole")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNBUS_HOME", str(folder / "home"))
        # A job that takes more than a second would have a second journal: that of its machine.
        patch.setenv("RUNBUS_SYSTEM", "0")
        patch.chdir(folder)  # no git writes there while it is copied
        numbers = ",".join(map(str, range(len(OF_JOBS) + 1)))
        words = ["run", str(script), "--sweep", f"x={numbers}", "--max-parallel", "20"]
        assert run_command(words) == 0
        runbus.runs()[list(OF_JOBS).index("segment")].seal()
    return folder / "home"


@pytest.fixture
def experiment(whole: Path, home: Path) -> Path:
    """Return the folder of the experiment in a home of this test's own."""
    shutil.copytree(whole, home, symlinks=True)
    (folder,) = home.glob("experiments/train/*")
    return folder


def place(experiment: Path, pattern: str, number: int = 0) -> Path:
    (job,) = (folder.name for folder in experiment.glob(f"jobs/{number + 1}-*"))
    run = f"{experiment.name}-{number + 1}"
    (path,) = experiment.glob(pattern.format(job=glob_free(job), run=run))
    return path


def glob_free(name: str) -> str:
    return name.replace("[", "[[]")


def check(words: list[str], capsysbinary: pytest.CaptureFixture[bytes]) -> bytes:
    """Run a command that must answer, well or with an error of ours; return what it printed."""
    code = run_command(words)
    printed = capsysbinary.readouterr()
    assert code in (0, 1), (words, printed.err)
    assert b"defect" not in printed.err, (words, printed.err)
    assert b"Traceback" not in printed.err, (words, printed.err)
    assert len(printed.out) < 10_000_000, words
    return printed.out


@pytest.mark.parametrize("harm", HARMS)
def test_files_of_a_job_that_are_harmed_hide_no_other(
    harm: str, experiment: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for number, pattern in enumerate(OF_JOBS.values()):
        HARMS[harm](place(experiment, pattern, number))

    for words in GLOBAL:
        check(words, capsysbinary)
    for number in range(len(OF_JOBS) + 1):
        run = f"{experiment.name}-{number + 1}"
        for command in OF_RUN:
            check([command, run], capsysbinary)
        check(["plot", run, "loss"], capsysbinary)
    rows = {row["id"]: row for row in json.loads(check(["ls", "--json"], capsysbinary))}
    # Without a record it is no run, but one that is just being made.
    assert len(rows) == len(OF_JOBS) + (harm != "gone")
    states = {row["state"] for row in rows.values()}
    assert states <= {"SUCCEEDED", "UNREADABLE", "LOST", "RUNNING", "FAILED"}
    left_alone = f"{experiment.name}-{len(OF_JOBS) + 1}"
    assert rows[left_alone]["state"] == "SUCCEEDED"
    assert runbus.open_run(left_alone).metrics("loss").values.tolist() == [0.5] * 3


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("files", OF_ALL)
def test_files_of_an_experiment_that_are_harmed_leave_other_experiments_alone(
    files: str, harm: str, experiment: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with runbus.init(project="other") as other:
        other.log("loss", 0.25)
    for path in OF_ALL[files]:
        HARMS[harm](experiment / path)

    run = f"{experiment.name}-1"
    for words in [["ls"], ["status"], ["seal", "--all"], *([one, run] for one in OF_RUN)]:
        check(words, capsysbinary)
    rows = {row["id"]: row for row in json.loads(check(["ls", "--json"], capsysbinary))}
    assert rows[other.id]["state"] == "SUCCEEDED"
    assert runbus.open_run(other.id).metrics("loss").values.tolist() == [0.25]
