"""Batches whose jobs wait for each other, by the commands that a person types."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbus import Command, Dependency, Job
from runbus.errors import UsageError
from runbus.experiment import ExperimentDraft
from runbus.testing._waiting import wait_until

from .test_batch import RUNBUS, command, status


def sh(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **fields}


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., str]:
    def write(*jobs: dict[str, Any], **settings: Any) -> str:
        path = tmp_path / "batch.json"
        path.write_text(json.dumps({"project": "graph", "jobs": jobs, **settings}))
        return str(path)

    return write


def states() -> dict[str, str]:
    return {job["name"]: job["state"] for job in status()}


def test_a_graph_runs_in_its_order_and_skips_what_cannot_follow(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    log = tmp_path / "order"
    note = f'echo "$0" >> {log}'.replace("$0", "{}")
    path = batch(
        sh("report", note.format("report"), depends_on=["train", "eval"]),
        sh("rescue", note.format("rescue"), depends_on=[{"job": "eval", "when": "afternotok"}]),
        sh("clean", note.format("clean"), depends_on=[{"job": "report", "when": "afterany"}]),
        sh("eval", f"{note.format('eval')}; exit 3", depends_on=["train"]),
        sh("train", note.format("train")),
        max_parallel=4,
    )
    done = command("submit", path)

    assert done.returncode == 1, done.stderr
    order = log.read_text().split()
    assert order[:2] == ["train", "eval"]
    assert sorted(order[2:]) == ["clean", "rescue"]
    assert states() == {
        "report": "SKIPPED", "rescue": "SUCCEEDED", "clean": "SUCCEEDED", "eval": "FAILED",
        "train": "SUCCEEDED",
    }  # fmt: skip
    why = "it needs job 'eval' to succeed, and that ended as FAILED"
    assert why in command("why", "report").stdout
    assert why in command("status").stdout

    # What failed and what was skipped for it, and nothing else.
    again = command("retry", "latest")
    assert again.returncode == 1
    assert states() == {"report": "SKIPPED", "eval": "FAILED"}


def test_a_job_that_only_a_failure_needs_fails_nothing(batch: Callable[..., str]) -> None:
    path = batch(
        sh("work", "true"),
        sh("rescue", "true", depends_on=[{"job": "work", "when": "afternotok"}]),
    )
    assert command("submit", path).returncode == 0
    assert states() == {"work": "SUCCEEDED", "rescue": "SKIPPED"}
    assert "nothing to retry" in command("retry", "latest").stderr


def test_the_first_failure_ends_a_batch_that_fails_fast(batch: Callable[..., str]) -> None:
    path = batch(
        sh("bad", "exit 1"), sh("long", "exec sleep 600"), sh("next", "true", depends_on=["long"]),
        fail_fast=True, max_parallel=4,
    )  # fmt: skip
    assert command("submit", path).returncode == 1
    assert states() == {"bad": "FAILED", "long": "CANCELLED", "next": "CANCELLED"}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"depends_on": ["b"]}, "jobs[0].depends_on[0]: jobs wait in a circle: a → b → a"),
        ({"depends_on": ["bb"]}, "there is no job 'bb'; did you mean 'b'"),
        ({"depends_on": [{"job": "b", "when": "later"}]}, "when"),
        ({"depends_on": [{"jobs": "b"}]}, "depends_on"),
        ({"depends_on": "b"}, "list"),
    ],
)
def test_what_cannot_be_waited_for_is_refused_with_its_place(
    batch: Callable[..., str], fields: dict[str, Any], told: str
) -> None:
    done = command("submit", batch(sh("a", "true", **fields), sh("b", "true", depends_on=["a"])))
    assert done.returncode == 2
    assert told in done.stderr


def test_the_graph_goes_on_where_a_killed_leader_left_it(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    path = batch(
        sh("first", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"),
        sh("then", f"echo once >> {tmp_path}/then", depends_on=["first"]),
    )
    leader = subprocess.Popen([RUNBUS, "submit", path], stderr=subprocess.DEVNULL)
    wait_until(lambda: states().get("first") == "RUNNING" if has_batch() else False)
    leader.send_signal(signal.SIGKILL)
    leader.wait()
    (tmp_path / "go").touch()

    assert command("attach", "latest").returncode == 0
    assert states() == {"first": "SUCCEEDED", "then": "SUCCEEDED"}
    assert (tmp_path / "then").read_text() == "once\n"


def has_batch() -> bool:
    return command("status", "--json").returncode == 0


def test_a_graph_in_python_is_made_of_jobs_names_and_conditions() -> None:
    a = Job(name="a", task=Command(("true",)))
    jobs = [
        a,
        Job(name="b", task=a.task, depends_on=[a]),
        Job(name="c", task=a.task, depends_on=["a", Dependency(job="b", when="afterany")]),
    ]
    stored = ExperimentDraft("graph", jobs).prepare()
    assert [[(one.job, one.when) for one in spec.depends_on] for spec in stored.specs] == [
        [], [("a", "afterok")], [("a", "afterok"), ("b", "afterany")]
    ]  # fmt: skip
    with pytest.raises(UsageError, match="job 'b': there is no job 'a'"):
        ExperimentDraft("graph", jobs[1:2])


def test_what_failed_runs_again_alone_and_each_failure_is_told_at_the_end(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    path = batch(
        sh("a", f"test -e {tmp_path}/mended || {{ echo no data >&2; exit 3; }}"),
        sh("b", "exit 1"),
        sh("after", "true", depends_on=["a"]),
        sh("both", "true", depends_on=["a", "later"]),
        sh("later", "true"),
        fail_fast=True,
        max_parallel=1,
    )
    done = command("submit", path)
    assert done.returncode == 1
    *_, told = done.stderr.partition("job 'a' FAILED: exit code 3\n    | no data\n    /")
    assert told.splitlines()[0].endswith("jobs/1-a/1/stderr.log")
    assert states() == {
        "a": "FAILED", "b": "CANCELLED", "after": "SKIPPED", "both": "SKIPPED",
        "later": "CANCELLED",
    }  # fmt: skip

    (tmp_path / "mended").touch()
    again = command("retry", "--failed", "latest")
    assert again.returncode == 0, again.stderr
    # The one that waits for what was cancelled, too, would not have what it needs.
    assert states() == {"a": "SUCCEEDED", "after": "SUCCEEDED"}
    assert "no job of it has failed" in command("retry", "--failed", "latest").stderr


def test_a_group_starts_fails_and_ends_together_and_runs_again_as_a_whole(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    # Each waits for the other: they end only if they run at the same time.
    meets = f"touch {tmp_path}/$0; until test -e {tmp_path}/$1; do sleep 0.02; done"
    good = [
        {"name": name, "group": "good", "command": ["sh", "-c", meets, name, other]}
        for name, other in (("a", "b"), ("b", "a"))
    ]
    bad = [sh("x", "exec sleep 600", group="bad"), sh("y", "exit 3", group="bad")]
    path = batch(
        sh("after", "true", depends_on=["good"]),
        sh("never", "true", depends_on=[{"job": "bad", "when": "afterok"}]),
        *good, *bad, max_parallel=2,
    )  # fmt: skip
    assert command("submit", path).returncode == 1
    ended = {"a": "SUCCEEDED", "b": "SUCCEEDED", "after": "SUCCEEDED"}
    failed = {"x": "CANCELLED", "y": "FAILED", "never": "SKIPPED"}
    assert states() == ended | failed
    assert "job 'y' of its group ended as FAILED" in command("status").stdout
    assert command("retry", "latest").returncode == 1
    assert states() == failed


@pytest.mark.parametrize(
    ("jobs", "told"),
    [
        ([sh("a", "true", group="g", retries=1)], "jobs[0].retries: the jobs of a group end"),
        ([sh("a", "true", group="b"), sh("b", "true")], "jobs[0].group: 'b' is the name of a job"),
        ([sh("a", "true", group="g"), sh("b", "true", group="g", depends_on=["a"])],
         "jobs[1].depends_on[0]: the jobs of group 'g' start together"),
        ([sh(name, "true", group="g") for name in "abc"], "group 'g' has 3 jobs that start"),
    ],
    ids=["retries", "name", "each other", "too many"],
)  # fmt: skip
def test_a_group_that_cannot_be_is_refused(
    batch: Callable[..., str], jobs: list[dict[str, Any]], told: str
) -> None:
    done = command("submit", batch(*jobs, max_parallel=2), "--dry-run")
    assert done.returncode == 2
    assert told in done.stderr
