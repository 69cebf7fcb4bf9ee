"""Sweeps at a shell: kinds, starting one again, the best of one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.settled import index_when_settled

import runbus
from runbus import Command, Script, api, sweep
from runbus.catalog import Sweep, batches, best, runs, survey
from runbus.cli._app import run_command
from runbus.config import Grid
from runbus.errors import FieldInvalid

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")

TRAIN = """\
import runbus, sys
values = dict(word[2:].split("=") for word in sys.argv[1:])
if float(values["lr"]) > 9:
    sys.exit(3)
with runbus.init() as run:
    run.log({"loss": 1.0}, step=0)
    run.log({"loss": float(values["lr"])}, step=1)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _submit(folder: Path, sweep: str, *words: str, job: str = "command: ['true']") -> int:
    path = folder / "batch.yaml"
    path.write_text(f"project: p\njobs:\n  - {{name: s, {job}, sweep: {sweep}}}\n")
    return run_command(["submit", str(path), *words])


def test_a_sweep_that_is_started_again_runs_what_is_missing_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = ["run", "train.py", "--sweep", "lr=0.5,10", "--best", "min:loss"]
    assert run_command(sweep) == 1
    first = capsys.readouterr()
    assert run_command(sweep) == 1
    again = capsys.readouterr()

    (asked, retried) = batches("train")
    assert (asked.jobs, retried.jobs) == (2, 1)
    assert "have run already" not in first.err
    assert "1 of 2 points have run already: --again runs them once more" in again.err
    told = f"best: train-lr=0.5 ({asked.id}-1), loss 0.5 at step 1"
    assert told in first.out
    assert told in again.out


def test_a_sweep_that_has_run_runs_once_more_if_asked_to(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _submit(folder, "{grid: {a: [1, 2]}}") == 0
    assert _submit(folder, "{grid: {a: [1, 2]}}") == 0
    assert [one.jobs for one in batches("p")] == [2]
    capfd.readouterr()
    assert _submit(folder, "{grid: {a: [1, 2]}}", "--json") == 0
    described = json.loads(capfd.readouterr().out)
    assert [(one["name"], one["state"]) for one in described] == [
        ("s-a=1", "SUCCEEDED"),
        ("s-a=2", "SUCCEEDED"),
    ]
    assert _submit(folder, "{grid: {a: [1, 2]}}", "--again") == 0
    assert [one.jobs for one in batches("p")] == [2, 2]


def test_a_changed_space_is_refused_with_the_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _submit(folder, "{random: {a: {int: [1, 9]}}, points: 2, seed: 1}") == 0
    capsys.readouterr()
    assert _submit(folder, "{random: {a: {int: [1, 9]}}, points: 2, seed: 2}") == 2

    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("error: the sweep 's' was another one in ")
    assert told[1:] == [
        "~ seed: 1 → 2",
        "hint: give it another name, or run all of its points again with --again",
    ]
    assert len(batches("p")) == 1


def test_a_sweep_whose_leader_was_killed_continues_where_it_was(folder: Path) -> None:
    job = "command: [sh, -c, 'echo $1 >> ran; [ $1 != --a=1 ] || { echo > on; read x < go; }', sh]"
    path = folder / "batch.yaml"
    sweep = "{grid: {a: [1, 2]}}"
    path.write_text(f"project: p\nmax_parallel: 1\njobs:\n  - {{name: s, {job}, sweep: {sweep}}}\n")
    os.mkfifo(folder / "on")
    os.mkfifo(folder / "go")
    words = [RUNBUS, "submit", str(path)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as leader:
        (folder / "on").read_text()  # once the first job writes there
        leader.send_signal(signal.SIGKILL)

    told = "has points of the sweep that are not over: it continues"
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as second:
        assert second.stderr is not None
        assert any(told in line for line in second.stderr)
        (folder / "go").write_text("on\n")
        second.communicate(timeout=120)

    assert second.returncode == 0
    assert (folder / "ran").read_text() == "--a=1\n--a=2\n"
    assert len(batches("p")) == 1


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--sweep", "lr=1,2", "--sweep", "n=3,4", "--zip"], [(1, 3), (2, 4)]),
        (["--sweep", "@points.csv"], [(0.5, 3)]),
        (["--sweep", "lr=uniform(1,2)", "--sweep", "n=5", "--points", "2", "--seed", "3"], None),
    ],
    ids=["zip", "file", "random"],
)
@pytest.mark.parametrize("what", ["train.py", "tasks.py:train"])
def test_every_kind_of_sweep_runs_scripts_and_functions(
    folder: Path, words: list[str], config: list[tuple[float, int]] | None, what: str
) -> None:
    (folder / "points.csv").write_text("lr,n\n0.5,3\n")
    (folder / "tasks.py").write_text("def train(lr: float, n: int = 0) -> None: ...\n")

    assert run_command(["run", what, "--project", "p", *words]) == 0

    found = [(run.config["lr"], run.config["n"]) for run in runbus.runs("p")]
    if config is None:
        assert len({*found}) == 2
        assert all(1 <= lr <= 2 and n == 5 for lr, n in found)
    else:
        assert found == config


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sweep", "lr=log_uniform(0,1)", "--points", "3"], "the logarithm of 0 does not exist"),
        (["--sweep", "lr=uniform(0,1)"], "add --points 20"),
        (["--sweep", "lr=1,2", "--sweep", "n=1", "--zip"], "n: 1 values, but lr has 2"),
        (["--sweep", "n=int(1,9)", "--points", "1000000000"], "1,000,000,000 points"),
        (["--sweep", "@none.csv"], "none.csv: no such file"),
        (["--points", "3"], "nothing is swept"),
        (["--best", "loss"], "it says neither min nor max of a metric"),
    ],
    ids=["log", "points", "zip", "billion", "file", "nothing", "best"],
)
def test_a_wrong_sweep_is_refused_before_anything_is_made(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "train.py", *words]) == 2

    assert told in capsys.readouterr().err
    assert not batches()


