"""What the wrapper program keeps that the script cannot."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processes import is_alive

from runbus.abc import JobSpec, Observation
from runbus.attempt import observe_folder, program_digest, render_request, wrapper_program
from runbus.testing._waiting import wait_until

WAITS = "import os, signal; print(os.getpid(), flush=True); signal.pause()"


def job_in(folder: Path, *words: str, **options: object) -> JobSpec:
    """Return a job that runs some words in `folder`."""
    spec = {
        "experiment_id": "e",
        "name": "a",
        "run_id": "e-1",
        "executor": "local",
        "argv": words,
        "cwd": str(folder),
        "env": {},
        "folder": str(folder),
        "run_folder": str(folder),
    } | options
    return JobSpec(**spec)  # type: ignore[arg-type]


@pytest.fixture
def launch(program: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the program on a job's own request; what is left is killed after the test."""
    started: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def launch(
        folder: Path, *words: str, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.Popen[bytes]:
        (folder / "request").write_bytes(render_request(job_in(folder, *words, **options)))
        process = subprocess.Popen(
            [program, "run", str(folder)], env=env, stdin=subprocess.DEVNULL, start_new_session=True
        )
        started.append((folder, process))
        return process

    yield launch
    for folder, process in started:
        if folder.exists():
            subprocess.run([program, "cancel", str(folder), "0"], check=True, timeout=120)
        process.kill()
        process.wait(120)


@pytest.fixture
def ended(launch) -> Callable[..., Observation]:
    """Run a job to its end and return what is seen then."""

    def ended(folder: Path, *words: str, **options: object) -> Observation:
        launch(folder, *words, **options).wait(120)
        seen = observe_folder(str(folder))
        assert seen is not None
        return seen

    return ended


def cancel(program: str, folder: Path, grace: str) -> None:
    subprocess.run([program, "cancel", str(folder), grace], check=True, timeout=120)


@pytest.mark.parametrize("code", [126, 127])
def test_a_program_s_own_exit_with_a_shell_s_code_has_no_reason(
    ended, tmp_path: Path, code: int
) -> None:
    seen = ended(tmp_path, "sh", "-c", f"exit {code}")

    assert (seen.exit_code, seen.reason) == (code, "")


def test_a_script_that_names_no_interpreter_runs_as_in_a_shell(ended, tmp_path: Path) -> None:
    (tmp_path / "script").write_text('echo "$0 $1"; exit 3\n')
    (tmp_path / "script").chmod(0o755)
    seen = ended(tmp_path, "./script", "one")

    assert seen.exit_code == 3
    assert (tmp_path / "stdout.log").read_text() == "./script one\n"


def test_a_folder_that_is_not_there_is_the_reason(ended, tmp_path: Path) -> None:
    seen = ended(tmp_path, "true", cwd="/no/such/folder")

    assert seen.exit_code == 126
    assert seen.reason == "cannot enter /no/such/folder: no such file or directory"


ELSEWHERE = """
import os, subprocess, sys
code = "import os, signal, sys; print(os.getpid(), flush=True); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
child.wait()
"""


def test_a_wrapper_that_is_killed_while_it_ends_its_job_leaves_that_to_who_asked(
    launch, program: str, wait_for_line, tmp_path: Path
) -> None:
    script = "trap 'echo $$; trap \"exit 0\" TERM' TERM; : >up; while :; do sleep 0.02; done"
    wrapper = launch(tmp_path, "sh", "-c", script)
    wait_until((tmp_path / "up").exists)
    with subprocess.Popen([program, "cancel", str(tmp_path), "600"]) as asking:
        pid = int(wait_for_line(tmp_path / "stdout.log"))
        wrapper.kill()
        assert asking.wait(120) == 0

    assert not is_alive(pid)


@pytest.mark.parametrize("end", ["cancel", "limit", "signal"])
def test_the_end_reaches_a_child_in_a_session_of_its_own(
    launch, program: str, wait_for_line, tmp_path: Path, end: str
) -> None:
    # A limit that comes before the child is there says nothing: the next one is longer.
    for limit_s in (1, 5, 20):
        (folder := tmp_path / str(limit_s)).mkdir()
        if end == "limit":
            (folder / "limit").write_text(f"{limit_s} 5\n")
        wrapper = launch(folder, sys.executable, "-c", ELSEWHERE)
        if end == "limit":
            wrapper.wait(120)
        if end != "limit" or (folder / "stdout.log").read_bytes():
            break
    child = int(wait_for_line(folder / "stdout.log"))

    if end == "cancel":
        cancel(program, folder, "5")
    elif end == "signal":
        wrapper.terminate()
    wrapper.wait(120)

    assert not is_alive(child)
    seen = observe_folder(str(folder))
    assert seen is not None
    reasons = {
        "cancel": "cancelled",
        "limit": "time limit",
        "signal": "its wrapper was told to end (SIGTERM)",
    }
    assert (seen.signal, seen.reason) == (signal.SIGTERM, reasons[end])


def test_a_child_in_a_group_of_its_own_ends_too(
    launch, program: str, wait_for_line, tmp_path: Path
) -> None:
    wrapper = launch(tmp_path, "timeout", "60", sys.executable, "-c", WAITS)
    child = int(wait_for_line(tmp_path / "stdout.log"))

    cancel(program, tmp_path, "5")
    wrapper.wait(120)

    assert not is_alive(child)


LOW_NUMBERS = """
echo 2000 >/proc/sys/kernel/ns_last_pid || exit 77
"$1" run "$2" &
until [ -e "$2/up" ]; do sleep 0.01; done
"$1" cancel "$2" 600
wait
"""
FIRST_OF_MANY = """
trap 'exit 9' TERM
echo 100 >/proc/sys/kernel/ns_last_pid
sleep 600 &
first=$!
for _ in $(seq 300); do sleep 600 & done
# What is still a part of this shell hears no TERM.
until [ "$(cat /proc/[0-9]*/comm | grep -c sleep)" -eq 301 ]; do sleep 0.01; done
[ "$first" -lt $$ ] && : >up
wait "$first"
"""


def test_a_job_hears_of_its_end_before_what_it_has_started_whatever_their_numbers(
    program: str, tmp_path: Path
) -> None:
    """The numbers of processes begin again, soon where they are few: in a container, say."""
    request = render_request(job_in(tmp_path, "sh", "-c", FIRST_OF_MANY))
    (tmp_path / "request").write_bytes(request)
    alone = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    words = [*alone, "sh", "-c", LOW_NUMBERS, "sh", program, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, timeout=120, check=False)
    if done.returncode == 77 or b"unshare" in done.stderr:
        pytest.skip(f"this machine lets nobody say which numbers are next: {done.stderr!r}")

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert (seen.exit_code, seen.signal) == (9, None)


ORPHAN = """
import os, signal, sys
told, tells = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
    os.write(tells, b"x")
    signal.pause()
os.wait()
os.read(told, 1)  # before that its end would come before it has said who it is
"""


@pytest.mark.parametrize("leftovers", [True, False])
def test_what_a_job_leaves_behind_is_reported_or_ended(
    program: str, wait_for_line, tmp_path: Path, leftovers: bool
) -> None:
    request = render_request(job_in(tmp_path, sys.executable, "-c", ORPHAN))
    if leftovers:
        request += b"leftovers 4\nkill\n"
    (tmp_path / "request").write_bytes(request)
    subprocess.run([program, "run", str(tmp_path)], check=True, timeout=120, start_new_session=True)

    orphan = int(wait_for_line(tmp_path / "stdout.log"))
    record = json.loads((tmp_path / "exit.json").read_text())
    assert (record["status"], record["left"]) == (0, 0 if leftovers else 1)
    assert is_alive(orphan) != leftovers
    if not leftovers:
        os.kill(orphan, signal.SIGKILL)


def test_a_job_is_in_its_control_group_from_its_first_moment(ended, tmp_path: Path) -> None:
    ended(tmp_path, "cat", "/proc/self/cgroup")

    group = json.loads((tmp_path / "pid.json").read_text())["cgroup"]
    if not group:
        pytest.skip("this machine lets nobody make a control group")
    (own,) = re.findall(r"^0::(.*)$", (tmp_path / "stdout.log").read_text(), re.MULTILINE)
    assert group.endswith(own)
    assert os.path.basename(own).startswith("runbus-")


BOMB = """
import os, sys, time
until = time.monotonic() + 20  # whatever goes wrong, it ends
print("up", flush=True)
for _ in range(5):
    if os.fork() == 0:
        while time.monotonic() < until:
            os.setsid()
            if os.fork():
                os._exit(0)
        os._exit(0)
while time.monotonic() < until:
    time.sleep(0.1)
"""


@pytest.mark.parametrize("has_group", [True, False])
def test_processes_that_fork_without_end_are_ended(
    launch, program: str, wait_for_line, tmp_path: Path, monkeypatch, has_group: bool
) -> None:
    if not has_group:
        monkeypatch.setenv("SLURM_JOB_ID", "1")
    wrapper = launch(tmp_path, sys.executable, "-c", BOMB, str(tmp_path))
    wait_for_line(tmp_path / "stdout.log")
    if has_group != bool(json.loads((tmp_path / "pid.json").read_text())["cgroup"]):
        pytest.skip("this machine lets nobody make a control group")

    cancel(program, tmp_path, "0.2")
    wrapper.wait(120)

    assert [pid for pid in processes() if str(tmp_path).encode() in command_line(pid)] == []
    assert json.loads((tmp_path / "exit.json").read_text())["left"] == 0


def processes() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


ZOMBIES = """
import os
for _ in range(50):
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
"""


def test_children_that_nobody_waited_for_do_not_count_as_left(ended, tmp_path: Path) -> None:
    ended(tmp_path, sys.executable, "-c", ZOMBIES)

    assert json.loads((tmp_path / "exit.json").read_text())["left"] == 0


HELPER = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    os.read(read, 1)  # until its parent is gone
    time.sleep(0.005)
"""


def test_what_ends_right_after_the_job_does_not_count_as_left(ended, tmp_path: Path) -> None:
    """As the helpers of Python's `multiprocessing` do."""
    for number in range(20):
        (folder := tmp_path / str(number)).mkdir()
        ended(folder, sys.executable, "-c", HELPER)
        # A machine that stands still just then makes it late.
        if json.loads((folder / "exit.json").read_text())["left"] == 0:
            return
    pytest.fail("it always counts")


def test_the_grace_of_a_cancel_is_there_as_a_whole(program: str, tmp_path: Path) -> None:
    """A wrapper may look at any moment: what it looks at is never written to."""
    cancel(program, tmp_path, "60")
    os.link(tmp_path / "cancel", tmp_path / "seen")

    cancel(program, tmp_path, "0.5")

    assert (tmp_path / "seen").read_text() == "60\n"
    assert (tmp_path / "cancel").read_text() == "0.5\n"
    assert sorted(os.listdir(tmp_path)) == ["cancel", "seen"]


def test_a_secret_that_was_not_handed_over_is_the_reason(ended, tmp_path: Path) -> None:
    seen = ended(tmp_path, "true", secrets={"TOKEN": "env:ELSEWHERE"}, env={"PATH": "/bin"})

    assert (seen.exit_code, seen.reason) == (126, "the secret TOKEN was not handed over")


@settings(max_examples=30)
@given(
    words=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)),
    values=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
            lambda name: name != "PATH"
        ),
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
        max_size=4,
    ),
)
def test_any_words_and_values_arrive_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], values: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("attempt")
    program = wrapper_program(tmp_path_factory.getbasetemp() / "values")
    assert program is not None
    show = "printf '%s\\0' \"$@\"; tr '\\0' '\\n' </dev/null; cat /proc/self/environ >environ"
    request = render_request(job_in(folder, "/bin/sh", "-c", show, "sh", *words, env=values))
    (folder / "request").write_bytes(request)
    subprocess.run([program, "run", str(folder)], check=True, timeout=120, env={"PATH": "/bin"})

    assert (folder / "stdout.log").read_bytes() == b"".join(
        word.encode() + b"\0" for word in words or [""]
    )
    found = (folder / "environ").read_bytes().split(b"\0")
    for name, value in values.items():
        if name not in {"PWD", "OLDPWD", "_", "SHLVL"}:
            assert f"{name}={value}".encode() in found


