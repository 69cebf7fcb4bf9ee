"""A home in which files are damaged, of another kind, or another user's: all else works."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import runbus
from runbus._files import add_check
from runbus._home import Home
from runbus.catalog import UNREADABLE, survey
from runbus.cli._app import run_command
from runbus.errors import FileUnreadable, RunNotFound
from runbus.events import JobEnded, JobIntended, JobStarted
from runbus.jobs import JobStore
from runbus.metrics import RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable


def edited(**fields: object) -> Callable[[Path], object]:
    """Return what writes other fields into a record, with a checksum that fits."""

    def edit(path: Path) -> object:
        record = json.loads(path.read_text()) | fields
        del record["crc32"]
        return path.write_bytes(add_check(json.dumps(record).encode()))

    return edit


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def replace(path: Path) -> object:
        path.rename(path.with_name("moved"))
        return make(path)

    return replace


HARMS: dict[str, Callable[[Path], object]] = {
    "it is empty": lambda path: path.write_bytes(b""),
    "it has no checksum": lambda path: path.write_bytes(b'{"id": "x"}'),
    "it is not valid UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + os.urandom(4000)),
    "it is damaged or was changed": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"p"', b'"q"')
    ),
    "it is not JSON that can be read": lambda path: path.write_bytes(
        add_check(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    ),
    "it describes the run 'other'": edited(id="other"),
    "its version is 99": edited(version=99),
    "it does not describe a run": edited(config=[1]),
    "it was created at": edited(created_ns=1 << 80),
    "67,108,864 are the most": lambda path: os.truncate(path, 1 << 40),
    "it is a pipe": replaced(os.mkfifo),
    "it is a directory": replaced(Path.mkdir),
    "it is a symbolic link": replaced(lambda path: path.symlink_to("moved")),
}
COMMANDS = [
    ["ls"],
    ["ls", "--json"],
    ["query", "SELECT * FROM runs"],
    ["query", "SELECT count(*) FROM metrics"],
    ["seal", "--all"],
    ["doctor"],
    ["show", "latest"],
]


def make_home() -> tuple[Path, str]:
    """Make a run that will be harmed and one that will not; return the first's folder."""
    with runbus.init(project="p", name="harmed") as harmed:
        harmed.log("loss", 1.0)
    with runbus.init(project="p", name="whole") as whole:
        whole.log("loss", 2.0)
    return Path(harmed.folder), whole.id