def test_run_in_python_returns_the_runs_of_all_points_and_runs_the_missing_ones() -> None:
    runs = api.run_sweep(Script("train.py"), sweeps=Grid({"lr": [10, 0.5]}), project="p")
    again = api.run_sweep(Script("train.py"), sweeps=Grid({"lr": [10, 0.5]}), project="p")

    assert [run.name for run in again] == ["train-lr=10", "train-lr=0.5"]
    assert (runs[1].id, len(batches("p"))) == (again[1].id, 2)
    assert runs[0].id != again[0].id
    found = best(again, "max:loss")
    assert found is not None
    assert (found.run.id, found.value, found.step) == (runs[1].id, 1.0, 0)
    with pytest.raises(FieldInvalid, match="no run has logged 'los'") as caught:
        best(again, "min:los")
    assert caught.value.hint == "they have loss"
    assert best([api.run(Command(("true",)))], "min:loss") is None


ENDLESS = """\
import runbus, signal, sys
with runbus.init() as run:
    for step in range(10):
        run.log({"loss": float(sys.argv[1][5:])}, step=step)
    signal.pause()
"""


def test_a_rule_ends_a_job_early_and_that_is_no_failure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "endless.py").write_text(ENDLESS)
    sweep = ["run", "endless.py", "--sweep", "lr=1,4", "--stop-when", "loss > 3 after 5"]
    sweep += ["--patience", "min:loss for 9", "--max-parallel", "2"]
    assert run_command(sweep) == 0
    told = capsys.readouterr().out

    assert "stopped early: loss was best with 1 at step 0, and this is step 9" in told
    assert "stopped early: loss is 4 > 3 at step 5" in told
    (batch,) = batches("endless")
    assert batch.states == {"CANCELLED": 2}
    # What patience looks at says what is best.
    assert _listed()[1] == ["endless", "endless", "SUCCEEDED", "2/2", "loss 1, lr=1"]
    assert run_command(sweep) == 0
    assert len(batches("endless")) == 1
    assert run_command(["retry", batch.id]) == 2


