"""What people type at first, and what they are answered with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import runbus
from runbus import api
from runbus.cli._app import run_command
from runbus.config import load_batch
from runbus.errors import BatchInvalid, FieldInvalid, near_matches


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a script `train.py`, in the folder of that script."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("pass\n")
    for name in ("baseline", "train-k3x9qd"):
        with runbus.init(project="digits", name=name) as run:
            run.log({"loss": 1.0}, step=0)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("show lates", "hint: did you mean 'latest'"),
        ("show train", "hint: did you mean 'train-k3x9qd'"),
        ("run trian.py", "hint: did you mean 'train.py'"),
        ("plot loss", "runbus plot latest loss"),
        ("plot loss baseline", "runbus plot baseline loss"),
        ("plot latest", "train-k3x9qd has loss"),
        ("ls --failed", "hint: write --where state=FAILED"),
        ("stop x", "hint: did you mean 'cancel'"),
        ("delete x", "hint: did you mean 'rm'"),
        ("list", "hint: did you mean 'ls'"),
        ("run train.py --timeout 5m", "a batch file says it: timeout: 5m, for runbus submit"),
        ("run train.py --gpus 1", "a batch file says it: gpus: 1"),
        ("run train.py --retries 1", "a batch file says it: retries: 1"),
        ("run train.py --detach", "runbus submit BATCH --detach"),
        ("run train.py --sweep lr=1 --sweep lr=2,1", "write all its values at once, lr=1,2"),
        ("query select 1", "put it in quotes"),
        ("completion", "missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish\n"),
        ("why", "missing argument 'RUN|EVENT'"),
    ],
)
def test_a_first_try_is_answered_with_what_works(
    words: str, answer: str, digits: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(words.split()) != 0
    assert answer in capsys.readouterr().err


def test_a_state_may_be_written_small(digits: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ls", "--where", "state=succeeded", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"args": "--lr '0 1'"}, 'jobs[0].args: expected list, got str: write ["--lr", "0 1"]'),
        ({"timeout": "500ms"}, "'500ms' is no whole number of seconds: write 1s, 90s or 5m"),
    ],
)
def test_a_batch_is_answered_with_what_to_write(
    fields: dict[str, str], answer: str, digits: None, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    job = {"name": "a", "script": "train.py", **fields}
    path.write_text(json.dumps({"project": "p", "jobs": [job]}))

    with pytest.raises(BatchInvalid) as caught:
        load_batch(str(path))
    assert answer in str(caught.value)


def test_half_a_second_is_a_backoff(digits: None, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    job = {"name": "a", "script": "train.py", "backoff": "500ms"}
    path.write_text(json.dumps({"project": "p", "jobs": [job]}))

    assert load_batch(str(path)).jobs[0].retry.backoff_s == 0.5


def test_a_batch_is_named_by_a_text() -> None:
    with pytest.raises(FieldInvalid, match="batch is None"):
        api.status(None)  # type: ignore[arg-type]


def test_what_begins_so_is_near() -> None:
    names = ["train-k3x9qd", "trains", "other"]
    assert near_matches("train", names) == ("trains", "train-k3x9qd")
    assert near_matches("tr", ["train-k3x9qd"]) == ()


def test_any_program_is_run_as_a_job_and_the_package_is_a_program(tmp_path: Path) -> None:
    words = ("run", "--json", "--", "sh", "-c", "echo ran >out; exit 3")
    ran = subprocess.run(
        (sys.executable, "-m", "runbus", *words),
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert ran.returncode == 1
    assert json.loads(ran.stdout)[0]["exit_code"] == 3
    assert (tmp_path / "out").read_text() == "ran\n"
