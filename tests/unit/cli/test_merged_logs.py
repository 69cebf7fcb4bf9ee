"""`runbus logs EXP`: the logs of all jobs as one, each line after the name of its job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runbus import Experiment
from runbus.catalog import find_experiment, job_statuses

from .terminal import check_golden, watch

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
SECOND = 10**9


@pytest.fixture
def batch(tmp_path: Path, home: Path) -> str:
    """Return the id of a batch that is over: of what its jobs wrote, marks tell when."""
    jobs = [
        {"name": "train", "command": ["printf", "1\\n2\\n5\\nno end"]},
        {"name": "evaluate\x1b[2J", "command": ["sh", "-c", "printf '3\\n4\\n'; echo bad >&2"]},
    ]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"project": "both", "jobs": jobs}))
    subprocess.run([RUNBUS, "submit", str(path)], capture_output=True, check=True, timeout=120)
    folder = find_experiment("both")
    train, evaluate = (Path(one.folder) for one in job_statuses(folder))
    marks = [b"%019d %016d %016d\n" % (at * SECOND, out, 0) for at, out in [(1, 2), (2, 4)]]
    (train / "cursor").write_bytes(b"".join(marks))
    for attempt, at in (train, 4), (evaluate, 3):
        for log in attempt.glob("*.log"):
            os.utime(log, (at, at))
    return Path(folder).name


def logs(*words: str, status: int = 0) -> tuple[str, str]:
    made = subprocess.run([RUNBUS, "logs", *words], capture_output=True, timeout=120, check=False)
    assert made.returncode == status, made.stderr
    return made.stdout.decode(), made.stderr.decode()


def test_lines_come_in_the_order_in_which_they_were_written_each_after_its_job(batch: str) -> None:
    out, err = logs(batch)

    assert [line.split("|")[1].strip() for line in out.splitlines()] == [*"12345", "no end"]
    assert out.splitlines()[0] == "train           | 1"
    assert out.splitlines()[2] == r"evaluate\x1b[2J | 3"
    assert err == "evaluate\\x1b[2J | bad\n"
    assert logs("both", "--stderr")[0] == "evaluate\\x1b[2J | bad\n"
    assert logs("both", "-f")[0] == out


def test_what_was_written_before_a_time_is_left_out(batch: str) -> None:
    out, _ = logs(batch, "--since", "1970-01-01T00:00:02+00:00", "-f")

    assert [line.split("|")[1].strip() for line in out.splitlines()] == [*"345", "no end"]


def test_an_attempt_is_that_of_one_job(batch: str) -> None:
    assert "--attempt is of one job" in logs(batch, "--attempt", "1", status=2)[1]
    assert "did you mean 'both'" in logs("bothh", status=1)[1]
    assert logs("train")[0] == logs("both", "train", "--attempt", "1")[0] == "1\n2\n5\nno end"
    assert logs(batch, "train")[0] == logs("latest", "train")[0] == logs("train")[0]
    assert "no job" in logs(batch, "trian", status=1)[1]
    assert "did you mean 'train'" in logs(batch, "trian", status=1)[1]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_is_shown_names_in_colors_and_nothing_moves_its_cursor(
    batch: str, columns: int
) -> None:
    train = job_statuses(find_experiment(batch))[0].folder
    Path(train, "stdout.log").write_bytes(b"1\n\x1b[2J2\n5\r\n")
    os.utime(Path(train, "stdout.log"), (4, 4))
    status, screen, raw = watch([RUNBUS, "logs", batch], columns, 24)

    assert status == 0
    assert b"\x1b[36mtrain\x1b[0m" in raw
    assert b"\x1b[2J" not in raw
    check_golden(f"logs-{columns}x24", screen)


def test_all_attempts_are_shown_and_what_each_has_written_is_told_apart(
    tmp_path: Path, home: Path
) -> None:
    script = "echo $RUNBUS_ATTEMPT | sed 's|.*/||'; printf begun; exit 3"
    jobs = [
        {"name": "again", "command": ["sh", "-c", script], "retries": 1, "backoff": 0.01},
        {"name": "once", "command": ["sh", "-c", "echo once; echo bad >&2"]},
    ]
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"project": "tried", "jobs": jobs}))
    subprocess.run([RUNBUS, "submit", str(path)], capture_output=True, check=False, timeout=120)

    both = subprocess.run(
        [RUNBUS, "logs", "tried"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        check=True, text=True,
    )  # fmt: skip

    of_again = [line for line in both.stdout.splitlines() if line.startswith("again")]
    assert of_again == [
        "again | ==> attempt 1 <==", "again | 1", "again | begun",
        "again | ==> attempt 2 <==", "again | 2", "again | begun",
    ]  # fmt: skip
    assert "once  | bad" in both.stdout.splitlines()
    assert "==>" not in logs("tried")[0]
    one_by_one = ("1\nbegun2\nbegun", "==> attempt 1 <==\n\n==> attempt 2 <==\n")
    assert logs("tried", "again") == one_by_one
    marked = "==> attempt 1 <==\n1\nbegun\n==> attempt 2 <==\n2\nbegun\n"
    found = Experiment.from_title("tried", home=home)
    assert (found.logs("again"), found.logs("once")) == (marked, "once\nbad\n")
    assert [found.logs("again", attempt=number) for number in (1, 3)] == ["1\nbegun", ""]
