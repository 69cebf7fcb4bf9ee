"""The wrapper script on real processes, under each shell that is here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.processes import is_alive

from runbus.attempt import CANCELLED, TIME_LIMIT, is_running, observe_folder
from runbus.testing._waiting import wait_until


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127])
def test_the_exit_code_is_recorded(start, tmp_path: Path, code: int) -> None:
    start(tmp_path, f"exec sh -c 'exit {code}'").wait(120)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.phase, seen.exit_code, seen.signal) == ("ended", code, None)


def test_the_two_outputs_go_to_two_files_byte_for_byte(start, tmp_path: Path) -> None:
    start(tmp_path, r"printf 'out\377\000'; printf 'err' >&2").wait(120)

    assert (tmp_path / "stdout.log").read_bytes() == b"out\xff\x00"
    assert (tmp_path / "stderr.log").read_bytes() == b"err"


def test_a_signal_is_recorded_as_one(start, tmp_path: Path) -> None:
    start(tmp_path, "kill -KILL $$").wait(120)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.exit_code, seen.signal) == (None, signal.SIGKILL)


def test_the_job_leads_a_session_of_its_own_and_is_found_by_its_record(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "echo up; exec sleep 600")
    wait_for_line(tmp_path / "stdout.log")
    pid = json.loads((tmp_path / "pid.json").read_text())["pid"]

    assert is_running(str(tmp_path))
    assert os.getsid(pid) == pid != os.getsid(wrapper.pid)

    cancel(tmp_path, 0)
    wrapper.wait(120)
    assert not is_running(str(tmp_path))


def test_a_job_gets_the_signals_as_they_are_by_default(start, tmp_path: Path) -> None:
    """A shell's background child would ignore INT, and Python then has no KeyboardInterrupt."""
    start(tmp_path, "grep SigIgn /proc/self/status").wait(120)

    ignored = int((tmp_path / "stdout.log").read_text().split()[1], 16)
    assert not ignored & (1 << (signal.SIGINT - 1))


def test_cancelling_terms_the_whole_group(start, cancel, wait_for_line, tmp_path: Path) -> None:
    script = "trap 'exit 9' TERM; sh -c 'sleep 600 & echo $! ; wait' & wait"
    wrapper = start(tmp_path, script)
    grandchild = int(wait_for_line(tmp_path / "stdout.log"))

    cancel(tmp_path, 60)
    wrapper.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.exit_code == 9
    wait_until(lambda: not is_alive(grandchild))


