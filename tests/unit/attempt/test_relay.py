"""The job's output under the wrapper program: every byte is kept, whichever process dies."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runbus.abc import JobSpec
from runbus.attempt import render_request
from runbus.testing._waiting import wait_until

AGAIN = [
    pytest.param("echo one; echo two >/dev/stdout; echo three", "one\ntwo\nthree\n", id="sh"),
    pytest.param(
        "echo one; echo two | tee /dev/stdout; echo three", "one\ntwo\ntwo\nthree\n", id="tee"
    ),
    pytest.param(
        f"""echo one; {sys.executable} -c 'print("two", file=open("/dev/stdout", "w"))'; echo 3""",
        "one\ntwo\n3\n",
        id="python",
    ),
    pytest.param("echo one; (echo two) >/proc/self/fd/1; echo 3", "one\ntwo\n3\n", id="fd"),
]
READER = "runbus-log"


@pytest.fixture
def launch(program: str):
    """Start the program on a script; it and the job are killed after the test."""
    wrappers: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def launch(folder: Path, script: str) -> subprocess.Popen[bytes]:
        job = JobSpec(
            experiment_id="e", name="a", run_id="e-1", executor="local",
            argv=("sh", "-c", script), cwd=str(folder), env={},
            folder=str(folder), run_folder=str(folder),
        )  # fmt: skip
        (folder / "request").write_bytes(render_request(job))
        words = [program, "run", str(folder)]
        wrapper = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
        wrappers.append((folder, wrapper))
        return wrapper

    yield launch
    for folder, wrapper in wrappers:
        subprocess.run([program, "cancel", str(folder), "0"], check=True, timeout=120)
        wrapper.kill()
        wrapper.wait(120)


def reader_of(wrapper: subprocess.Popen[bytes]) -> int:
    """Return the process that reads a job's output."""
    children = Path(f"/proc/{wrapper.pid}/task/{wrapper.pid}/children").read_text().split()
    (reader,) = (
        int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == READER
    )
    return reader


def wait_for_text(path: Path, text: str) -> None:
    """Wait until a file holds some text."""
    wait_until(lambda: path.exists() and text in path.read_text())


@pytest.mark.parametrize(("script", "written"), AGAIN)
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_job_that_opens_its_own_output_again_loses_nothing(
    launch, tmp_path: Path, script: str, written: str, name: str
) -> None:
    if name == "stderr":
        script = f"exec 3>&1 1>&2; {script}"
        script = script.replace("/dev/stdout", "/dev/stderr").replace("| tee", "| tee 2>&1")
    launch(tmp_path, script).wait(120)

    assert (tmp_path / f"{name}.log").read_text() == written


def test_a_job_goes_on_when_the_reader_of_its_output_is_killed(launch, tmp_path: Path) -> None:
    script = "echo one; read -r _ <go1; echo two; read -r _ <go2; echo three"
    # A pipe each: in one the second `read` could see the end of what the first was sent.
    for name in ("go1", "go2"):
        os.mkfifo(tmp_path / name)
    wrapper = launch(tmp_path, script)
    log = tmp_path / "stdout.log"
    for text, name in (("one", "go1"), ("two", "go2")):
        wait_for_text(log, text)
        reader = reader_of(wrapper)
        os.kill(reader, signal.SIGKILL)
        (tmp_path / name).write_text("\n")
    wrapper.wait(120)

    assert log.read_text() == "one\ntwo\nthree\n"
    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 0


