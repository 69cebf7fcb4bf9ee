"""What may go wrong around a job: who dies, whose number is whose, what names and values hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import is_alive

from runbus.abc import JobSpec
from runbus.attempt import CANCELLED, is_running, observe_folder, outlived, render_script
from runbus.testing._waiting import wait_until


def edit_record(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "pid.json").read_text())
    text = json.dumps(record | changes, separators=(",", ":"))
    (folder / "pid.json").write_text(text + "\n")


@pytest.mark.parametrize("grace", [0, 60])
@pytest.mark.parametrize("is_waited_for", [True, False])
def test_a_job_outlives_its_wrapper_and_is_still_within_reach(
    start, cancel, wait_for_line, tmp_path: Path, grace: int, is_waited_for: bool
) -> None:
    """Also where nothing waits for orphans, as in a container: the wrapper remains as a zombie."""
    wrapper = start(tmp_path, "echo $$; exec sleep 600")
    wait_for_line(tmp_path / "stdout.log")

    wrapper.kill()
    os.waitid(os.P_PID, wrapper.pid, os.WEXITED | (0 if is_waited_for else os.WNOWAIT))
    assert is_running(str(tmp_path))

    cancel(tmp_path, grace)
    seen = observe_folder(str(tmp_path))
    # Without a grace it has only been killed yet: the system takes a moment for that.
    wait_until(lambda: not is_running(str(tmp_path)))
    assert seen is not None
    # How it ended nobody has seen: the executor makes LOST of it.
    assert seen.phase == "running"
    wrapper.wait(120)


@pytest.mark.script
def test_a_process_that_has_the_number_of_the_job_is_left_alone(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    """The program finds what is left of the job by other signs; the script ends nothing then."""
    wrapper = start(tmp_path, "trap 'exit 5' USR1; echo $$; while :; do sleep 0.05; done")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    edit_record(tmp_path, start=1)

    assert not is_running(str(tmp_path))
    cancel(tmp_path, 0)

    os.kill(pid, signal.SIGUSR1)
    wrapper.wait(120)
    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.exit_code == 5


@pytest.mark.parametrize("changes", [{"boot": "another"}, {"ns": "pid:[1]"}], ids=["boot", "ns"])
def test_a_process_that_only_has_the_number_is_left_alone(
    start, cancel, wait_for_line, tmp_path: Path, changes: dict[str, object]
) -> None:
    wrapper = start(tmp_path, "trap 'exit 5' USR1; echo $$; while :; do sleep 0.05; done")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    edit_record(tmp_path, **changes)
    # The program looks for the file of a cancel every few seconds: not while it is stopped.
    wrapper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, wrapper.pid, os.WSTOPPED | os.WNOWAIT)

    assert not is_running(str(tmp_path))
    cancel(tmp_path, 0)

    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: not is_alive(pid))
    wrapper.send_signal(signal.SIGCONT)
    wrapper.wait(120)
    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.exit_code == 5


def test_a_job_that_has_no_session_yet_is_cancelled(
    wrapper: list[str], cancel, wait_for_line, tmp_path: Path
) -> None:
    """Between its record and its session it is one process of the wrapper's group."""
    os.mkfifo(tmp_path / "never")
    (tmp_path / "request.sh").write_text("echo up; read -r _ <never")
    with subprocess.Popen([*wrapper, "run", str(tmp_path)], start_new_session=True) as running:
        wait_for_line(tmp_path / "stdout.log")
        cancel(tmp_path, 60)
        running.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGTERM


def test_a_log_that_the_job_empties_begins_again(run, tmp_path: Path) -> None:
    run(tmp_path, "echo before; until [ -s stdout.log ]; do :; done; : >stdout.log; echo after")

    assert (tmp_path / "stdout.log").read_bytes() == b"after\n"