def test_a_job_that_ignores_term_is_killed_after_the_grace(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.05; done")
    wait_for_line(tmp_path / "stdout.log")

    cancel(tmp_path, 1)
    wrapper.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGKILL


def test_a_job_cancelled_before_it_began_never_begins(start, cancel, tmp_path: Path) -> None:
    cancel(tmp_path, 60)
    start(tmp_path, ": >began").wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert seen.signal == signal.SIGTERM
    assert not (tmp_path / "began").exists()


def test_cancelling_a_job_that_has_ended_changes_nothing(start, cancel, tmp_path: Path) -> None:
    start(tmp_path, "exit 3").wait(120)
    before = observe_folder(str(tmp_path))

    cancel(tmp_path, 0)

    assert observe_folder(str(tmp_path)) == before


def test_cancelling_a_job_that_has_ended_leaves_alone_what_outlived_it(
    start, cancel, tmp_path: Path
) -> None:
    start(tmp_path, "sleep 600 & echo $!").wait(120)
    outlived = int((tmp_path / "stdout.log").read_text())

    cancel(tmp_path, 1)

    state = Path(f"/proc/{outlived}/stat").read_text().rpartition(")")[2].split()[0]
    os.kill(outlived, signal.SIGKILL)
    assert state not in "TtZX"  # neither stopped nor dead; it may wait for the disk


def test_a_job_whose_logs_cannot_be_opened_fails_with_that_reason(start, tmp_path: Path) -> None:
    (tmp_path / "stdout.log").mkdir()
    start(tmp_path, "exit 0").wait(120)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert seen.reason == "cannot open the log files"


def test_a_grandchild_that_holds_the_output_does_not_delay_the_end(start, tmp_path: Path) -> None:
    wrapper = start(tmp_path, "sleep 600 & echo $!")
    wrapper.wait(120)
    os.kill(int((tmp_path / "stdout.log").read_text()), signal.SIGKILL)


def test_the_wrapper_survives_its_launcher_s_signals_and_still_records_the_end(
    start, cancel, wait_for_line, tmp_path: Path, wrapper: list[str]
) -> None:
    running = start(tmp_path, "echo up; exec sleep 600")
    wait_for_line(tmp_path / "stdout.log")

    # TERM to the program is a cancel: that has a test of its own.
    for number in (signal.SIGINT, signal.SIGHUP, *[signal.SIGTERM] * (len(wrapper) > 1)):
        running.send_signal(number)
    cancel(tmp_path, 0)
    running.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert (seen.phase, seen.signal) == ("ended", signal.SIGKILL)


@pytest.mark.script
@pytest.mark.parametrize(("asked", "reason"), [("cancel", CANCELLED), ("expired", TIME_LIMIT)])
def test_an_end_that_is_asked_for_before_the_record_of_the_process_ends_the_job(
    start, tmp_path: Path, asked: str, reason: str
) -> None:
    """A request for it then finds no process yet; the job finds the file that says so."""
    record = tmp_path / "pid.json"
    os.mkfifo(record)
    wrapper = start(tmp_path, "echo ran")
    # The job's process is there, so the wrapper is past its first look for a cancel; it cannot go
    # on before somebody reads its record.
    children = Path(f"/proc/{wrapper.pid}/task/{wrapper.pid}/children")
    wait_until(lambda: (tmp_path / "exit.json").exists() and children.read_text())
    (tmp_path / asked).touch()
    assert record.read_bytes().startswith(b'{"pid":')
    # At the end it reads the record itself.
    record.write_bytes(b"\n")
    wrapper.wait(120)

    ended = json.loads((tmp_path / "exit.json").read_text())
    assert (ended["status"], ended["reason"]) == (128 + signal.SIGTERM, reason)
    assert (tmp_path / "stdout.log").read_bytes() == b""


def test_no_record_is_no_observation(tmp_path: Path) -> None:
    assert observe_folder(str(tmp_path)) is None
    (tmp_path / "exit.json").write_text('{"status"')
    assert observe_folder(str(tmp_path)) is None


def test_a_job_is_run_once_however_often_it_is_started(start, tmp_path: Path) -> None:
    wrappers = [start(tmp_path, "echo ran") for _ in range(5)]
    for wrapper in wrappers:
        wrapper.wait(120)

    assert (tmp_path / "stdout.log").read_text() == "ran\n"


def test_a_job_that_reaches_its_time_limit_says_so(start, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("1 5\n")
    start(tmp_path, "exec sleep 600").wait(120)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert (seen.signal, seen.reason) == (signal.SIGTERM, "time limit")


def test_a_job_that_has_ended_leaves_no_watch_behind(start, tmp_path: Path) -> None:
    of_this_test = f"4321{os.getpid()}"  # other processes of this machine sleep, too
    (tmp_path / "limit").write_text(f"{of_this_test} 5\n")
    (tmp_path / "beat").write_text(f"{of_this_test}\n")
    start(tmp_path, "exit 0").wait(120)

    # They are killed: the system may take a moment for that, and they would sleep for hours.
    loop = r'while pgrep -f "sleep $0\$" >/dev/null; do sleep 0.01; done'
    subprocess.run(["sh", "-c", loop, of_this_test], timeout=120, check=True)


def test_the_processor_time_of_the_job_is_recorded(start, tmp_path: Path) -> None:
    start(tmp_path, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").wait(120)

    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert 0.01 < seen.cpu_s < 30
