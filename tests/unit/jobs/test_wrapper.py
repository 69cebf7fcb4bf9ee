"""The wrapper script on real processes, under each shell that is here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from runbus.jobs import WRAPPER, is_running, observe_folder

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [
    pytest.param(["dash"], id="dash"),
    pytest.param(["bash"], id="bash"),
    pytest.param(["busybox", "sh"], id="busybox", marks=pytest.mark.services),
]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    return words


def start(shell: list[str], folder: Path, script: str) -> subprocess.Popen[bytes]:
    """Start the wrapper on a script, which runs as a job's bootstrap lines do."""
    own_session = '${rb_alone:+exec "$rb_alone" sh "$rb_request"}\n'
    (folder / "request.sh.new").write_text(own_session + script)
    (folder / "request.sh.new").rename(folder / "request.sh")
    return subprocess.Popen(
        [*shell, WRAPPER, "run", str(folder)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # As the executor does: whoever runs the tests may ignore it, and so would the job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def cancel(shell: list[str], folder: Path, grace_s: int) -> None:
    subprocess.run([*shell, WRAPPER, "cancel", str(folder), str(grace_s)], check=True, timeout=20)


def wait_for_line(path: Path) -> str:
    """Wait for the first line of a file that a job writes."""
    subprocess.run(["sh", "-c", 'until [ -s "$0" ]; do sleep 0.01; done', str(path)], timeout=20)
    return path.read_text().splitlines()[0]


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127])
def test_the_exit_code_is_recorded(shell: list[str], tmp_path: Path, code: int) -> None:
    start(shell, tmp_path, f"exec sh -c 'exit {code}'").wait(20)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.phase, seen.exit_code, seen.signal) == ("ended", code, None)


def test_the_two_outputs_go_to_two_files_byte_for_byte(shell: list[str], tmp_path: Path) -> None:
    start(shell, tmp_path, r"printf 'out\377\000'; printf 'err' >&2").wait(20)

    assert (tmp_path / "stdout.log").read_bytes() == b"out\xff\x00"
    assert (tmp_path / "stderr.log").read_bytes() == b"err"


def test_a_signal_is_recorded_as_one(shell: list[str], tmp_path: Path) -> None:
    start(shell, tmp_path, "kill -KILL $$").wait(20)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.exit_code, seen.signal) == (None, signal.SIGKILL)


def test_the_job_leads_a_session_of_its_own_and_is_found_by_its_record(
    shell: list[str], tmp_path: Path
) -> None:
    wrapper = start(shell, tmp_path, "echo up; exec sleep 60")
    wait_for_line(tmp_path / "stdout.log")
    pid = json.loads((tmp_path / "pid.json").read_text())["pid"]

    assert is_running(str(tmp_path))
    assert os.getsid(pid) == pid != os.getsid(wrapper.pid)

    cancel(shell, tmp_path, 0)
    wrapper.wait(20)
    assert not is_running(str(tmp_path))


def test_a_job_gets_the_signals_as_they_are_by_default(shell: list[str], tmp_path: Path) -> None:
    """A shell's background child would ignore INT, and Python then has no KeyboardInterrupt."""
    start(shell, tmp_path, "grep SigIgn /proc/self/status").wait(20)

    ignored = int((tmp_path / "stdout.log").read_text().split()[1], 16)
    assert not ignored & (1 << (signal.SIGINT - 1))


def test_cancelling_terms_the_whole_group(shell: list[str], tmp_path: Path) -> None:
    script = "sh -c 'sleep 60 & echo $! ; wait' & trap 'exit 9' TERM; wait"
    wrapper = start(shell, tmp_path, script)
    grandchild = int(wait_for_line(tmp_path / "stdout.log"))

    cancel(shell, tmp_path, 10)
    wrapper.wait(20)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.exit_code == 9
    assert_gone(grandchild)