def test_a_job_goes_on_when_its_wrapper_is_killed(launch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    wrapper = launch(tmp_path, "echo one; read -r _ <go; seq 100000; echo done >&2")
    wait_for_text(tmp_path / "stdout.log", "one")
    wrapper.kill()
    wrapper.wait(120)
    (tmp_path / "go").write_text("\n")
    wait_for_text(tmp_path / "stderr.log", "done")
    wait_for_text(tmp_path / "stdout.log", "\n100000\n")

    wanted = ["one", *map(str, range(1, 100_001))]
    assert (tmp_path / "stdout.log").read_text().splitlines() == wanted


def test_a_job_that_says_nothing_has_a_reader_soon(launch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    wrapper = launch(tmp_path, "read -r _ <go; echo late; exit 3")
    children = f"/proc/{wrapper.pid}/task/{wrapper.pid}/children"
    named = f"for pid in $(cat {children}); do cat /proc/$pid/comm; done | grep -qx {READER}"
    subprocess.run(["sh", "-c", f"until {named}; do sleep 0.01; done"], timeout=120, check=True)
    wrapper.kill()
    wrapper.wait(120)
    (tmp_path / "go").write_text("\n")

    wait_for_text(tmp_path / "stdout.log", "late")


def test_a_limit_on_the_size_of_files_ends_no_wrapper(program: str, tmp_path: Path) -> None:
    job = JobSpec(
        experiment_id="e", name="a", run_id="e-1", executor="local",
        argv=("sh", "-c", "head -c 9000 /dev/zero; exit 3"), cwd="/", env={},
        folder=str(tmp_path), run_folder=str(tmp_path),
    )  # fmt: skip
    (tmp_path / "request").write_bytes(render_request(job))
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    subprocess.run([program, "run", str(tmp_path)], preexec_fn=limit, check=True, timeout=120)

    record = json.loads((tmp_path / "exit.json").read_text())
    assert (record["status"], record["lost"]) == (3, 9000 - 4096)


def test_a_reader_that_is_stopped_holds_up_no_end(launch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    wrapper = launch(tmp_path, "echo one; read -r _ <go; echo two")
    wait_for_text(tmp_path / "stdout.log", "one")
    os.kill(reader_of(wrapper), signal.SIGSTOP)
    (tmp_path / "go").write_text("\n")
    wrapper.wait(120)

    assert (tmp_path / "stdout.log").read_text() == "one\ntwo\n"


def test_a_reader_that_is_slow_is_waited_for(launch, tmp_path: Path) -> None:
    """As on a disk that stands still: who killed it would lose what is on its way."""
    os.mkfifo(tmp_path / "stdout.log")
    log = os.open(tmp_path / "stdout.log", os.O_RDONLY | os.O_NONBLOCK)
    with open(log, "rb", buffering=0) as held, open(tmp_path / "stdout.log", "wb") as writes:
        room = fcntl.fcntl(held, fcntl.F_GETPIPE_SZ)
        # No room for anything: the reader waits with its first piece in its hands.
        writes.write(bytes(room))
        writes.flush()
        wrapper = launch(tmp_path, "sleep 0.2; echo kept")
        with pytest.raises(subprocess.TimeoutExpired):
            wrapper.wait(8)
        writes.close()
        os.set_blocking(held.fileno(), True)
        written = held.readall()

    wrapper.wait(120)
    assert written == bytes(room) + b"kept\n"


def test_all_of_the_output_is_in_the_logs_before_the_end_is(launch, tmp_path: Path) -> None:
    for at in range(5):
        (folder := tmp_path / str(at)).mkdir()
        launch(folder, "seq 50000; seq 50000 >&2").wait(120)
        for name in ("stdout", "stderr"):
            assert len((folder / f"{name}.log").read_bytes()) == 288_894


def test_what_a_job_leaves_behind_still_writes_to_its_log(launch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    launch(tmp_path, "setsid sh -c 'read -r _ <go; echo late' & echo first").wait(120)
    assert (tmp_path / "stdout.log").read_text() == "first\n"

    (tmp_path / "go").write_text("\n")
    wait_for_text(tmp_path / "stdout.log", "late")


def test_what_a_job_says_when_it_is_told_to_end_is_kept(
    launch, program: str, tmp_path: Path
) -> None:
    wrapper = launch(tmp_path, "trap 'seq 20000; exit 3' TERM; echo up; while :; do sleep 1; done")
    wait_for_text(tmp_path / "stdout.log", "up")

    subprocess.run([program, "cancel", str(tmp_path), "60"], check=True, timeout=120)
    wrapper.wait(120)

    assert (tmp_path / "stdout.log").read_text().splitlines()[-1] == "20000"


def test_no_reader_is_left_when_the_job_has_ended(launch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    wrapper = launch(tmp_path, "echo up; read -r _ <go")
    wait_for_text(tmp_path / "stdout.log", "up")
    reader = os.pidfd_open(reader_of(wrapper))
    (tmp_path / "go").write_text("\n")
    wrapper.wait(120)

    with open(reader, closefd=True) as file, pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(file.fileno(), 0)


def test_a_job_that_has_closed_its_output_goes_on(launch, tmp_path: Path) -> None:
    launch(tmp_path, "echo up; exec >&- 2>&-; sleep 0.1; exit 4").wait(120)

    assert json.loads((tmp_path / "exit.json").read_text())["status"] == 4
    assert (tmp_path / "stdout.log").read_text() == "up\n"


FULL = r"""
mount -t tmpfs -o size=512k none "$1" 2>/dev/null || exit 77
cd "$1" && mkdir job
head -c 256k /dev/zero >room
printf '%s\n' "head -c 1000000 /dev/zero | tr '\\0' x; $3" >job/request.sh
"$2" run "$PWD/job" && cat job/stdout.log job/exit.json
"""


def on_a_full_disk(program: str, folder: Path, script: str) -> tuple[bytes, dict[str, Any]]:
    """Run a job that fills its disk; return its log and its record."""
    words = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL, "sh", str(folder)]
    done = subprocess.run([*words, program, script], capture_output=True, timeout=120, check=False)
    if done.returncode == 77 or b"unshare" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {done.stderr!r}")
    log, _, record = done.stdout.rpartition(b"{")
    return log, json.loads(b"{" + record)


def test_a_log_on_a_full_disk_says_how_much_it_could_not_take(program: str, tmp_path: Path) -> None:
    log, record = on_a_full_disk(program, tmp_path, "rm ../room; echo after")

    lost = re.findall(rb"\nrunbus: (\d+) bytes could not be written here\n", log)
    assert lost
    assert log.endswith(b"after\n")
    assert sum(map(int, lost)) + log.count(b"x") == 1_000_000
    assert record["lost"] == 0


@pytest.mark.parametrize("script", ["exit 3", "exec >&- 2>&-; sleep 0.2; exit 3"])
def test_what_a_disk_that_stays_full_did_not_take_is_in_the_record(
    program: str, tmp_path: Path, script: str
) -> None:
    log, record = on_a_full_disk(program, tmp_path, script)

    assert log == b"x" * len(log)
    assert (record["status"], record["lost"]) == (3, 1_000_000 - len(log))
