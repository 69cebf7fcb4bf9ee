"""How a job ended: its own exit, a signal, want of memory; and what nobody can tell."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from runbus.attempt import observe_folder
from runbus.jobs import JobState, verdict


@pytest.mark.parametrize("code", [128, 129, 134, 137, 139, 143, 147, 192, 193, 255])
def test_a_status_of_its_own_is_no_signal(run, tmp_path: Path, code: int) -> None:
    seen = run(tmp_path, f"exit {code}")

    assert (seen.exit_code, seen.signal, seen.reason) == (code, None, "")


@pytest.mark.parametrize("name", ["HUP", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "ALRM", "TERM"])
def test_a_signal_is_no_status_of_its_own(run, tmp_path: Path, name: str) -> None:
    seen = run(tmp_path, f"ulimit -c 0; kill -{name} $$")

    assert (seen.exit_code, seen.signal) == (None, signal.Signals[f"SIG{name}"])
    assert seen.reason == ""


def test_a_signal_that_has_no_name_is_told_by_its_number(run, tmp_path: Path) -> None:
    seen = run(tmp_path, "kill -40 $$")

    assert verdict(seen, None) == (JobState.FAILED, "killed by signal 40")


@pytest.mark.parametrize("end", ["exit 130", "kill -INT $$"])
def test_what_a_shell_does_not_tell_is_not_guessed(
    run, wrapper: list[str], tmp_path: Path, end: str
) -> None:
    seen = run(tmp_path, end)

    if len(wrapper) == 1:
        # The program is told by the kernel.
        assert (seen.exit_code, seen.signal) == ((130, None) if "130" in end else (None, 2))
        return

    state, reason = verdict(seen, None)
    assert (seen.exit_code, seen.signal, state) == (130, None, JobState.FAILED)
    assert reason == "exit status 130 or signal 2: its shell does not say which"


def test_a_kill_from_outside_is_recorded(start, wait_for_line, tmp_path: Path) -> None:
    wrapper = start(tmp_path, "echo $$; exec sleep 600")
    os.kill(int(wait_for_line(tmp_path / "stdout.log")), signal.SIGKILL)
    wrapper.wait(120)

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert verdict(seen, None) == (JobState.FAILED, "killed by SIGKILL")


GROUP = """
mkdir job && mount -t tmpfs none /sys/fs/cgroup || exit 77
group=/sys/fs/cgroup; mkdir -p "$group/memory"
printf 'low 0\\noom 0\\noom_kill 0\\n' >"$group/FILE"
printf '%s\\n' 'KILL' '${rb_alone:+exec "$rb_alone" sh "$rb_request"}' 'kill -9 $$' >job/request.sh
"$@" run "$PWD/job"
cat job/exit.json
"""


@pytest.mark.parametrize("file", ["memory.events", "memory/memory.oom_control"])
@pytest.mark.parametrize("kills", [0, 1])
def test_out_of_memory_is_distinguished_from_another_kill(
    in_a_world, file: str, kills: int
) -> None:
    """The kernel counts its own kills; the job here counts for it."""
    kill = f'[ {kills} = 0 ] || echo "oom_kill 1" >/sys/fs/cgroup/{file}'
    record = in_a_world("size=1M", GROUP.replace("FILE", file).replace("KILL", kill))

    assert '"signal":9' in record
    assert ('"reason":"out of memory"' in record) == bool(kills)


FULL = """
mkdir job
printf '%s\\n' 'head -c 1000000 /dev/zero; exit 3' >job/request.sh
"$@" run "$PWD/job"
df . | tail -1 >&2
cat job/exit.json
"""


def test_the_end_is_recorded_on_a_disk_that_the_job_has_filled(in_a_world) -> None:
    record = in_a_world("size=256k", FULL)

    assert '{"status":3,' in record


FULL_FROM_THE_START = """
mkdir job
printf '%s\\n' 'echo ran >ran' >job/request.sh
cat /dev/zero >room 2>/dev/null
"$@" run "$PWD/job"
cat job/exit.json
[ -s room ] && [ ! -e job/ran ]
"""


def test_a_job_without_room_for_its_records_does_not_run_and_says_so(in_a_world) -> None:
    """At once, though the disk stays full: nobody need be there who could hear of it later."""
    record = in_a_world("size=64k", FULL_FROM_THE_START)

    end = json.loads(record)
    assert (end["status"], end["signal"]) == (126, None)
    assert end["reason"] == "no space for its records"


def test_the_record_has_its_place_before_the_end(start, cancel, wait_for_line, tmp_path) -> None:
    """Whole or not there, though it is written in place: blank is not there."""
    wrapper = start(tmp_path, "echo up; exec sleep 600")
    wait_for_line(tmp_path / "stdout.log")
    blank = (tmp_path / "exit.json").read_bytes()
    seen = observe_folder(str(tmp_path))

    assert seen is not None
    assert seen.phase == "running"

    cancel(tmp_path, 0)
    wrapper.wait(120)
    record = (tmp_path / "exit.json").read_bytes()
    assert len(record) == len(blank)
    for length in range(1, len(record.rstrip())):
        (tmp_path / "exit.json").write_bytes(record[:length] + blank[length:])
        assert observe_folder(str(tmp_path)) == seen


def test_a_clock_set_back_an_hour_makes_no_span_negative(run, tmp_path: Path) -> None:
    run(tmp_path, "exit 0")
    hour_ago = time.time() - 3600
    os.utime(tmp_path / "exit.json", (hour_ago, hour_ago))

    seen = observe_folder(str(tmp_path))
    assert seen is not None
    assert 0 <= seen.duration_s < 60
