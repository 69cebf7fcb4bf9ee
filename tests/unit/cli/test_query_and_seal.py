"""`runbus query` and `runbus seal`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import runbus
from runbus.cli._app import run_command


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


def test_a_question_that_makes_no_sense_is_a_usage_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(["query", "SELECT nonsense FROM runs"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_seal_prints_the_files_it_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["seal", "lr-0.1"]) == 0
    (path,) = capsys.readouterr().out.split()
    assert path.endswith(".0.parquet")
    assert Path(path).exists()
    assert run_command(["seal", "lr-0.1"]) == 0
    assert capsys.readouterr().out == ""
