"""`runbus query` and `runbus seal`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus import Command, Job
from runbus.catalog import query
from runbus.cli._app import run_command
from runbus.errors import QueryInvalid, RunUnreadable
from runbus.experiment import ExperimentDraft


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBUS_HOME", str(tmp_path / "home"))
    for rate in (0.1, 0.3):
        with runbus.init(project="p", name=f"lr-{rate}", config={"lr": rate}) as run:
            for step in range(3):
                run.log({"loss": 1 / (step + rate)}, step=step)


def test_a_query_joins_runs_with_their_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    question = """
        SELECT runs.name, runs.config->>'lr' AS lr, max(value) AS worst, count(*) AS points
        FROM metrics JOIN runs ON runs.id = metrics.run
        WHERE metrics.name = 'loss' GROUP BY ALL ORDER BY worst
    """

    assert run_command(["query", question, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "lr-0.3", "lr": "0.3", "worst": 1 / 0.3, "points": 3},
        {"name": "lr-0.1", "lr": "0.1", "worst": 10.0, "points": 3},
    ]
    assert run_command(["query", "SELECT name, state FROM runs", "--project", "q"]) == 0
    assert capsys.readouterr().out.split() == ["name", "state"]


def test_a_query_asks_for_params_and_tags(capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init(project="p", name="tagged", config={"opt": {"name": "sgd"}}) as run:
        run.params(lr=float("nan"), momentum=0.9)
        run.tag("baseline", "v1")
    question = """
        SELECT name, params->>'opt/name' AS opt, params->>'momentum' AS momentum FROM runs
        WHERE list_contains(tags, 'baseline')
    """

    assert run_command(["query", question, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "tagged", "opt": "sgd", "momentum": "0.9"}
    ]
    question = "SELECT tags, {'at': created::DATE} AS day FROM runs WHERE name = 'tagged'"
    assert run_command(["query", question, "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["tags"] == ["baseline", "v1"]
    assert found["day"]["at"].startswith("20")


def test_a_question_that_makes_no_sense_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["query", "SELECT nonsense FROM runs"]) == 2
    assert "nonsense" in capsys.readouterr().err
    for nothing in ("", ";", "/* nothing */"):
        assert run_command(["query", nothing]) == 2
        assert "no statement" in capsys.readouterr().err
    # A variable of the function that asks.
    assert run_command(["query", "SELECT * FROM found"]) == 2
    assert "there is no table 'found'" in capsys.readouterr().err


def test_seal_prints_the_files_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["seal", "lr-0.1"]) == 0
    (path,) = capsys.readouterr().out.split()
    assert path.endswith(".0.parquet")
    assert Path(path).exists()
    assert run_command(["seal", "lr-0.1"]) == 0
    assert capsys.readouterr().out == ""


def test_seal_all_takes_what_is_over_and_names_the_rest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with runbus.init(project="q") as other:
        other.log("x", 1.0)
    with runbus.init(project="p", name="at work") as busy:
        busy.log("x", 1.0)
        assert run_command(["seal", "--all", "--project", "p"]) == 0
        told = capsys.readouterr()
    assert len(told.out.split()) == 2
    assert all(Path(path).exists() and "/p/" in path for path in told.out.split())
    assert told.err == f"run {busy.id} is not over: RUNNING\n"

    assert run_command(["seal", "--all"]) == 0
    told = capsys.readouterr()
    assert (len(told.out.split()), told.err) == (2, "")
    assert run_command(["seal", "--all"]) == 0
    assert capsys.readouterr().out == ""


def test_seal_all_names_a_run_with_something_else_in_the_place_of_its_journal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with runbus.init(project="p") as run:
        run.log("x", 1.0)
    os.remove(run.path)
    os.symlink("/dev/null", run.path)

    assert run_command(["seal", "--all"]) == 1
    told = capsys.readouterr()
    assert len(told.out.split()) == 2
    assert f"{run.path}: not a regular file" in told.err


@pytest.mark.parametrize("words", [[], ["lr-0.1", "--all"], ["lr-0.1", "--project", "p"]])
def test_seal_wants_to_know_which_runs(words: list[str]) -> None:
    assert run_command(["seal", *words]) == 2


def test_doctor_tells_what_sealing_gives_back(capfd: pytest.CaptureFixture[str]) -> None:
    # The two small runs take a block of the disk each, sealed or not.
    run_command(["doctor", "--json"])
    assert "journals" not in [c["title"] for c in json.loads(capfd.readouterr().out)]
    with runbus.init(project="p") as run:
        run.series("x").extend([0.0] * 10_000)

    run_command(["doctor", "--json"])
    (found,) = [c for c in json.loads(capfd.readouterr().out) if c["title"] == "journals"]
    assert found["is_well"]
    assert found["found"].startswith("those of 1 finished runs take ")
    assert "runbus seal --all" in found["advice"]

    run_command(["seal", "--all"])
    capfd.readouterr()
    run_command(["doctor", "--json"])
    assert "journals" not in [c["title"] for c in json.loads(capfd.readouterr().out)]


def test_a_query_reads_journals_and_segments_alike(capsys: pytest.CaptureFixture[str]) -> None:
    with runbus.init(project="q", name="mixed's", config={}) as run:
        for step in range(1100):
            run.log({"filename": step / 7, 'a "b"': float("nan")}, step=step)
            run.log("value", -0.0, step=step)
    question = """
        SELECT run, name, count(*) AS points, sum(step)::BIGINT AS steps, min(time)::TEXT AS first,
            max(value) AS most, (SELECT count(*) FROM metrics) AS everything
        FROM metrics GROUP BY run, name ORDER BY run, name
    """

    def answer() -> object:
        assert run_command(["query", question, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    journals = answer()
    for sealed in ("lr-0.1", "mixed's", "lr-0.3"):
        run_command(["seal", sealed])
        capsys.readouterr()
        assert answer() == journals
    assert isinstance(journals, list)
    assert [row["name"] for row in journals[2:]] == ['a "b"', "filename", "value"]
    assert journals[3] == journals[2] | {"name": "filename", "most": 1099 / 7}
    assert {row["everything"] for row in journals} == {3306}


def test_a_query_leaves_out_what_is_damaged_as_reading_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_command(["seal", "lr-0.1"])
    segment = Path(capsys.readouterr().out.strip())
    content = bytearray(segment.read_bytes())
    footer = int.from_bytes(content[-8:-4], "little")
    content[-8 - footer - 8] ^= 1  # the last column before the footer is that of the values
    segment.write_bytes(content)

    assert run_command(["query", "SELECT count(*) AS points FROM metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"points": 3}]


def test_a_run_that_is_damaged_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with runbus.init(project="p", name="broken") as run:
        run.log("loss", 1.0)
        run.tag("tagged")
    files = list(Path(run.folder).glob("*/*.journal"))
    for path in files:
        path.write_bytes(b"no journal" + path.read_bytes())

    stored = runbus.open_run(run.id)
    assert stored.state == "LOST"
    assert stored.tags == []
    assert sorted(stored.damage().values()) == sorted([(0, path.stat().st_size)] for path in files)
    assert run_command(["query", "SELECT count(*) AS runs FROM runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"runs": 3}]
    assert run_command(["ls"]) == 0
    assert "broken" in capsys.readouterr().out
    assert run_command(["seal", "--all"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert f"run {run.id} cannot be read: " in err
    assert "not a runbus journal" in err
    with pytest.raises(RunUnreadable, match="not a runbus journal"):
        stored.metrics("loss")
    assert run_command(["metrics", run.id]) == 1
    assert "hint: " in capsys.readouterr().err
    with caplog.at_level("WARNING", "runbus.metrics"):
        assert run_command(["query", "SELECT count(*) AS points FROM metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"points": 6}]
    assert f"{run.id} is left out: " in caplog.text


def test_a_run_whose_config_is_no_unicode_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = os.fsdecode(b"\xe9t\xe9.csv")
    with runbus.init(project="p", name="latin", config={"data": data, "lr": float("nan")}) as run:
        run.params(other=data)

    assert runbus.open_run(run.id).config["data"] == data
    question = "SELECT config->>'data' AS data, params->>'other' AS other FROM runs WHERE name = "
    assert run_command(["query", f"{question} 'latin'", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"data": "?t?.csv", "other": "?t?.csv"}]
    assert run_command(["ls", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)[-1]
    assert (listed["name"], listed["config"]) == ("latin", {"data": "?t?.csv", "lr": None})
    shown = subprocess.run(
        [sys.executable, "-m", "runbus.cli", "show", "latin"],
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert b"data = ?t?.csv" in shown.stdout


def test_columns_of_one_name_are_told_apart_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a, 5 AS b"

    assert run_command(["query", "--json", sql]) == 0

    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4, "b": 5}]


def test_a_query_knows_what_made_a_run() -> None:
    (command, python), *_ = query("SELECT command, python FROM runs")[1]

    assert python == sys.executable
    assert shlex.split(command)[0] == sys.argv[0]


@pytest.mark.parametrize("harm", ["garbage", "gone"])
def test_doctor_names_a_batch_whose_description_is_damaged_or_gone(
    harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = ExperimentDraft("p", [Job(name="a", task=Command(("true",)))]).prepare()
    path = Path(stored.folder, "experiment.json")
    assert run_command(["cancel", stored.id]) == 0
    assert run_command(["doctor"]) == 0
    if harm == "gone":
        path.unlink()
    else:
        path.write_text(harm)
    capsys.readouterr()

    assert run_command(["doctor"]) == 1
    (told,) = [line for line in capsys.readouterr().out.splitlines() if stored.id in line]
    reason = "is missing" if harm == "gone" else ": it has no checksum"
    assert told.endswith(f"{path} {reason}".replace(" :", ":"))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "DROP TABLE runs",
        "COPY runs TO '{there}'",
        "EXPLAIN ANALYZE COPY runs TO '{there}'",
        "explain (analyze) COPY runs TO '{there}'",
        "WITH x AS (FROM runs) INSERT INTO runs FROM x",
        "ATTACH '{there}' AS other",
        "CREATE TABLE mine AS FROM runs",
        "SET threads = 1",
    ],
)
def test_only_questions_are_answered(
    sql: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "out"
    assert run_command(["query", sql.format(there=there)]) == 2
    captured = capsys.readouterr()
    assert "runs are only read here; ask with SELECT" in captured.err
    assert captured.out == ""
    assert not there.exists()


@pytest.mark.parametrize(
    "sql",
    ["FROM runs", "WITH x AS (FROM runs) FROM x", "DESCRIBE runs", "SUMMARIZE runs", "VALUES (1)",
     "EXPLAIN FROM runs", "explain analyze FROM runs", "PIVOT runs ON state USING count(*)"],
)  # fmt: skip
def test_every_kind_of_question_is_answered(sql: str) -> None:
    assert query(sql)


def test_the_tables_are_listed_and_a_wrong_one_is_told_their_names() -> None:
    assert query("show tables;") == (["name"], [("metrics",), ("runs",)])
    with pytest.raises(QueryInvalid, match=r"no table 'foo'; there are runs and metrics$"):
        query("SELECT * FROM foo")


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_is_in_place_of_the_artifacts_keeps_no_run_from_being_sealed_and_doctor_tells(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Path(runbus.open_run("lr-0.1").folder, "artifacts")
    theirs = tmp_path / ".new-theirs"
    theirs.mkdir()
    if what == "file":
        place.write_text("x")
    else:
        place.symlink_to(tmp_path)

    assert run_command(["seal", "--all"]) == 0
    assert theirs.exists()
    assert len(runbus.open_run("lr-0.1").metrics("loss")) == 3
    assert run_command(["doctor"]) == 1
    assert f"{place}: it is not a folder" in capsys.readouterr().out
