"""A secret goes to the job that needs it, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runbus.testing._waiting import wait_until

RUNBUS = os.path.join(os.path.dirname(sys.executable), "runbus")
CANARY = "s3cr3t-" + os.urandom(8).hex()


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RUNBUS, *words],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def states() -> list[str]:
    return [job["state"] for job in json.loads(command("status", "--json").stdout)]


def holders(folder: Path) -> list[str]:
    """Return the files below a folder that the canary is in."""
    found = []
    # Unlike pathlib it passes over a folder that goes away meanwhile.
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                path = Path(root, name)
                if path.is_file() and CANARY.encode() in path.read_bytes():
                    found.append(str(path))
    return found


def command_lines() -> bytes:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes())
        except OSError:
            continue
    return b"\n".join(lines)


@pytest.fixture
def batch(tmp_path: Path) -> Callable[..., str]:
    def write(script: str, env: dict[str, Any], **settings: Any) -> str:
        path = tmp_path / "batch.json"
        job = {"name": "a", "command": ["sh", "-c", script], "env": env, **settings}
        path.write_text(json.dumps({"project": "secrets", "jobs": [job]}))
        return str(path)

    return write


def test_a_secret_is_nowhere_but_in_its_job(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    go, ready = tmp_path / "go", tmp_path / "ready"
    script = f'printf %s "$GIVEN" | md5sum >{ready}; until [ -e {go} ]; do sleep 0.02; done; exit 3'
    path = batch(script, {"GIVEN": {"secret": "CANARY"}, "PLAIN": "x"}, retries=1, backoff=0)

    dry = command("submit", path, "--dry-run", CANARY=CANARY)
    with subprocess.Popen(
        [RUNBUS, "submit", path],
        env=os.environ | {"CANARY": CANARY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as submitted:
        wait_until(lambda: ready.exists() and ready.read_text() != "")
        while_it_runs = holders(home), CANARY.encode() in command_lines()
        go.touch()
        said = "".join(submitted.communicate(timeout=120))

    known = subprocess.run(["md5sum"], input=CANARY, capture_output=True, text=True, check=True)
    assert ready.read_text() == known.stdout
    assert while_it_runs == ([], False)
    assert holders(home) == []
    assert "'env:CANARY'" in dry.stdout
    shown = [
        command(*words).stdout for words in (["show", "latest"], ["status"], ["why", "latest"])
    ]
    assert CANARY not in said + dry.stdout + dry.stderr + "".join(shown)
    asked = json.loads(next(home.rglob("experiment.json")).read_text())
    assert asked["jobs"][0]["secrets"] == {"GIVEN": "env:CANARY"}


def test_a_secret_that_is_missing_is_told_before_anything_is_made(
    batch: Callable[..., str], home: Path
) -> None:
    path = batch("true", {"A": {"secret": "env:RUNBUS_TEST_NOT_SET"}})

    for words in ([], ["--detach"]):
        done = command("submit", path, *words)
        assert done.returncode == 2
        assert "no secret at env:RUNBUS_TEST_NOT_SET: the variable is not set" in done.stderr
    assert not home.exists()


def test_a_secret_written_where_its_place_belongs_is_refused_and_not_repeated(
    batch: Callable[..., str],
) -> None:
    done = command("submit", batch("true", {"A": {"secret": f"{CANARY}"}}))

    assert done.returncode == 2
    assert "jobs[0].env.A.secret: a secret is env:NAME or file:PATH" in done.stderr
    assert CANARY not in done.stderr


def test_a_file_is_found_from_the_batch_file_and_read_anew_for_each_attempt(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    (tmp_path / "key").write_text("first\n")
    script = f'echo "$A" >>{tmp_path}/seen; echo second >{tmp_path}/key; test "$A" = second'

    done = command("submit", batch(script, {"A": {"secret": "file:key"}}, retries=1, backoff=0))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").read_text() == "first\nsecond\n"


def test_a_detached_job_gets_its_secret_also_where_a_supervisor_runs_that_lacks_it(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    go = tmp_path / "go"
    waits = f"until [ -e {go} ]; do sleep 0.02; done"
    assert command("submit", batch(waits, {}), "--detach").returncode == 0
    wait_until(lambda: states() == ["RUNNING"])

    script = f'printf %s "$A" >{tmp_path}/seen'
    done = command("submit", batch(script, {"A": {"secret": "CANARY"}}), "--detach", CANARY=CANARY)

    assert done.returncode == 0, done.stderr
    wait_until(lambda: states() == ["SUCCEEDED"])
    assert (tmp_path / "seen").read_text() == CANARY
    go.touch()
    wait_until(lambda: not os.listdir(home / "open"))
    assert holders(home) == []


def test_attach_needs_a_secret_only_for_what_is_still_to_be_submitted(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    go = tmp_path / "go"
    path = batch(f"until [ -e {go} ]; do sleep 0.02; done", {"A": {"secret": "CANARY"}})
    with subprocess.Popen(
        [RUNBUS, "submit", path],
        env=os.environ | {"CANARY": CANARY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as leader:
        # A job may run before it is on record that it was submitted.
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        leader.kill()
    go.touch()

    assert command("attach").returncode == 0

    retry = command("retry")
    assert retry.returncode == 2  # it has succeeded


def test_a_batch_whose_secret_is_missing_can_be_cancelled(
    batch: Callable[..., str], tmp_path: Path, home: Path
) -> None:
    path = batch("sleep 600", {"A": {"secret": f"file:{tmp_path}/key"}})
    (tmp_path / "key").write_text("x")
    two = json.loads(Path(path).read_text())
    two["max_parallel"] = 1
    two["jobs"].append({**two["jobs"][0], "name": "b"})
    Path(path).write_text(json.dumps(two))
    with subprocess.Popen(
        [RUNBUS, "submit", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as leader:
        wait_until(lambda: command("status", "--json").stdout.count("RUNNING") == 1)
        leader.kill()
    (tmp_path / "key").unlink()

    attached = command("attach")
    assert attached.returncode == 2
    assert "no secret at file:" in attached.stderr
    assert states() == ["RUNNING", "PENDING"]
    assert command("cancel", "secrets", "--grace", "0").returncode == 0
    assert states() == ["CANCELLED", "CANCELLED"]


def test_a_plain_value_that_goes_by_a_secrets_name_is_not_shown(
    batch: Callable[..., str], home: Path
) -> None:
    done = command("submit", batch("true", {"HF_TOKEN": CANARY, "B": "shown"}), "--dry-run")

    assert "export HF_TOKEN='***'" in done.stdout
    assert "export B=shown" in done.stdout
    assert CANARY not in done.stdout + done.stderr


TOKEN = "hf_" + os.urandom(12).hex()
ARGUMENTS = [
    ["true", "--hub_token", TOKEN],
    ["true", f"--api-key={TOKEN}"],
    ["true", f"https://user:{TOKEN}@host/x", "-H", f"Authorization: Bearer {TOKEN}"],
    # What cannot be run is a part of the reason.
    [f"/no/such/{TOKEN}"],
    ["no-such-program", TOKEN],
]


def test_a_token_among_the_arguments_is_shown_nowhere(tmp_path: Path, home: Path) -> None:
    jobs = [{"name": f"j{at}", "command": words} for at, words in enumerate(ARGUMENTS)]
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "tokens", "jobs": jobs}))
    lines = [
        ["submit", "--dry-run", str(path)], ["submit", "--dry-run", "--json", str(path)],
        ["status"], ["status", "--json"], ["ls", "--json"],
        ["show", "j3"], ["show", "--json", "j4"], ["why", "j3"], ["cancel", "j4"],
    ]  # fmt: skip

    # It prints the logs, too: what the job and its shell write there is theirs.
    assert command("submit", str(path)).returncode == 1
    shown = [command(*words) for words in lines]

    assert shown[0].stdout.count("***") >= 4
    leaks = [words for words, done in zip(lines, shown, strict=True) if TOKEN in str(done)]
    assert leaks == []
    told = [home.rglob("events.journal"), home.rglob("*.trace"), home.rglob("run.json")]
    kept = [str(file) for files in told for file in files if TOKEN.encode() in file.read_bytes()]
    assert kept == []


def test_what_one_job_names_as_its_secret_no_job_inherits(tmp_path: Path) -> None:
    script = f'echo "$NAME:${{SOURCE-unset}}:${{GIVEN-unset}}" >>{tmp_path}/seen'
    secret = {"GIVEN": {"secret": "SOURCE"}}
    jobs = [
        {"name": name, "command": ["sh", "-c", script], "env": {"NAME": name, **env}}
        for name, env in (("names", secret), ("other", {}))
    ]
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({"project": "inherit", "jobs": jobs}))

    assert command("submit", str(path), SOURCE=CANARY).returncode == 0

    seen = sorted((tmp_path / "seen").read_text().split())
    assert seen == [f"names:unset:{CANARY}", "other:unset:unset"]