def test_the_heart_of_a_job_beats_while_it_runs(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    (tmp_path / "beat").write_text("0.05\n")
    wrapper = start(tmp_path, "exec sleep 600")
    first = wait_for_line(tmp_path / "heartbeat").strip()
    changed = 'until read -r now <"$0" && [ "$now" != "$1" ]; do sleep 0.01; done'
    command = ["sh", "-c", changed, str(tmp_path / "heartbeat"), first]
    subprocess.run(command, timeout=120, check=True)

    cancel(tmp_path, 0)
    wrapper.wait(120)
    assert float((tmp_path / "heartbeat").read_text()) > float(first)


SHOW = "import json, os, sys; json.dump([dict(os.environ), os.getcwd(), sys.argv[1:]], sys.stdout)"
# Names that the wrapper might use for itself.
NAMES = "boot host line pid user sys up start status signal reason left now watch seconds"
INHERITED = {name: f"inherited {name}" for name in NAMES.split()}
GIVEN = {
    "lower": "a",
    "LINES_": "one\ntwo\n\n",
    "QUOTES": "'\"`\\",
    "SHELL_": "$(touch injected) ${HOME} `id` ; rm -rf ~ #",
    "LONG": "x" * 100_000,
    "NOTHING": "",
    "NOT_ASCII": "é\u2028\U0001f600",
    "status": "given",
}


@pytest.mark.parametrize("bootstrap", [(), ("export BOOTSTRAPPED=$lower; cd .",)])
@pytest.mark.parametrize("name", ["a b", "-dash", "é ☃", "it's $(x)", "x; rm -rf ~", "line\nbreak"])
def test_a_job_gets_what_it_was_given_and_nothing_else(
    wrapper: list[str], tmp_path: Path, name: str, bootstrap: tuple[str, ...]
) -> None:
    folder, cwd = tmp_path / name, tmp_path / f"{name} to work in"
    folder.mkdir()
    cwd.mkdir()
    arguments = ("--", "-x", "", "a\nb", "'", "$(id)", "*")
    job = JobSpec(
        experiment_id="e",
        name=name,
        run_id="e-1",
        executor="local",
        argv=(sys.executable, "-X", "utf8", "-c", SHOW, *arguments),
        cwd=str(cwd),
        env=GIVEN,
        folder=str(folder),
        run_folder=str(folder),
        bootstrap=bootstrap,
    )
    (folder / "request.sh").write_text(render_script(job))
    environment = {"PATH": os.environ["PATH"], **INHERITED}
    command = [*wrapper, "run", str(folder)]
    subprocess.run(command, env=environment, start_new_session=True, check=True, timeout=120)

    env, working, given = json.loads((folder / "stdout.log").read_text())
    added = {"BOOTSTRAPPED": "a"} if bootstrap else {}
    for by_shell in ("PWD", "OLDPWD", "SHLVL", "_"):
        env.pop(by_shell, None)
    env.pop("LC_CTYPE", None)  # Python's own
    assert env.pop("RUNBUS_ATTEMPT") == str(folder)
    assert env == {**environment, **GIVEN, **added}
    assert (working, given) == (str(cwd), list(arguments))
    assert not (cwd / "injected").exists()


@pytest.mark.parametrize("bootstrap", [(), (":",)])
def test_the_program_leads_a_session_whose_number_is_in_the_record(
    wrapper: list[str], tmp_path: Path, bootstrap: tuple[str, ...]
) -> None:
    show = "import os; print(os.getpid(), os.getsid(0), os.getpgid(0))"
    job = JobSpec(
        experiment_id="e",
        name="a",
        run_id="e-1",
        executor="local",
        argv=(sys.executable, "-c", show),
        cwd=str(tmp_path),
        env={},
        folder=str(tmp_path),
        run_folder=str(tmp_path),
        bootstrap=bootstrap,
    )
    (tmp_path / "request.sh").write_text(render_script(job))
    command = [*wrapper, "run", str(tmp_path)]
    subprocess.run(command, start_new_session=True, check=True, timeout=120)

    pid = json.loads((tmp_path / "pid.json").read_text())["pid"]
    assert (tmp_path / "stdout.log").read_text().split() == [str(pid)] * 3


FIRST_THREAD_ENDS = """
import ctypes, signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
threading.Thread(target=threading.Event().wait).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.parametrize("grace", [0, 1])
def test_a_job_whose_first_thread_has_ended_lives_and_is_ended(
    start, cancel, wait_for_line, tmp_path: Path, grace: int
) -> None:
    """The kernel calls it a zombie, while its other threads continue."""
    (tmp_path / "job.py").write_text(FIRST_THREAD_ENDS)
    wrapper = start(tmp_path, f"exec '{sys.executable}' job.py")
    wait_for_line(tmp_path / "stdout.log")
    pid = json.loads((tmp_path / "pid.json").read_text())["pid"]
    while state_of(pid) != "Z":
        os.sched_yield()

    assert is_running(str(tmp_path))
    cancel(tmp_path, grace)
    wrapper.wait(120)

    assert not is_running(str(tmp_path))
    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGKILL


def state_of(pid: int) -> str:
    """Return how the kernel calls the state of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


ESCAPES = {
    "a session of its own": "setsid sleep 600 & echo $!; wait",
    "a session of an orphan": "(setsid sh -c 'echo $$; exec sleep 600' &) ; sleep 600",
    "a process group": "set -m; sleep 600 & echo $!; wait",
    "timeout": "timeout 600 sh -c 'echo $$; exec sleep 600'",
}


@pytest.mark.parametrize("grace", [0, 60])
@pytest.mark.parametrize("escape", ESCAPES)
def test_what_a_job_started_elsewhere_ends_with_it(
    start, cancel, wait_for_line, wait_for_sleep, tmp_path: Path, escape: str, grace: int
) -> None:
    wrapper = start(tmp_path, ESCAPES[escape])
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    wait_for_sleep(pid)

    cancel(tmp_path, grace)

    wrapper.wait(120)
    wait_until(lambda: not is_alive(pid))


def test_what_a_job_started_elsewhere_ends_at_its_time_limit(run_limited, wait_for_line) -> None:
    folder = run_limited(
        "setsid sh -c 'trap : TERM; echo $$; : >ready; while :; do sleep 1; done' & wait"
    )

    pid = int(wait_for_line(folder / "stdout.log"))
    wait_until(lambda: not is_alive(pid))


@pytest.mark.script
def test_a_process_outside_of_the_job_is_left_alone(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    """It has another mark, as what a job of another attempt has, and a session of its own.

    To the program it is the job's all the same, as a child of the job.
    """
    other = f"RUNBUS_ATTEMPT={tmp_path}/other setsid sh -c 'echo $$; exec sleep 600' & wait"
    wrapper = start(tmp_path, other)
    pid = int(wait_for_line(tmp_path / "stdout.log"))

    cancel(tmp_path, 0)
    wrapper.wait(120)

    assert Path(f"/proc/{pid}").exists()
    os.kill(pid, signal.SIGKILL)


def test_a_cancelled_job_that_ends_well_says_that_it_was_cancelled(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")
    wait_for_line(tmp_path / "stdout.log")

    cancel(tmp_path, 60)
    wrapper.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert (seen.exit_code, seen.reason) == (0, CANCELLED)


@pytest.mark.parametrize(("script", "left"), [("sleep 600 & echo $!", True), ("echo 0", False)])
def test_whether_something_outlived_the_job_is_on_record(
    run, tmp_path: Path, script: str, left: bool
) -> None:
    run(tmp_path, f"{{ {script}; }}")

    assert outlived(str(tmp_path)) is left
    if pid := int((tmp_path / "stdout.log").read_text()):
        os.kill(pid, signal.SIGKILL)