def assert_gone(pid: int) -> None:
    """Wait for the kernel to bury an orphan."""
    subprocess.run(
        ["sh", "-c", 'while kill -0 "$0" && ! grep -q "^State:.Z" /proc/$0/status; do :; done'],
        stderr=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    status = f"/proc/{pid}/status"
    assert not os.path.exists(status) or "State:\tZ" in open(status).read()  # noqa: SIM115


def test_a_job_that_ignores_term_is_killed_after_the_grace(
    shell: list[str], tmp_path: Path
) -> None:
    wrapper = start(shell, tmp_path, "trap '' TERM; echo up; while :; do sleep 0.05; done")
    wait_for_line(tmp_path / "stdout.log")

    cancel(shell, tmp_path, 1)
    wrapper.wait(20)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGKILL


def test_a_job_cancelled_before_it_began_never_begins(shell: list[str], tmp_path: Path) -> None:
    cancel(shell, tmp_path, 10)
    start(shell, tmp_path, ": >began").wait(20)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGTERM
    assert not (tmp_path / "began").exists()


def test_cancelling_a_job_that_has_ended_changes_nothing(shell: list[str], tmp_path: Path) -> None:
    start(shell, tmp_path, "exit 3").wait(20)
    before = observe_folder(str(tmp_path))

    cancel(shell, tmp_path, 0)

    assert observe_folder(str(tmp_path)) == before


def test_a_pid_that_another_process_has_now_is_left_alone(shell: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        record = {"pid": stranger.pid, "start": 1, "boot": "x", "host": "h", "uptime": 1.0}
        (tmp_path / "pid.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")

        assert not is_running(str(tmp_path))
        cancel(shell, tmp_path, 0)
        assert stranger.poll() is None

        stranger.kill()


def test_a_job_whose_logs_cannot_be_opened_fails_with_that_reason(
    shell: list[str], tmp_path: Path
) -> None:
    (tmp_path / "stdout.log").mkdir()
    start(shell, tmp_path, "exit 0").wait(20)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert seen.reason == "cannot open the log files"


def test_a_grandchild_that_holds_the_output_does_not_delay_the_end(
    shell: list[str], tmp_path: Path
) -> None:
    wrapper = start(shell, tmp_path, "sleep 60 & echo $!")
    wrapper.wait(20)
    os.kill(int((tmp_path / "stdout.log").read_text()), signal.SIGKILL)


def test_the_wrapper_survives_term_and_still_records_the_end(
    shell: list[str], tmp_path: Path
) -> None:
    wrapper = start(shell, tmp_path, "echo up; exec sleep 60")
    wait_for_line(tmp_path / "stdout.log")

    wrapper.terminate()
    cancel(shell, tmp_path, 0)
    wrapper.wait(20)

    assert observe_folder(str(tmp_path)) is not None


def test_no_record_is_no_observation(tmp_path: Path) -> None:
    assert observe_folder(str(tmp_path)) is None
    (tmp_path / "exit.json").write_text('{"status"')
    assert observe_folder(str(tmp_path)) is None


def test_a_job_is_run_once_however_often_it_is_started(shell: list[str], tmp_path: Path) -> None:
    wrappers = [start(shell, tmp_path, "echo ran") for _ in range(5)]
    for wrapper in wrappers:
        wrapper.wait(20)

    assert (tmp_path / "stdout.log").read_text() == "ran\n"


def test_a_job_that_reaches_its_time_limit_says_so(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1 5\n")
    start(shell, tmp_path, "exec sleep 60").wait(20)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.signal, seen.reason) == (signal.SIGTERM, "time limit")


def test_a_job_within_its_time_limit_leaves_no_watch_behind(
    shell: list[str], tmp_path: Path
) -> None:
    (tmp_path / "limit").write_text("4321 5\n")
    start(shell, tmp_path, "exit 0").wait(20)

    found = subprocess.run(["pgrep", "-f", "sleep 4321"], capture_output=True, check=False)
    assert found.stdout == b""


def test_the_processor_time_of_the_job_is_recorded(shell: list[str], tmp_path: Path) -> None:
    start(shell, tmp_path, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").wait(50)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert 0.01 < seen.cpu_s < 30
