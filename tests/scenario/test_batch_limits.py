"""Batches whose jobs have time-outs, reasons to be tried again, and code to take along."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbus.executors._gpus import GpuPool
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


def status() -> list[dict[str, Any]]:
    done = command("status", "--json")
    assert done.returncode == 0, done.stderr
    jobs: list[dict[str, Any]] = json.loads(done.stdout)
    return jobs


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., str]:
    def write(*jobs: dict[str, Any], **settings: Any) -> str:
        folder = tmp_path / "tree"
        folder.mkdir(exist_ok=True)
        path = folder / "batch.json"
        path.write_text(json.dumps({"project": "batch", "jobs": jobs, **settings}))
        return str(path)

    return write


def job(name: str, script: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **settings}


def test_a_silent_job_times_out_and_one_that_writes_does_not(batch: Callable[..., str]) -> None:
    # It writes for longer than it may be silent; where the machine stalls for as long, the next
    # one has more time.
    for idle_s in (2, 6, 20):
        path = batch(
            job("silent", "echo up; exec sleep 600", idle_timeout=1),
            job("talks", f"for i in $(seq 11); do echo $i; sleep {idle_s / 10}; done",
                idle_timeout=idle_s),
        )  # fmt: skip
        assert command("submit", path).returncode == 1
        silent, talks = status()
        assert (silent["state"], silent["reason"]) == (
            "TIMEOUT",
            "it wrote nothing for 1 s, its idle timeout",
        )
        if talks["state"] != "TIMEOUT":
            break
    assert talks["state"] == "SUCCEEDED"


def test_a_job_whose_gpu_others_have_times_out_in_its_queue(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    gpu = f"test-{os.getpid()}-{tmp_path.name}"  # other runs of the tests have folders of that name
    path = batch(
        job("waits", "echo ran", gpus=1, queue_timeout=1),
        executor={"type": "local", "gpus": [gpu]},
    )

    pool = GpuPool([gpu])
    holder = str(tmp_path / "attempt")
    os.mkdir(holder)
    # The files are one folder's for all: another test may look at them right now.
    assert wait_until(lambda: pool.try_lease(1, holder)) == [gpu]
    try:
        assert command("submit", path).returncode == 1
    finally:
        pool.give_back(holder)

    (waits,) = status()
    assert (waits["state"], waits["reason"], waits["started"]) == (
        "TIMEOUT",
        "it had not started after 1 s, its queue timeout",
        None,
    )


def test_time_outs_of_the_executor_are_for_jobs_that_say_nothing_else(
    batch: Callable[..., str],
) -> None:
    path = batch(
        job("says", "sleep 1.5", timeout=60),
        job("silent", "exec sleep 600"),
        executor={"type": "local", "timeout": 1},
    )

    command("submit", path)

    assert [one["state"] for one in status()] == ["SUCCEEDED", "TIMEOUT"]


def test_only_the_causes_that_were_named_get_another_attempt(batch: Callable[..., str]) -> None:
    again = {"retries": 1, "backoff": 0.01}
    path = batch(
        job("code", "exit 75", retry_on=[75], **again),
        job("other code", "exit 4", retry_on=[75], **again),
        job("killed", "kill -9 $$", retry_on=["signal"], **again),
        job("slow", "exec sleep 600", timeout=1, retry_on=["exit", "signal"], **again),
        job("any", "exit 4", **again),
    )

    command("submit", path)

    assert [one["attempt"] for one in status()] == [2, 1, 2, 1, 2]


def test_a_cause_that_is_none_is_refused_with_its_place(batch: Callable[..., str]) -> None:
    path = batch(job("a", "true", retries=1, retry_on=["crash"]))

    done = command("submit", path)

    assert done.returncode == 2
    assert "jobs[0].retry_on" in done.stderr


def test_a_batch_that_asks_for_too_much_is_refused_whole(
    batch: Callable[..., str], home: Path
) -> None:
    path = batch(
        job("fine", "true"),
        job("greedy", "true", gpus=3),
        executor={"type": "local", "gpus": ["0"]},
    )

    done = command("submit", path)

    assert done.returncode == 2
    assert "'greedy' asks for 3 GPUs (there are 1), which executor 'default'" in done.stderr
    assert not (home / "experiments").exists()


PACKAGER = {"type": "pattern", "include": ["*.sh", "data"]}


def test_code_that_is_packaged_runs_as_it_was_submitted(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    tree = tmp_path / "tree"
    path = batch(
        {"name": "one", "command": ["sh", str(tree / "main.sh")]},
        {"name": "two", "command": ["sh", "main.sh"]},
        executor={"type": "local", "packager": PACKAGER},
    )
    (tree / "main.sh").write_text("cat data; rm data; pwd\n")
    (tree / "data").write_text("as it was\n")

    assert command("submit", path).returncode == 0

    for one in status():
        text = Path(one["log"]).read_text()
        assert text.startswith("as it was\n")
        assert text.endswith("/1/code\n")
    assert (tree / "data").read_text() == "as it was\n"
    (experiment,) = (home / "experiments" / "batch").iterdir()
    (manifest,) = (experiment / "code").glob("*.json")
    files = [file["path"] for file in json.loads(manifest.read_bytes())["files"]]
    assert files == ["data", "main.sh"]
    journal = (experiment / "events.journal").read_bytes()
    assert f"code/{manifest.stem}.tar.gz".encode() in journal
    assert "\ncode 2 files, " in re.sub(" +", " ", command("show", "one").stdout)


def test_code_that_cannot_be_packaged_leaves_nothing_behind(
    batch: Callable[..., str], home: Path
) -> None:
    path = batch(
        job("a", "true"), executor={"type": "local", "packager": {**PACKAGER, "include": ["x"]}}
    )

    done = command("submit", path)

    assert done.returncode == 2
    assert "matches x" in done.stderr
    assert not (home / "experiments").exists()


def test_a_dry_run_shows_what_each_executor_would_be_sent(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    tree = tmp_path / "tree"
    path = batch(
        {"name": "near", "command": ["true"], "executor": "local"},
        {"name": "far", "command": ["sh", str(tree / "main.sh")], "executor": "box"},
        executors={
            "box": {"type": "ssh", "hosts": ["h"], "job_dir": "/there", "packager": PACKAGER}
        },
    )
    (tree / "main.sh").write_text("true\n")

    done = command("submit", path, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "# code for box: 1 file, 5 B\n#   main.sh  5 B\n" in done.stdout
    assert "tar -xzf /there/packages/PACKAGE.tar.gz -C /there/" in done.stdout
    assert "/1/code/main.sh" in done.stdout
    assert not home.exists()