def test_a_rule_that_is_none_is_refused_with_a_hint_everywhere(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", "train.py", "--stop-when", "loss"]) == 2
    assert "hint: write a metric and a bound" in capsys.readouterr().err
    assert _submit(folder, "{trials: 1}", job="command: ['true'], patience: loss") == 2
    assert "jobs[0].patience: the text has an invalid form; write the best of a metric" in (
        capsys.readouterr().err
    )


def test_a_sweep_is_cancelled_as_one_and_other_jobs_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "batch.yaml"
    os.mkfifo(folder / "go")
    path.write_text(
        "project: p\nmax_parallel: 2\njobs:\n"
        "  - {name: other, command: [cat, go]}\n"
        "  - {name: s, command: [sleep, '600'], sweep: {trials: 3}}\n"
    )
    words = [os.path.join(os.path.dirname(sys.executable), "runbus"), "submit", str(path)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as leader:
        with (folder / "go").open("w"):  # until the other job reads it, and so has begun
            assert run_command(["cancel", "s", "--grace", "1"]) == 0
        assert leader.wait(120) == 1

    (batch,) = batches("p")
    assert batch.states == {"SUCCEEDED": 1, "CANCELLED": 3}
    assert "3 jobs cancelled; 3 of 3 done" in capsys.readouterr().out


def _screen(*words: str) -> str:
    """Return what a terminal shows of a list, with the same ids and times each time."""
    status, screen, _ = watch([RUNBUS, "ls", *words], 80, 24)
    assert status == 0
    screen = re.sub(r"^[0-9a-z]{6}(?=[ -])", "abcdef", screen, flags=re.MULTILINE)
    return re.sub(r"\d\d-\d\d \d\d:\d\d", "01-01 12:00", screen)


def _listed(*words: str) -> list[list[str]]:
    """Return the cells of what a terminal shows of a list, without ids and times."""
    lines = re.sub("  (created|01-01 12:00)", "", _screen(*words)).splitlines()
    return [re.split(" {2,}", line.strip())[1:] for line in lines]


def test_a_sweep_is_one_row_of_a_list_with_how_many_of_its_points_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runbus.init("other", "before").finish()
    sweep = ["run", "train.py", "--sweep", "lr=0.5,0.25,10", "--project", "p"]
    assert run_command(sweep) == 1
    # The points that succeeded are not run again, and count.
    assert run_command(sweep) == 1

    head, before, first, again = _listed()

    assert head == ["name", "project", "state", "done"]
    assert before == ["before", "other", "SUCCEEDED"]
    assert first == ["train", "p", "FAILED", "3/3, 1 failed"]
    assert again == ["train", "p", "FAILED", "3/3, 1 failed"]
    assert [row[0] for row in _listed("--all")[1:]] == [
        *("before", "train-lr=0.5", "train-lr=0.25", "train-lr=10", "train-lr=10")
    ]
    check_golden("ls-sweep-80x24", _screen())
    check_golden("ls-sweep-all-80x24", _screen("--all"))
    assert len(_listed("-n", "1")) == 2
    assert len(_listed("-n", "3")) == 4
    assert len(_listed("--where", "state=FAILED")) == 3
    capsys.readouterr()
    assert run_command(["ls", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 5


def test_the_row_of_a_sweep_is_the_same_from_the_index(home: Path) -> None:
    assert run_command(["run", "train.py", "--sweep", "lr=0.5,10"]) == 1
    before = _listed()
    assert index_when_settled(home) == 1

    assert _listed() == before
    assert survey()[0].sweep == Sweep(batches()[0].folder, 0, "train", 2, 0, "")


def test_where_a_sweep_is_shown_its_best_point_is_if_somebody_says_what_is_best(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "train.py", "--project", "p", "--sweep"]
    assert run_command([*words, "lr=0.5,0.25,2"]) == 0
    assert _listed() == [["name", "project", "state", "done"], ["train", "p", "SUCCEEDED", "3/3"]]
    # Points of the earlier experiment count.
    assert run_command([*words, "lr=0.5,0.25,2,3", "--best", "min:loss"]) == 0

    header, _, row = before = _listed()
    assert header == ["name", "project", "state", "done", "best"]
    assert row == ["train", "p", "SUCCEEDED", "4/4", "loss 0.25, lr=0.25"]
    check_golden("ls-best-80x24", _screen())
    assert index_when_settled(home) == 2
    assert _listed() == before

    capsys.readouterr()
    assert run_command(["status"]) == 0
    (first, _) = batches("p")
    told = f"best of train: loss 0.25, lr=0.25 ({first.id}-2)\n"
    assert capsys.readouterr().out.endswith(told)

    # It is called as the run's metric is.
    assert run_command(["rename", f"{first.id}-2", "--metric", "loss=error"]) == 0
    assert _listed()[-1][-1] == "error 0.25, lr=0.25"
    assert run_command(["status"]) == 0
    assert capsys.readouterr().out.endswith(told.replace("loss", "error"))
    assert run_command([*words, "lr=0.5,0.25,2,3", "--best", "min:loss"]) == 0
    assert "), error 0.25 at step " in capsys.readouterr().out
    assert run_command(["rename", f"{first.id}-2", "--hide", "loss"]) == 0
    assert _listed()[-1][-1] == "loss 0.25, lr=0.25"


def test_of_a_large_sweep_each_list_reads_some_points_until_the_best_is_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbus.cli._run_table._READ", 2)
    monkeypatch.setattr("runbus.catalog._measured._WORTH", 1)
    points = "lr=0.5,0.25,2,3,4"
    assert run_command(["run", "train.py", "--sweep", points, "--best", "min:loss"]) == 0

    capsys.readouterr()

    left = set()
    while True:  # the index takes no file that has just changed
        assert run_command(["ls"]) == 0
        out, err = capsys.readouterr()
        if "loss 0.25, lr=0.25" in out:
            break
        assert "best" not in out
        told = re.match(r"(\d) points of sweeps are not compared yet", err)
        assert told is not None
        left.add(told[1])
    assert "3" in left <= {"1", "2", "3"}


def test_a_sweep_in_python_says_what_is_best() -> None:
    points = sweep(Script("train.py"), ["lr=0.5,0.25"], best="max:loss")
    assert {job.point and job.point.goal for job in points} == {"max:loss"}
    experiment = runbus.Experiment("p")
    experiment.add(points)
    experiment.run()
    assert _listed()[1][-1] == "loss 1, lr=0.5"
    with pytest.raises(FieldInvalid, match="it says neither min nor max"):
        sweep(Script("train.py"), ["lr=1"], best="loss")


@pytest.mark.parametrize(
    "words",
    [
        ["--sweep", "lr=1,2", "--sweep", "opt=sgd,adam"],
        ["--sweep", "lr=1,2", "--sweep", "opt=sgd,adam", "--zip"],
        ["--sweep", "lr=uniform(1,2)", "--sweep", "opt=choice(sgd,adam)", "--points", "3"],
        ["--sweep", "lr=uniform(1,2)", "--sweep", "opt=sgd,adam", "--points", "3"],
        ["--sweep", "lr=1", "--sweep", "opt=[a"],
    ],
)
@pytest.mark.parametrize("what", ["train.py", "fit.py:fit"])
def test_texts_are_swept_as_numbers_are(what: str, words: list[str], folder: Path) -> None:
    (folder / "fit.py").write_text("def fit(lr: float, opt): assert isinstance(opt, str)")

    assert run_command(["run", what, *words, "--project", "texts"]) == 0

    found = runs("texts")
    assert len(found) == {"--zip": 2, "3": 3, "opt=[a": 1}.get(words[-1], 4)
    assert {run.params["opt"] for run in found} <= {"sgd", "adam", "[a"}
    # Begun again, they are known by what is on record.
    assert run_command(["run", what, *words, "--project", "texts"]) == 0
    assert len(runs("texts")) == len(found)