def test_the_program_is_written_once_and_mended_when_it_is_damaged(tmp_path: Path) -> None:
    path = wrapper_program(tmp_path)
    assert path == str(tmp_path / "bin" / program_digest())
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[: len(whole) // 2])

    again = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from runbus.attempt import wrapper_program as p; print(p({str(tmp_path)!r}))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert again.stdout.strip() == path
    assert Path(path).read_bytes() == whole
    assert os.listdir(tmp_path / "bin") == [program_digest()]


def test_a_program_that_is_still_open_where_it_was_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in what another thread has forked while it was being written, and not started yet."""
    path = tmp_path / "bin" / program_digest()
    written = wrapper_program(tmp_path / "elsewhere")
    assert written is not None
    path.parent.mkdir()
    shutil.copy(written, path)
    waits = []
    with path.open("r+b") as file:

        def wait(seconds: float) -> None:
            waits.append(seconds)
            file.close()

        monkeypatch.setattr(time, "sleep", wait)
        assert wrapper_program(tmp_path) == str(path)

    assert waits


def test_where_the_program_cannot_be_written_the_script_is_used(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("no folder")

    assert wrapper_program(tmp_path) is None


def test_a_wrapper_that_has_looked_around_keeps_no_more_memory_than_before(
    launch, tmp_path: Path
) -> None:
    """Of its own code it needs little while it waits: there may be thousands on a machine."""
    (tmp_path / "beat").write_text("6\n")  # after its first look, which comes after five seconds
    wrapper = launch(tmp_path, sys.executable, "-c", WAITS)
    first = wait_until(lambda: heartbeat(tmp_path))
    wait_until(lambda: heartbeat(tmp_path) != first)

    wait_until(lambda: resident_kib(wrapper.pid) < 600)


def heartbeat(folder: Path) -> str:
    return (folder / "heartbeat").read_text() if (folder / "heartbeat").exists() else ""


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
