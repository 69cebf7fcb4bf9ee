"""What a job finds around it and what it leaves on record, under either wrapper."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import is_alive

from runbus.attempt import CANCELLED, TIME_LIMIT, is_running, observe_folder
from runbus.testing._waiting import wait_until

NOBODY = 65534


def record_of(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / "exit.json").read_text())
    return record


def test_what_a_log_held_before_stays(run, tmp_path: Path) -> None:
    (tmp_path / "stdout.log").write_text("before\n")
    run(tmp_path, "echo after")

    assert (tmp_path / "stdout.log").read_text() == "before\nafter\n"


def test_much_output_is_whole(run, tmp_path: Path) -> None:
    run(tmp_path, "i=0; while [ $i -lt 20 ]; do head -c 100000 /dev/zero; i=$((i + 1)); done")

    assert (tmp_path / "stdout.log").read_bytes() == bytes(2_000_000)


def test_a_job_that_closes_its_outputs_ends_as_any(run, tmp_path: Path) -> None:
    assert run(tmp_path, "exec >&- 2>&-; exit 5").exit_code == 5


def test_a_job_has_no_open_files_but_its_own_three(run, tmp_path: Path) -> None:
    run(tmp_path, "exec ls /proc/self/fd")

    # The fourth is the folder that `ls` reads.
    assert (tmp_path / "stdout.log").read_text().split() == ["0", "1", "2", "3"]


def test_a_job_reads_nothing_from_the_process_that_launched_it(run, tmp_path: Path) -> None:
    run(tmp_path, "readlink /proc/self/fd/0; cat")

    assert (tmp_path / "stdout.log").read_text() == "/dev/null\n"


def test_the_limits_and_the_umask_of_the_launcher_are_the_job_s(
    wrapper: list[str], tmp_path: Path
) -> None:
    (tmp_path / "request.sh").write_text("ulimit -n; umask; : >made\n")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def restrict() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (123, hard))

    subprocess.run(
        [*wrapper, "run", str(tmp_path)], preexec_fn=restrict, check=True, timeout=120,
        start_new_session=True,
    )  # fmt: skip

    limit, umask = (tmp_path / "stdout.log").read_text().split()
    assert (int(limit), int(umask, 8)) == (123, 0o027)


def test_its_files_are_for_those_only_who_may_look_into_their_folder(
    wrapper: list[str], tmp_path: Path
) -> None:
    (tmp_path / "request.sh").write_text("true\n")
    tmp_path.chmod(0o700)

    subprocess.run(
        [*wrapper, "run", str(tmp_path)], check=True, timeout=120, start_new_session=True, umask=0
    )

    made = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    del made["request.sh"]
    assert made.keys() >= {"exit.json", "pid.json", "stdout.log", "stderr.log"}
    assert set(made.values()) == {0o600}


def test_a_group_that_shares_a_folder_shares_the_files_in_it(
    wrapper: list[str], tmp_path: Path
) -> None:
    (tmp_path / "request.sh").write_text("true\n")
    tmp_path.chmod(0o2770)

    subprocess.run(
        [*wrapper, "run", str(tmp_path)], check=True, timeout=120, start_new_session=True, umask=0
    )

    assert (tmp_path / "exit.json").stat().st_mode & 0o777 == 0o660
    assert (tmp_path / "stdout.log").stat().st_mode & 0o777 == 0o660


def test_a_folder_that_is_claimed_is_left_as_it_is(wrapper: list[str], tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_text("claimed")
    (tmp_path / "request.sh").write_text("echo ran\n")

    done = subprocess.run([*wrapper, "run", str(tmp_path)], check=False, timeout=120)

    assert done.returncode == 75
    assert sorted(os.listdir(tmp_path)) == ["exit.json", "request.sh"]
    assert (tmp_path / "exit.json").read_text() == "claimed"


@pytest.mark.parametrize("words", [["run"], ["cancel", "0"]], ids=["run", "cancel"])
def test_a_folder_that_is_not_there_is_refused(
    wrapper: list[str], tmp_path: Path, words: list[str]
) -> None:
    verb, *rest = words
    command = [*wrapper, verb, str(tmp_path / "missing"), *rest]
    done = subprocess.run(command, check=False, timeout=120, stderr=subprocess.DEVNULL)

    assert done.returncode == 111
    assert os.listdir(tmp_path) == []


def test_the_record_of_the_process_names_its_machine_and_boot(run, tmp_path: Path) -> None:
    run(tmp_path, "echo $$")

    record = json.loads((tmp_path / "pid.json").read_text())
    assert record["pid"] == int((tmp_path / "stdout.log").read_text())
    assert record["host"] == os.uname().nodename
    assert record["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert record["ns"] in {"", os.readlink("/proc/self/ns/pid")}


def test_start_and_end_are_told_by_a_clock_that_is_never_set(run, tmp_path: Path) -> None:
    before = float(Path("/proc/uptime").read_text().split()[0])
    run(tmp_path, "sleep 0.05")
    after = float(Path("/proc/uptime").read_text().split()[0])

    began = json.loads((tmp_path / "pid.json").read_text())["uptime"]
    ended = record_of(tmp_path)["uptime"]
    assert isinstance(ended, float)
    assert before <= began < ended <= after


def test_the_end_is_one_line_of_json(run, tmp_path: Path) -> None:
    run(tmp_path, "exit 3")

    text = (tmp_path / "exit.json").read_bytes()
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    expected = {"status", "signal", "reason", "uptime", "user", "sys", "outlived"}
    assert expected <= set(record_of(tmp_path))


def test_a_job_that_spoils_its_own_records_still_has_its_end_on_record(run, tmp_path: Path) -> None:
    seen = run(tmp_path, "echo nonsense >pid.json; rm -f wrapper.log request.sh; exit 6")

    assert seen.exit_code == 6


def test_a_wrapper_whose_launcher_is_killed_continues(
    wrapper: list[str], wait_for_line, cancel, tmp_path: Path
) -> None:
    (tmp_path / "request.sh").write_text("echo up; exec sleep 600\n")
    launcher = ["sh", "-c", '"$@" & kill -9 $$', "sh", *wrapper, "run", str(tmp_path)]
    subprocess.run(launcher, check=False, timeout=120, start_new_session=True)
    wait_for_line(tmp_path / "stdout.log")

    cancel(tmp_path, 0)

    loop = 'until grep -q status "$0"; do sleep 0.01; done'
    subprocess.run(["sh", "-c", loop, str(tmp_path / "exit.json")], timeout=120, check=True)
    assert record_of(tmp_path)["signal"] == signal.SIGKILL


def test_that_an_end_was_asked_for_is_on_record(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "echo up; exec sleep 600")
    wait_for_line(tmp_path / "stdout.log")
    cancel(tmp_path, 0)
    wrapper.wait(120)

    assert (tmp_path / "cancel").exists()
    assert record_of(tmp_path)["reason"] == CANCELLED


def test_a_time_limit_without_grace_kills_at_once(run_limited) -> None:
    folder = run_limited(
        "trap 'echo heard' TERM; : >ready; while :; do sleep 0.05; done", has_grace=False
    )

    seen = observe_folder(str(folder))
    assert seen is not None
    assert (seen.signal, seen.reason) == (signal.SIGKILL, TIME_LIMIT)
    assert (folder / "expired").exists()
    assert (folder / "stdout.log").read_bytes() == b""


def test_a_job_that_ignores_its_time_limit_is_killed_after_the_grace(run_limited) -> None:
    folder = run_limited("trap 'echo heard; : >ready' TERM; while :; do sleep 0.05; done")

    seen = observe_folder(str(folder))
    assert seen is not None
    assert (seen.signal, seen.reason) == (signal.SIGKILL, TIME_LIMIT)
    assert (folder / "stdout.log").read_text() == "heard\n"


def test_a_job_that_ends_within_its_time_limit_has_no_reason(run, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("60 1\n")
    seen = run(tmp_path, "exit 4")

    assert (seen.exit_code, seen.reason) == (4, "")
    assert not (tmp_path / "expired").exists()


def test_a_second_cancel_without_grace_ends_a_job_that_has_time_left(
    start, wrapper: list[str], cancel, wait_for_line, tmp_path: Path
) -> None:
    job = start(tmp_path, "trap 'echo heard' TERM; echo up; while :; do sleep 0.05; done")
    wait_for_line(tmp_path / "stdout.log")
    with subprocess.Popen([*wrapper, "cancel", str(tmp_path), "60"]) as first:
        loop = 'until grep -q heard "$0"; do sleep 0.01; done'
        subprocess.run(["sh", "-c", loop, str(tmp_path / "stdout.log")], timeout=120, check=True)

        cancel(tmp_path, 0)
        job.wait(120)
        first.wait(120)

    assert record_of(tmp_path)["signal"] == signal.SIGKILL


def test_a_job_that_has_stopped_itself_hears_the_end(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "trap 'exit 7' TERM; echo $$; kill -STOP $$; sleep 600")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    loop = 'until grep -q "^State:.T" "/proc/$0/status"; do sleep 0.01; done'
    subprocess.run(["sh", "-c", loop, str(pid)], timeout=120, check=True)

    cancel(tmp_path, 60)
    wrapper.wait(120)

    assert record_of(tmp_path)["status"] == 7


def test_a_wrapper_that_is_stopped_keeps_nobody(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    wrapper = start(tmp_path, "echo $$; exec sleep 600")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    wrapper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, wrapper.pid, os.WSTOPPED | os.WNOWAIT)

    cancel(tmp_path, 5)

    wait_until(lambda: not is_alive(pid))
    wrapper.send_signal(signal.SIGCONT)
    wrapper.wait(120)
    assert record_of(tmp_path)["signal"] == signal.SIGTERM


def test_an_orphan_is_found_by_its_mark_when_the_wrapper_was_killed(
    start, cancel, wait_for_line, wait_for_sleep, tmp_path: Path
) -> None:
    orphan = "(setsid sh -c 'echo $$ >orphan; exec sleep 600' &); "
    wrapper = start(tmp_path, orphan + "echo $$; exec sleep 600")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    child = int(wait_for_line(tmp_path / "orphan"))
    wait_for_sleep(child)
    wrapper.kill()
    wrapper.wait(120)
    record = json.loads((tmp_path / "pid.json").read_text()) | {"cgroup": ""}
    (tmp_path / "pid.json").write_text(json.dumps(record, separators=(",", ":")) + "\n")

    cancel(tmp_path, 60)

    wait_until(lambda: not is_alive(pid) and not is_alive(child))


def test_a_deep_tree_of_processes_ends_as_a_whole(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    deep = 'n=$1; echo $$ >>pids; [ "$n" -gt 0 ] && setsid sh deep.sh $((n - 1)) & echo up; wait'
    (tmp_path / "deep.sh").write_text(deep)
    wrapper = start(tmp_path, "exec sh deep.sh 6")
    loop = 'until [ "$(wc -l <"$0")" -eq 7 ]; do sleep 0.01; done'
    wait_for_line(tmp_path / "pids")
    subprocess.run(["sh", "-c", loop, str(tmp_path / "pids")], timeout=120, check=True)

    cancel(tmp_path, 60)
    wrapper.wait(120)

    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_job_that_becomes_another_user_s_is_ended(
    start, cancel, wait_for_line, tmp_path: Path
) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    wrapper = start(tmp_path, f"echo $$; exec {become} sleep 600")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    assert is_running(str(tmp_path))

    cancel(tmp_path, 60)
    wrapper.wait(120)

    wait_until(lambda: not is_alive(pid))
    assert record_of(tmp_path)["signal"] == signal.SIGTERM


TRACER = """
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
assert libc.ptrace(0x4206, pid, None, None) == 0, os.strerror(ctypes.get_errno())  # PTRACE_SEIZE
print("traces", flush=True)
signal.alarm(120)  # whatever goes wrong, it ends
while True:
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        break
    libc.ptrace(7, pid, None, os.WSTOPSIG(status))  # PTRACE_CONT, with the signal
"""


def test_a_job_that_is_traced_is_ended(start, cancel, wait_for_line, tmp_path: Path) -> None:
    wrapper = start(tmp_path, "echo $$; exec sleep 600")
    pid = int(wait_for_line(tmp_path / "stdout.log"))
    with subprocess.Popen(
        [sys.executable, "-c", TRACER, str(pid)], stdout=subprocess.PIPE, text=True
    ) as tracer:
        assert tracer.stdout is not None
        if tracer.stdout.readline() != "traces\n":
            pytest.skip("this machine lets nobody trace")

        cancel(tmp_path, 60)
        wrapper.wait(120)

    assert record_of(tmp_path)["signal"] == signal.SIGTERM
