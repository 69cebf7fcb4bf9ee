"""What is said of runs, and asked of them, after they were logged."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job
from runbus.catalog import batches, open_run, remove_run, runs
from runbus.cli._app import run_command
from runbus.errors import HomeUnusable, RunBusy, RunNotFound
from runbus.experiment import ExperimentDraft


@pytest.fixture
def three() -> list[str]:
    """Return the ids of three runs that are over, of two projects."""
    ids = []
    for name, lr, loss, project in (
        ("a", 0.1, 3.0, "p"),
        ("b", 0.01, 1.0, "p"),
        ("c", 1, 2.0, "q"),
    ):
        with runbus.init(project=project, name=name, config={"lr": lr}) as run:
            run.log({"loss": loss + 1}, step=0)
            run.log({"loss": loss}, step=1)
            ids.append(run.id)
    return ids


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert run_command(list(words)) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 and captured.out else captured.err


def names(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    return [run["name"] for run in json.loads(said(capsys, "ls", "--json", *words))]


def test_a_run_that_is_over_is_tagged_noted_and_renamed_and_stays_over(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "tag", "a", "best", "kept")
    said(capsys, "tag", "a", "kept", "--remove")
    said(capsys, "note", "a", "looks", "good")
    said(capsys, "rename", "a", "winner")

    run = open_run("winner")
    assert (run.id, run.state, run.tags) == (three[0], "SUCCEEDED", ["best"])
    assert [note.text for note in run.notes] == ["looks good"]
    assert names(capsys, "--tag", "best") == ["winner"]
    with pytest.raises(RunNotFound):
        open_run("a")


def test_the_same_in_python_also_while_the_run_is_logged() -> None:
    with runbus.init(name="live") as logging:
        run = open_run("live")
        run.tag("seen")
        run.note("early")
        assert run.state == "RUNNING"
        logging.tag("own")
    assert set(open_run("live").tags) == {"seen", "own"}
    assert open_run("live").state == "SUCCEEDED"
    with pytest.raises(ValueError, match="name"):
        run.rename("")


def test_a_wrong_name_is_told_and_changes_nothing(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "error: " in said(capsys, "rename", "a", "", status=2)
    assert "error: " in said(capsys, "tag", "a", "", status=2)
    assert open_run("a").tags == []


def test_what_was_said_and_could_not_be_kept_is_told(three: list[str]) -> None:
    run = open_run("a")
    os.mkdir(os.path.join(run.folder, "away"))
    os.rename(run.folder, f"{run.folder}-gone")

    with pytest.raises(HomeUnusable):
        run.tag("x")


def test_a_run_is_removed_with_its_folder_and_its_last_job_takes_the_batch_along(
    three: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = open_run("a").experiment_folder
    assert said(capsys, "rm", "a", "--yes") == f"{three[0]}\n"
    assert not os.path.exists(folder)

    path = tmp_path / "b.json"
    jobs = [{"name": name, "command": ["true"]} for name in ("x", "y")]
    path.write_text(json.dumps({"project": "jobs", "jobs": jobs}))
    said(capsys, "submit", str(path))
    batch = open_run("x").experiment_folder
    said(capsys, "rm", "-y", "x")
    assert [run.name for run in runs("jobs")] == ["y"]
    assert os.path.exists(batch)
    said(capsys, "rm", "-y", "y")
    assert not os.path.exists(batch)


def test_a_run_that_is_not_over_is_not_removed() -> None:
    with runbus.init(name="live"):
        with pytest.raises(RunBusy):
            remove_run(open_run("live"))
        assert open_run("live").state == "RUNNING"


def test_rm_asks_before_it_removes_for_good_and_where_nobody_can_answer_it_refuses(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runbus_ = os.path.join(os.path.dirname(sys.executable), "runbus")
    refused = subprocess.run(
        [runbus_, "rm", "--purge", "a"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert open_run("a").id == three[0]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--where", "lr>=0.1"], ["a", "c"]),
        (["--where", "lr>=0.1", "--where", "project=p"], ["a"]),
        (["--where", "loss<2.5"], ["b", "c"]),
        (["--where", "state!=SUCCEEDED"], []),
        (["--where", "name~A"], ["a"]),
        (["--sort", "loss"], ["b", "c", "a"]),
        (["--sort", "-lr", "-n", "2"], ["c", "a"]),
        (["-n", "1"], ["c"]),
    ],
)
def test_runs_are_chosen_and_ordered_by_fields_params_and_metrics(
    words: list[str], found: list[str], three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(capsys, *words) == found


def test_columns_are_those_that_were_asked_for(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "ls", "--columns", "name,lr,loss", "--sort", "loss").splitlines()

    assert [line.split() for line in lines] == [
        ["name", "lr", "loss"], ["b", "0.01", "1"], ["c", "1", "2"], ["a", "0.1", "3"],
    ]  # fmt: skip


@pytest.mark.parametrize("words", [["--where", "los<1"], ["--sort", "los"], ["--columns", "los"]])
def test_a_name_that_no_run_has_is_an_error_with_what_is_near(
    words: list[str], three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean 'loss'" in said(capsys, "ls", *words, status=2)


@pytest.mark.parametrize(
    "condition",
    ["name='b'", 'name = "b"', "name=='b' and lr='0.01'", "name~'b'", "name!='a' and name!=\"c\""],
)
def test_a_text_may_be_in_quotes(
    condition: str, three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(capsys, "ls", "--columns", "name", "--where", condition).splitlines()

    assert [line.strip() for line in lines] == ["name", "b"]


def test_what_is_no_condition_and_what_finds_nothing_are_told(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, advice in {
        "loss": "write lr>=0.01",
        "lr<": "write a value, as in lr<0.01",
        "loss:min >=": "write a value, as in loss:min>=0.01",
        "lr<<3": "write a value, as in lr<0.01",
        "lr<0.3 and": "another one is missing at its end",
        "name=x or": "another one is missing at its end",
    }.items():
        told = said(capsys, "ls", "--where", wrong, status=2)
        assert f"{wrong!r} is no condition: {advice}" in told
    assert "only joined by and" in said(capsys, "ls", "--where", "lr>9 or lr<1", status=2)
    assert said(capsys, "ls", "--where", "lr>9") == "no run with lr>9\n"
    assert said(capsys, "ls", "--tag", "x") == "no run with the tag x\n"
    assert "no run of project 'qq'; did you mean the project 'q'" in said(
        capsys, "ls", "--project", "qq"
    )


def test_points_and_answers_come_as_csv_with_every_digit(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with runbus.init(name='n,"ame') as run:
        run.log({'lo,"ss': 1 / 3}, step=7)

    (point,) = csv.DictReader(io.StringIO(said(capsys, "metrics", "latest", "--csv")))
    assert (point["metric"], point["step"], float(point["value"])) == ('lo,"ss', "7", 1 / 3)
    assert int(point["time_ns"]) > 10**18
    answer = said(
        capsys, "query", "--csv", "SELECT name, NULL AS n FROM runs ORDER BY created DESC"
    )
    assert list(csv.reader(io.StringIO(answer)))[:2] == [["name", "n"], ['n,"ame', ""]]


def test_batches_are_listed_with_where_their_jobs_stand(
    three: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()

    (batch,) = batches()
    assert (batch.id, batch.jobs, batch.states) == (stored.id, 1, {"PENDING": 1})
    _, line = said(capsys, "ls", "--batches").splitlines()
    assert line.split()[:2] == [stored.id, "p"]
    assert "0 of 1 done · 1 waiting" in line
    (listed,) = json.loads(said(capsys, "ls", "--batches", "--json"))
    assert listed["states"] == {"PENDING": 1}
    assert "no batches of project 'x'" in said(capsys, "ls", "--batches", "--project", "x")
