"""What the records of an attempt prove: a heartbeat, a live process, the bytes of a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.processes import open_files

from runbus.abc import Observation
from runbus.attempt import LogTail, Pulse, is_running, observe_folder, observe_start, read_log
from runbus.attempt._evidence import MISSED_BEATS
from runbus.attempt._logs import LINE_LIMIT


def beat(folder: Path, text: str) -> None:
    (folder / "heartbeat").write_text(text)


def test_a_heart_has_stopped_when_too_many_beats_are_missing(tmp_path: Path) -> None:
    (tmp_path / "beat").write_text("2\n")
    beat(tmp_path, "1")
    pulse = Pulse(str(tmp_path), 100.0)
    assert pulse.look(100.0) is False
    assert pulse.look(100.0 + 2 * MISSED_BEATS) is False
    assert pulse.look(100.1 + 2 * MISSED_BEATS) is True
    # It counts when the change was seen, by the clock here, whatever the file says.
    beat(tmp_path, "0")
    assert pulse.look(200.0) is False
    assert pulse.look(200.0 + 2 * MISSED_BEATS) is False
    assert pulse.look(200.1 + 2 * MISSED_BEATS) is True


def test_a_heart_that_never_beats_has_stopped_when_too_many_beats_are_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "beat").write_text("2\n")
    pulse = Pulse(str(tmp_path), 100.0)
    assert pulse.look(100.0 + 2 * MISSED_BEATS) is False
    assert pulse.look(100.1 + 2 * MISSED_BEATS) is True


@pytest.mark.parametrize("text", ["", None], ids=["empty", "gone"])
def test_a_heartbeat_that_cannot_be_read_now_is_no_beat_and_no_end(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "beat").write_text("1")
    beat(tmp_path, "1")
    pulse = Pulse(str(tmp_path), 0.0)
    assert pulse.look(5.0) is False
    if text is None:
        (tmp_path / "heartbeat").unlink()
    else:
        beat(tmp_path, text)
    assert pulse.look(5.0 + MISSED_BEATS) is False
    beat(tmp_path, "1")  # as before: no beat in between
    assert pulse.look(5.1 + MISSED_BEATS) is True


@pytest.mark.parametrize("text", ["", "soon"])
def test_without_a_rhythm_nothing_is_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "beat").write_text(text)
    beat(tmp_path, "1")
    assert Pulse(str(tmp_path), 0.0).look(1e9) is None


PID = {"pid": 8, "start": 1, "boot": "b", "host": "there", "uptime": 1.5}
EXIT = {
    "status": 7, "uptime": 4.0, "user": "1m2.5s", "sys": "0m0.25s", "reason": "its own",
    "max_rss": 4096, "by": "program",
}  # fmt: skip


def test_a_job_that_has_left_no_record_was_not_seen(tmp_path: Path) -> None:
    (tmp_path / "pid.json").write_text('{"pid":')  # not wholly there
    assert observe_folder(str(tmp_path)) is None
    assert observe_start(str(tmp_path)) is None


def test_a_job_runs_from_the_time_of_its_first_record(tmp_path: Path) -> None:
    (tmp_path / "pid.json").write_text(json.dumps(PID))
    os.utime(tmp_path / "pid.json", ns=(20, 20))

    running = Observation(phase="running", host="there", pid=8, started_ns=20, evidence="pid.json")
    assert observe_folder(str(tmp_path)) == running
    assert observe_start(str(tmp_path)) == running


def test_the_exit_record_tells_how_a_job_ended_and_what_it_took(tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_text(json.dumps(EXIT))
    os.utime(tmp_path / "exit.json", ns=(30, 30))
    ended = Observation(
        phase="ended", ended_ns=30, cpu_s=62.75, max_rss_bytes=4096, exit_code=7,
        reason="its own", wrapper="program", evidence="exit.json",
    )  # fmt: skip
    assert observe_folder(str(tmp_path)) == ended

    (tmp_path / "pid.json").write_text(json.dumps(PID))
    os.utime(tmp_path / "pid.json", ns=(20, 20))
    begun = replace(ended, host="there", pid=8, started_ns=20, duration_s=2.5)
    assert observe_folder(str(tmp_path)) == begun

    # A machine that was started anew meanwhile counts from zero.
    killed = {**EXIT, "status": 137, "signal": 9, "uptime": 1.0, "user": "no time"}
    (tmp_path / "exit.json").write_text(json.dumps(killed))
    os.utime(tmp_path / "exit.json", ns=(30, 30))
    assert observe_folder(str(tmp_path)) == replace(
        begun, exit_code=None, signal=9, duration_s=0.0, cpu_s=0.25
    )


def record_of(pid: int) -> dict[str, Any]:
    stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {
        "pid": pid, "start": int(stat[19]), "boot": boot, "host": os.uname().nodename,
        "ns": os.readlink("/proc/self/ns/pid"), "uptime": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "is_alive"),
    [
        ({}, True),
        ({"ns": ""}, True),  # where the system does not tell
        ({"start": 1}, False),
        ({"boot": "00000000-0000-0000-0000-000000000000"}, False),
        ({"host": "elsewhere"}, False),
        ({"ns": "pid:[1]"}, False),
        ({"pid": 1 << 22}, False),
    ],
    ids=["it", "no namespace", "start", "boot", "host", "namespace", "pid"],
)
def test_only_the_very_process_of_the_record_is_the_job(
    tmp_path: Path, changes: dict[str, Any], is_alive: bool
) -> None:
    (tmp_path / "pid.json").write_text(json.dumps({**record_of(os.getpid()), **changes}))
    assert is_running(str(tmp_path)) is is_alive


def test_a_process_that_has_ended_and_was_not_waited_for_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (tmp_path / "pid.json").write_text(json.dumps(record_of(child.pid)))
        assert is_running(str(tmp_path))
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(str(tmp_path))


def told(child: subprocess.Popen[bytes]) -> None:
    """Wait for the line that a process writes when it is ready."""
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"


def test_a_job_that_gives_its_process_any_name_is_still_that_job(tmp_path: Path) -> None:
    program = (
        "open('/proc/self/comm', 'wb').write(b'\\xff) Z 1 (1')\nprint('ready', flush=True); input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        told(child)
        (tmp_path / "pid.json").write_text(json.dumps(record_of(child.pid)))
        assert is_running(str(tmp_path))
        child.communicate(b"\n")


def test_a_log_is_read_from_any_byte_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_bytes(b"0123456789")
    (tmp_path / "stderr.log").write_bytes(b"x" * (LINE_LIMIT + 5))
    assert read_log(str(tmp_path), "stdout", 0) == b"0123456789"
    assert read_log(str(tmp_path), "stdout", 7) == b"789"
    assert read_log(str(tmp_path), "stdout", 70) == b""
    assert len(read_log(str(tmp_path), "stderr", 0)) == LINE_LIMIT
    assert len(read_log(str(tmp_path), "stderr", LINE_LIMIT)) == 5
    assert read_log(str(tmp_path / "none"), "stdout", 0) == b""
    assert open_files(tmp_path) == []


def test_every_time_that_a_log_is_emptied_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail(str(log))
    for number in (1, 2, 3):
        log.write_bytes(b"%d of a kind\n" % number * number)
        assert tail.poll() == b"%d of a kind\n" % number * number
    assert tail.cuts == 2
    assert tail.poll() == b""
    tail.close()
    tail.close()


def test_zeros_that_were_written_are_not_taken_for_a_hole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\0" * 100 + b"\n")
    tail = LogTail(str(log))
    assert tail.poll() == b"\0" * 100 + b"\n"
    with log.open("r+b") as file:
        file.truncate(LINE_LIMIT * 64)
        file.seek(LINE_LIMIT * 64)
        file.write(b"without an end")
    # The rest of the first block is data; then nobody waits for 63 MiB of zeros.
    assert tail.poll(final=True) == b"\0" * LINE_LIMIT
    assert tail.poll(final=True) == b"without an end"
    assert tail.poll(final=True) == b""
    tail.close()


def test_what_was_written_anew_to_the_same_length_is_found_in_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = LogTail(str(log))
    log.write_bytes(b"first\n")
    assert tail.poll() == b"first\n"
    log.write_bytes(b"other\n")
    assert [tail.poll(final=True), tail.poll(final=True)] == [b"other\n", b""]
    assert tail.cuts == 1
    tail.close()
