"""Batches as a person submits them, and everything dying at the worst moment."""

from __future__ import annotations

import glob
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runbus.attempt._marks import read_marks
from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")


def command(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def status(*words: str) -> list[dict[str, Any]]:
    done = command("status", *words, "--json")
    assert done.returncode == 0, done.stderr
    jobs: list[dict[str, Any]] = json.loads(done.stdout)
    return jobs


def states() -> list[str]:
    return [job["state"] for job in status()]


def has_cursor(home: Path) -> bool:
    # pathlib's glob raises where a folder goes away meanwhile.
    return bool(glob.glob("**/jobs/*/1/cursor", root_dir=home, recursive=True))


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., str]:
    def write(*jobs: dict[str, Any], **settings: Any) -> str:
        path = tmp_path / "batch.json"
        path.write_text(json.dumps({"project": "batch", "jobs": jobs, **settings}))
        return str(path)

    return write


def job(name: str, script: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **settings}


def test_a_batch_runs_to_its_end_and_its_status_tells_how(batch: Callable[..., str]) -> None:
    path = batch(
        job("good", 'test "$A" = "a b"', env={"A": "a b"}),
        job("bad", "exit 7"),
        job("slow", "sleep 600", timeout=1),
    )

    done = command("submit", path)

    assert done.returncode == 1
    good, bad, slow = status()
    assert (good["name"], good["state"], good["exit_code"]) == ("good", "SUCCEEDED", 0)
    assert (bad["state"], bad["exit_code"], bad["reason"]) == ("FAILED", 7, "exit code 7")
    assert (slow["state"], slow["reason"]) == ("TIMEOUT", "it reached its time limit")
    assert good["submitted"] <= good["started"] <= good["ended"]
    assert Path(good["log"]).exists()


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("yaml", "project: p\njobs:\n  - name: a\n    command: [echo, hi]\n"),
        ("toml", 'project = "p"\n[[jobs]]\nname = "a"\ncommand = ["echo", "hi"]\n'),
        ("json", '{"project": "p", "jobs": [{"name": "a", "command": ["echo", "hi"]}]}'),
    ],
)
def test_a_batch_may_be_yaml_toml_or_json(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"batch.{suffix}"
    path.write_text(text)

    assert command("submit", str(path)).returncode == 0
    assert states() == ["SUCCEEDED"]


def test_a_job_is_tried_again_as_often_as_asked(batch: Callable[..., str], tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    flaky = f"echo x >>{counts}; test $(wc -l <{counts}) -ge 3"
    done = command(
        "submit",
        batch(
            job("flaky", flaky, retries=2, backoff=0.01),
            job("hopeless", "exit 4", retries=1, backoff=0.01),
        ),
    )

    flaky_job, hopeless = status()
    assert done.returncode == 1
    assert (flaky_job["state"], flaky_job["attempt"]) == ("SUCCEEDED", 3)
    assert (hopeless["state"], hopeless["attempt"]) == ("FAILED", 2)


WRONG = """\
project: sweep
max_paralel: 2
jobs:
  - name: a
    command: [echo, hi]
    retries: many
  - name: a
    command: [echo, hi]
  - name: b
    script: nowhere.py
"""


def test_a_batch_with_mistakes_is_refused_whole_and_every_mistake_has_its_place(
    tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "batch.yaml"
    path.write_text(WRONG)

    done = command("submit", str(path))

    assert done.returncode == 2
    assert f"{path}:2: max_paralel: unknown key 'max_paralel'; did you mean 'max_parallel'" in (
        done.stderr
    )
    assert f"{path}:6: jobs[0].retries: expected int, got str" in done.stderr
    assert f"{path}:7: jobs[1].name: 'a' is the name of job 1, too" in done.stderr
    assert f"{path}:10: jobs[2].script: cannot run" in done.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.yaml", "a: [", ":1: "),
        ("x.yaml", "", "a batch is a mapping"),
        ("x.yaml", "project: p\n", "the key 'jobs' is missing"),
        ("x.yaml", "project: p\njobs: []\n", "jobs is a list of at least one job"),
        ("x.json", '{"project": "p",}', ":1: "),
        ("x.toml", "project = \n", ":1: "),
        ("x.txt", "", "must end in .yaml, .toml or .json"),
        ("x.yaml", "project: p\njobs:\n  - env: {? [a] : b}\n", ":3: "),
        ("x.yaml", "[" * 20_000, "nested too deeply"),
        ("x.json", "[" * 20_000, "nested too deeply"),
        ("x.toml", "a = " + "[" * 20_000, "nested too deeply"),
        ("x.json", '{"jobs": [{"command": ["a\\u0000b"]}]}', ":1: jobs[0].command[0]: no text"),
        (
            "x.json",
            '{"project":\n"\\ud800"}',
            ":1: project: an unpaired surrogate",
        ),
    ],
)
def test_a_file_that_is_no_batch_is_refused(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text)

    done = command("submit", str(path))

    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_prints_the_requests_and_sends_nothing(
    batch: Callable[..., str], home: Path
) -> None:
    done = command("submit", batch(job("x; rm -rf ~", "echo $HOME")), "--dry-run")

    assert "sh -c 'echo $HOME'\n" in done.stdout
    assert not home.exists()


def test_names_and_values_are_never_read_as_shell(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    name = "x; touch pwned #"
    value = "line\nline 'quoted' \"double\" $(touch pwned) `touch pwned` \\"
    script = 'printf %s "$lower" >value'
    path = batch({"name": name, "command": ["sh", "-c", script], "env": {"lower": value}})

    assert command("submit", path).returncode == 0
    assert (tmp_path / "value").read_text() == value
    assert not list(tmp_path.rglob("pwned"))
    assert status()[0]["name"] == name


def test_a_detached_batch_is_led_by_a_supervisor_that_goes_when_it_is_done(
    batch: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.02; done"

    # It returns although one of the jobs waits for what comes later.
    path = batch(job("waits", waits), job("quick", "true"), max_parallel=2)
    done = command("submit", path, "--detach")

    assert done.returncode == 0, done.stderr
    assert [job["state"] for job in status()] != []
    wait_until(lambda: states() == ["RUNNING", "SUCCEEDED"])
    with subprocess.Popen([RUNBUS, "attach"], stdout=subprocess.PIPE, text=True) as attached:
        go.touch()
        out, _ = attached.communicate(timeout=120)
    assert attached.returncode == 0
    assert out.count("SUCCEEDED") == 2
    wait_until(lambda: not os.listdir(home / "open"))
    wait_until(lambda: not supervisors(home))


def supervisors(home: Path) -> list[int]:
    """Return the supervisors of a home, found by their lease."""
    lock = home / "supervisor.lock"
    done = subprocess.run(["flock", "-n", str(lock), "true"], check=False)
    return [] if done.returncode == 0 else [1]


def test_cancel_ends_one_job_and_leaves_the_others(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.02; done"
    path = batch(job("one", waits, retries=3), job("two", waits), max_parallel=2)
    command("submit", path, "--detach")
    wait_until(lambda: states() == ["RUNNING", "RUNNING"])

    cancelled = command("cancel", "one")
    assert cancelled.returncode == 0
    assert re.fullmatch(r"one \(\S+-1\) is CANCELLED\n", cancelled.stdout)
    assert states() == ["CANCELLED", "RUNNING"]
    go.touch()
    wait_until(lambda: states() == ["CANCELLED", "SUCCEEDED"])


def test_cancel_ends_a_batch_that_nobody_leads(batch: Callable[..., str]) -> None:
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", "sleep 600"), job("b", "sleep 600"), max_parallel=1)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        leader.kill()

    cancelled = command("cancel", "batch")
    assert cancelled.returncode == 0
    assert re.fullmatch(r"\S+: 2 jobs cancelled; 2 of 2 done, 2 cancelled\n", cancelled.stdout)
    assert states() == ["CANCELLED", "CANCELLED"]


def test_a_job_is_cancelled_and_shown_by_the_name_that_its_run_was_given(
    batch: Callable[..., str],
) -> None:
    command("submit", batch(job("one", "sleep 600"), job("two", "sleep 600")), "--detach")
    assert command("rename", "one", "foo").returncode == 0

    cancelled = command("cancel", "foo", "--grace", "0")

    assert (cancelled.returncode, cancelled.stdout[:5]) == (0, "one (")
    (shown,) = json.loads(command("status", "foo", "--json").stdout)
    assert (shown["name"], shown["state"]) == ("one", "CANCELLED")
    command("cancel", "batch", "--grace", "0")


def left_alone(path: str, running: int) -> None:
    """Submit a batch and kill who leads it once so many jobs run."""
    with subprocess.Popen(
        [RUNBUS, "submit", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == running)
        leader.kill()


def test_cancel_of_a_job_that_nobody_leads_leaves_the_others_as_they_are(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    go = tmp_path / "go"
    jobs = [job("a", f"until [ -e {go} ]; do sleep 0.02; done")]
    jobs += [job(name, f"touch {tmp_path}/{name}.ran") for name in "bc"]
    left_alone(batch(*jobs, max_parallel=1), running=1)

    assert command("cancel", "b", "--grace", "1").returncode == 0

    assert states() == ["RUNNING", "CANCELLED", "PENDING"]
    assert not list(tmp_path.glob("*.ran"))
    assert os.listdir(home / "open")
    go.touch()
    command("attach")
    assert states() == ["SUCCEEDED", "CANCELLED", "SUCCEEDED"]
    assert [path.name for path in tmp_path.glob("*.ran")] == ["c.ran"]
    assert not os.listdir(home / "open")


def test_a_cancel_that_is_interrupted_ends_no_other_job(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    up, told, go = tmp_path / "up", tmp_path / "told", tmp_path / "go"
    stays = f"trap 'touch {told}' TERM; touch {up}; until [ -e {go} ]; do sleep 0.02; done"
    left_alone(batch(job("a", "sleep 600"), job("b", stays), max_parallel=2), running=2)
    wait_until(up.exists)

    with subprocess.Popen([RUNBUS, "cancel", "b", "--grace", "50"]) as canceller:
        wait_until(told.exists)
        canceller.send_signal(signal.SIGINT)
        go.touch()

    assert canceller.returncode == 130
    assert states() == ["RUNNING", "CANCELLED"]
    command("cancel", "a", "--grace", "0")


@pytest.mark.parametrize("grace", ["inf", "nan", "1e30"])
def test_a_grace_that_cannot_be_waited_is_refused(batch: Callable[..., str], grace: str) -> None:
    command("submit", batch(job("one", "true")))

    assert command("cancel", "one", "--grace", grace).returncode == 2


def test_a_batch_that_cannot_be_led_leaves_the_others_alone(
    batch: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.02; done"
    command("submit", batch(job("waits", waits)), "--detach")
    wait_until(lambda: states() == ["RUNNING"])
    (folder,) = (home / "experiments" / "batch").iterdir()
    spoilt = folder.with_name("20200101-000000-aaaaaa")
    spoilt.mkdir()
    (spoilt / "experiment.json").write_bytes((folder / "experiment.json").read_bytes())
    (spoilt / "events.journal").mkdir()
    (home / "open" / spoilt.name).write_text(str(spoilt.relative_to(home)))
    log = home / "supervisor.log"
    wait_until(lambda: spoilt.name in log.read_text())

    assert status(folder.name)[0]["state"] == "RUNNING"
    go.touch()
    wait_until(lambda: status(folder.name)[0]["state"] == "SUCCEEDED")


def test_a_long_log_of_supervisors_is_kept_aside_and_a_new_one_begins(
    batch: Callable[..., str], home: Path
) -> None:
    log, old = home / "supervisor.log", home / "supervisor.log.old"
    home.mkdir(exist_ok=True)
    log.write_bytes(b"x" * (1 << 20))
    command("submit", batch(job("one", "true")), "--detach")
    assert not old.exists()

    log.write_bytes(b"x" * ((1 << 20) + 1))
    command("submit", batch(job("two", "true")), "--detach")
    wait_until(old.exists)

    # Behind it there may be a word of the first supervisor, if that had to wait for its disk.
    assert old.read_bytes().startswith(b"x" * ((1 << 20) + 1))
    assert log.stat().st_size < 1 << 20


def test_a_request_that_cannot_be_read_stops_nobody(batch: Callable[..., str], home: Path) -> None:
    command("submit", batch(job("waits", "sleep 600")), "--detach")
    wait_until(lambda: states() == ["RUNNING"])
    (folder,) = (home / "experiments" / "batch").iterdir()
    (folder / "requests").mkdir(exist_ok=True)
    (folder / "requests" / "0.json").write_text("{")

    assert command("cancel", "batch").returncode == 0
    assert states() == ["CANCELLED"]


def test_an_unknown_batch_names_its_near_matches(batch: Callable[..., str]) -> None:
    command("submit", batch(job("a", "true")))

    for words, kind in (
        (["status", "bach"], "job or experiment"),
        (["attach", "bach"], "experiment"),
        (["cancel", "bach"], "job or experiment"),
    ):
        done = command(*words)
        assert done.returncode == 1
        assert f"error: no {kind} named 'bach'\nhint: did you mean 'batch'" in done.stderr
        assert "hint: runbus ls --batches shows" in command(words[0], "nosuch").stderr


def test_a_mistyped_job_names_its_near_matches(batch: Callable[..., str]) -> None:
    command("submit", batch(job("training", "true")))

    assert "hint: did you mean 'training'" in command("cancel", "trainin").stderr


def test_latest_is_the_newest_batch(batch: Callable[..., str]) -> None:
    command("submit", batch(job("latest", "true")))
    command("submit", batch(job("fails", "false"), job("waits", "sleep 600")), "--detach")
    wait_until(lambda: states() == ["FAILED", "RUNNING"])

    assert command("cancel", "latest", "--grace", "0").returncode == 0
    assert [job["name"] for job in status("latest")] == ["fails", "waits"]
    assert states() == ["FAILED", "CANCELLED"]
    assert command("attach", "latest").stdout.count("CANCELLED") == 1
    assert command("retry", "latest", "--detach").returncode == 0
    assert command("cancel", "latest", "--grace", "0").returncode == 0
    assert len(states()) == 2


def test_retry_runs_what_did_not_succeed_as_a_new_batch(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    command("submit", batch(job("good", "true"), job("bad", f"test -e {ready}", env={"A": "1"})))
    before = status()
    ready.touch()

    done = command("retry")

    assert done.returncode == 0, done.stderr
    (again,) = status()
    assert (again["name"], again["state"]) == ("bad", "SUCCEEDED")
    assert again["job"] != before[1]["job"]
    nothing = command("retry")
    assert nothing.returncode == 2
    assert re.match(r"error: nothing to retry in \S+-\S+: every job of it has succ", nothing.stderr)


def test_doctor_finds_a_healthy_home_and_what_a_crash_left_behind(
    batch: Callable[..., str],
) -> None:
    healthy = command("doctor")
    assert healthy.returncode == 0, healthy.stdout
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", "sleep 600"))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        leader.kill()

    ill = command("doctor")

    assert ill.returncode == 1
    assert "!!  unfinished: 1 of 1 jobs" in ill.stdout
    assert "hint: runbus attach" in ill.stdout
    told = json.loads(command("doctor", "--json").stdout)
    assert [one["is_well"] for one in told if one["title"] == "unfinished"] == [False]
    command("cancel", "batch", "--grace", "0")
    assert command("doctor").returncode == 0


def pid_of(job_name: str, tmp_path: Path) -> int:
    (record,) = tmp_path.glob(f"home/experiments/*/*/jobs/*-{job_name}/1/pid.json")
    pid: int = json.loads(record.read_text())["pid"]
    return pid


def parent_of(pid: int) -> int:
    status_lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status_lines if line.startswith("PPid:")))


def test_kill_9_of_a_job_is_a_failure_by_that_signal(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", "exec sleep 600"))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        os.kill(pid_of("a", tmp_path), signal.SIGKILL)
        assert leader.wait(120) == 1

    assert (status()[0]["state"], status()[0]["signal"]) == ("FAILED", 9)
    assert status()[0]["reason"] == "killed by SIGKILL"


def test_kill_9_of_the_wrapper_makes_a_job_lost_only_once_it_is_gone(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.02; done"
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", waits))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        os.kill(parent_of(pid_of("a", tmp_path)), signal.SIGKILL)
        assert states() == ["RUNNING"]
        go.touch()
        assert leader.wait(120) == 1

    assert states() == ["LOST"]
    assert status()[0]["reason"] == "its process is gone and left no exit record"


def test_a_job_that_spoils_its_own_folder_stops_nothing(
    batch: Callable[..., str], home: Path
) -> None:
    folder = f"cd {home}/experiments/batch/*/jobs/*-$0/1"
    odd = f"{folder}; rm stdout.log exit.json; mkfifo stdout.log; mkdir exit.json; exit 3"
    path = batch(
        {"name": "odd", "command": ["sh", "-c", odd, "odd"]},
        job("good", "sleep 0.5; echo done"),
        max_parallel=2,
    )

    done = command("submit", path)

    assert done.returncode == 1
    assert states() == ["LOST", "SUCCEEDED"]
    assert command("ls").returncode == 0
    assert command("logs", "odd").returncode == 0


def test_a_lost_job_that_has_retries_left_is_tried_again(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    script = (
        f"test -e {tmp_path}/seen || {{ touch {tmp_path}/seen; kill -9 $PPID; exec sleep 0.1; }}"
    )
    done = command("submit", batch(job("a", script, retries=1, backoff=0)))

    assert done.returncode == 0
    assert (status()[0]["state"], status()[0]["attempt"]) == ("SUCCEEDED", 2)


def test_values_of_the_environment_are_readable_by_their_owner_only(
    batch: Callable[..., str], home: Path
) -> None:
    command("submit", batch(job("a", "true", env={"TOKEN": "s3cret-value"})))

    holders = [
        path for path in home.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()
    ]
    assert {path.name for path in holders} <= {"request", "request.sh", "experiment.json"}
    assert {path.stat().st_mode & 0o077 for path in holders} == {0}


def test_executors_may_be_described_in_the_file_and_an_unknown_one_is_refused(
    batch: Callable[..., str],
) -> None:
    path = batch(
        job("gpu", 'test "$CUDA_VISIBLE_DEVICES" = 5', gpus=1),
        job("plain", "true", executor="other"),
        executor={"type": "local", "gpus": ["5"]},
        executors={"other": {"type": "local"}},
    )

    assert command("submit", path).returncode == 0
    assert [one["executor"] for one in status()] == ["default", "other"]
    done = command("submit", batch(job("a", "true", executor="otter"), executors={"other": {}}))
    assert "executors.other: the key 'type' is missing" in done.stderr
    done = command(
        "submit",
        batch(job("a", "true", executor="otter"), executors={"other": {"type": "local"}}),
    )
    assert "jobs[0].executor: there is no executor 'otter'; did you mean 'other'" in done.stderr


def test_attach_follows_a_batch_that_another_process_leads(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do echo waits; sleep 0.2; done; echo went; exit 3"
    with subprocess.Popen(
        [
            RUNBUS,
            "submit",
            batch(job("a", script), job("b", "echo after; sleep 0.1"), max_parallel=1),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        with subprocess.Popen(
            [RUNBUS, "attach", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stderr is not None
            first = follower.stderr.readline()
            go.touch()
            out, rest = follower.communicate(timeout=120)
        assert leader.wait(120) == 1

    assert first == "a | waits\n"
    # Lines and facts reach the eye by two ways, and a kernel that had to wait for its disk says so.
    lines = [line for line in rest.splitlines() if "waits" not in line]
    at = lines.index("job 'a' FAILED: exit code 3")
    told, said, log = sorted(line for line in lines[:at] if line[1:4] == " | "), *lines[at + 1 :]
    assert len(told) == 5
    assert told[0].startswith("a | FAILED after ")
    assert told[1] == "a | went"
    assert told[2].startswith("b | SUCCEEDED after ")
    assert told[3] == "b | after"
    assert told[4].startswith("b | started on ")
    assert said == "    | went"
    assert Path(log.strip()).read_text().endswith("waits\nwent\n")
    assert follower.returncode == 1
    assert [one["exit_code"] for one in json.loads(out)] == [3, 0]


def test_attach_takes_over_when_the_leader_dies(batch: Callable[..., str], tmp_path: Path) -> None:
    go = tmp_path / "go"
    jobs = [job("a", f"until [ -e {go} ]; do sleep 0.02; done"), job("b", "true")]
    with subprocess.Popen(
        [RUNBUS, "submit", batch(*jobs, max_parallel=1)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        with subprocess.Popen([RUNBUS, "attach"], stdout=subprocess.PIPE) as follower:
            leader.kill()
            leader.wait(120)
            go.touch()
            follower.communicate(timeout=120)

    assert follower.returncode == 0
    assert states() == ["SUCCEEDED", "SUCCEEDED"]


def test_logs_since_a_time_begin_where_that_was_written(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"echo old; until [ -e {go} ]; do sleep 0.02; done; echo new; echo err >&2"
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", script))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        wait_until(lambda: has_cursor(tmp_path))
        now = datetime.now().isoformat()
        go.touch()
        assert leader.wait(120) == 0

    since = command("logs", "a", "--since", now)
    assert (since.stdout, since.stderr) == ("new\n", "err\n")
    assert command("logs", "a", "--since", "1d").stdout == "old\nnew\n"
    assert command("logs", "a", "--since", now, "--stderr").stdout == "err\n"
    wrong = command("logs", "a", "--since", "tomorrow")
    assert (wrong.returncode, "'tomorrow' is neither a time" in wrong.stderr) == (2, True)


def test_logs_follow_from_one_attempt_to_the_next_and_each_can_be_asked_for(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"echo start $RUNBUS_ATTEMPT; until [ -e {go} ]; do sleep 0.02; done; echo end; exit 3"
    retried = job("a", script, retries=2, backoff=0.01)
    with subprocess.Popen(
        [RUNBUS, "submit", batch(retried)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as leader:
        wait_until(lambda: has_cursor(tmp_path))
        with subprocess.Popen([RUNBUS, "logs", "-f", "a"], stdout=subprocess.PIPE) as logs:
            assert logs.stdout is not None
            first = [logs.stdout.readline()]
            go.touch()
            told = first + logs.stdout.readlines()
            assert logs.wait(120) == 0
        assert leader.wait(120) == 1

    attempts = [line.split()[1].rpartition(b"/")[2] for line in told[::2]]
    assert attempts == [b"1", b"2", b"3"]
    assert told[1::2] == [b"end\n"] * 3
    for number in (1, 2, 3):
        assert command("logs", "a", "--attempt", str(number)).stdout.split()[1][-2:] == f"/{number}"
    every = command("logs", "a")
    assert every.stdout.encode() == b"".join(told)
    assert every.stderr == "".join(f"==> attempt {number} <==\n" for number in (1, 2, 3))
    assert command("logs", "a", "--attempt", "3").stderr == ""
    beyond = command("logs", "a", "--attempt", "4")
    assert beyond.returncode == 2
    assert "job 'a' has had 3 attempts so far" in beyond.stderr


def test_attach_shows_what_was_written_since_the_leader_died_and_leaves_no_gap(
    batch: Callable[..., str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    script = f"for i in $(seq 50); do echo line $i; done; until [ -e {go} ]; do sleep 0.02; done; "
    with subprocess.Popen(
        [RUNBUS, "submit", batch(job("a", f"{script} echo last"))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as leader:
        assert leader.stderr is not None
        before: list[str] = []
        for line in leader.stderr:
            before.append(line)
            if line == "line 50\n":
                break
        (log,) = tmp_path.glob("home/experiments/*/*/jobs/*/1/stdout.log")
        written = len("".join(f"line {number}\n" for number in range(1, 51)))
        # What was written since the last mark would be shown once more.
        wait_until(lambda: [one.stdout for one in read_marks(str(log.parent))][-1:] == [written])
        leader.kill()
    go.touch()

    after = command("attach")

    assert after.returncode == 0
    assert [line for line in before if line.startswith("line")] == [
        f"line {number}\n" for number in range(1, 51)
    ]
    assert [line for line in after.stderr.splitlines() if line.startswith("l")] == ["last"]