@pytest.mark.parametrize("reason", HARMS)
def test_a_run_whose_record_is_wrong_is_one_row_that_says_so(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, whole = make_home()
    HARMS[reason](folder / "run.json")

    rows = {row.id: row for row in survey()}
    assert rows[folder.name].state == UNREADABLE
    assert reason in rows[folder.name].problem
    assert str(folder / "run.json") in rows[folder.name].problem
    assert rows[whole].state == "SUCCEEDED"
    assert [run.id for run in runbus.runs()] == [whole]
    with pytest.raises(FileUnreadable, match=r"run\.json: it"):
        runbus.open_run(folder.name)
    assert list(runbus.open_run(whole).metrics("loss").values) == [2.0]
    for words in COMMANDS:
        assert run_command(words) in (0, 1), words
        captured = capsys.readouterr()
        assert "defect" not in captured.err
        assert "Traceback" not in captured.err
    assert run_command(["doctor"]) == 1
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize("what", ["random", "pipe", "link", "folder", "sparse", "denied"])
@pytest.mark.parametrize("file", ["metrics", "records", "events"])
def test_a_journal_that_is_none_stops_nobody(
    what: str, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home()
    folder, whole = make_home()
    experiment_id, experiment = home.new_experiment("jobs")
    with runbus.init(project="p", name="tagged") as run:
        run.tag("good")
    path = {
        "metrics": next((folder / "metrics").iterdir()),
        "records": next(Path(run.folder, "records").iterdir()),
        "events": Path(experiment, "events.journal"),
    }[file]
    if file == "events":
        run_id = f"{experiment_id}-1"
        RunInfo.new(run_id, "j", "jobs", {}, "j").write(make_run(experiment, run_id))
        about: Any = {
            "experiment_id": experiment_id,
            "job": "j",
            "run_id": run_id,
            "attempt": 1,
        }
        store = JobStore(experiment)
        store.record(JobIntended(**about, executor="local", folder="f", time_ns=1))
        store.close()
    path.rename(path.with_name("moved"))
    match what:
        case "random":
            path.write_bytes(os.urandom(5000))
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to("moved")
        case "folder":
            path.mkdir()
        case "sparse":
            path.touch()
            os.truncate(path, 1 << 40)
        case "denied":
            path.write_bytes(b"")
            path.chmod(0)

    for words in [*COMMANDS, ["status"]]:
        assert run_command(words) in (0, 1), words
        captured = capsys.readouterr()
        assert "defect" not in captured.err
        assert "Traceback" not in captured.err
    assert {row.id: row.state for row in survey()}[whole] == "SUCCEEDED"
    if file != "events" and what not in ("sparse", "denied"):
        run_command(["doctor"])
        assert f"{path}: not a " in capsys.readouterr().out


def make_run(experiment: str, run_id: str) -> str:
    folder = os.path.join(experiment, "runs", run_id)
    os.mkdir(folder)
    return folder


@pytest.mark.parametrize("level", ["run", "runs", "experiment", "project"])
def test_a_folder_that_may_not_be_read_is_told_with_the_reason(
    level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as home:
        monkeypatch.setenv("RUNBUS_HOME", home)
        check_denied(level, Path(home), capsys)


def check_denied(level: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init(project="q", name="whole") as whole:
        pass
    folder, _ = make_home()
    closed = {
        "run": folder,
        "runs": folder.parent,
        "experiment": folder.parent.parent,
        "project": folder.parent.parent.parent,
    }[level]
    words_of_readers = [words for words in COMMANDS if words[0] != "seal"]
    for words in words_of_readers:
        run_command(words)  # so that all modules are loaded, which the other user may not read
    # Anybody may read all of it, but for this.
    for path in [home, *home.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    closed.chmod(0)
    before = os.geteuid()
    if not before:
        os.seteuid(65534)
    try:
        rows = survey()
        with pytest.raises(FileUnreadable, match="permission denied"):
            runbus.open_run(folder.name)
        with pytest.raises(RunNotFound):
            runbus.open_run("no-such-run")
        codes = {words[0]: run_command(words) for words in words_of_readers}
    finally:
        os.seteuid(before)
        closed.chmod(0o755)

    assert [row.state for row in rows if row.id == whole.id] == ["SUCCEEDED"]
    assert any("permission denied" in row.problem for row in rows)
    assert codes == {"ls": 0, "query": 0, "doctor": 1, "show": 0}
    assert "defect" not in capsys.readouterr().err


def test_no_bit_of_a_runs_record_is_flipped_silently() -> None:
    with runbus.init(project="p", name="n", config={"lr": 0.1}) as run:
        pass
    path = Path(run.folder, "run.json")
    whole, info = path.read_bytes(), RunInfo.read(run.folder)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert RunInfo.read(run.folder) == info
        except FileUnreadable:
            continue


def test_a_job_that_has_ended_is_told_beside_a_damaged_one(home: Path) -> None:
    where = Home()
    for name in ("a", "b"):
        experiment_id, experiment = where.new_experiment("jobs")
        run_id = f"{experiment_id}-1"
        RunInfo.new(run_id, name, "jobs", {}, name).write(make_run(experiment, run_id))
        about: Any = {
            "experiment_id": experiment_id,
            "job": name,
            "run_id": run_id,
            "attempt": 1,
        }
        store = JobStore(experiment)
        store.record(JobIntended(**about, executor="local", folder="f", time_ns=1))
        store.record(JobStarted(**about, host="h", pid=1, time_ns=2))
        rest: dict[str, Any] = {"state": "SUCCEEDED", "exit_code": 0, "signal": None, "reason": ""}
        store.record(JobEnded(**about, **rest, duration_s=1.0, time_ns=3))
        store.close()
    Path(experiment, "events.journal").write_bytes(os.urandom(4096))

    states = {row.name or row.id: row.state for row in survey()}

    assert states == {"a": "SUCCEEDED", run_id: UNREADABLE}


@pytest.mark.parametrize("linked", ["run", "runs", "metrics"])
def test_no_link_in_the_place_of_a_folder_leads_out_of_an_experiment(
    linked: str, tmp_path: Path
) -> None:
    folder, whole = make_home()
    path = {"run": folder, "runs": folder.parent, "metrics": folder / "metrics"}[linked]
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")

    rows = {row.folder: row for row in survey()}
    (harmed,) = [row for row in rows.values() if row.problem]
    assert "symbolic link" in harmed.problem
    assert [row.state for row in rows.values() if row.id == whole] == ["SUCCEEDED"]
