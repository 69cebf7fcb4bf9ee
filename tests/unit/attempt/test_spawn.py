"""Programs that are started while this process goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runbus.attempt import Starting, spawn
from runbus.testing._waiting import wait_until


def test_a_program_has_a_session_its_variables_and_what_it_reads(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = 'read -r said; echo "$said $GREETING $$ $(ps -o sid= -p $$)" >"$0"; env >>"$0"'
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            words = ("/bin/sh", "-c", script, str(told))
            starting = spawn(words, {b"GREETING": b"hello"}, stdin=theirs.fileno())
        ours.sendall(b"read\n")
        pid = starting.wait()
        _, status = os.waitpid(pid, 0)

    said, *variables = told.read_text().splitlines()
    assert status == 0
    assert said.split() == ["read", "hello", str(pid), str(pid)]
    assert {one.partition("=")[0] for one in variables} <= {
        "GREETING",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }
    assert starting.wait() == pid


def test_signals_are_as_a_new_process_expects_them(tmp_path: Path) -> None:
    script = f"""
import os, signal, sys
from runbus.attempt import spawn
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
# In its own process: a shell blocks all signals while it starts another.
words = ("/bin/sh", "-c", "exec grep -E 'Sig(Blk|Ign)' /proc/self/status >{tmp_path}/told")
os.waitpid(spawn(words, {{}}).wait(), 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)

    masks = dict(line.split(":\t") for line in (tmp_path / "told").read_text().splitlines())
    ours = 1 << signal.SIGTERM - 1 | 1 << signal.SIGPIPE - 1 | 1 << signal.SIGINT - 1
    assert int(masks["SigIgn"], 16) & ours == 0
    assert int(masks["SigBlk"], 16) == 0


def test_what_cannot_be_run_is_told_to_who_waits_and_to_who_writes(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            starting = spawn((str(tmp_path / "none"),), {}, stdin=theirs.fileno())
        assert ours.recv(1) == b""
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            starting.wait()


def test_words_and_descriptors_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nul"):
        Starting([b"a\0b"], [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        Starting([b"/bin/true"], [], stdin=-1)
    with pytest.raises(OSError, match="Invalid argument"):
        Starting([], []).wait()


def test_the_end_of_a_process_is_waited_for_if_asked() -> None:
    pid = Starting([b"/bin/true"], [], reaps=True).wait()

    wait_until(lambda: not Path("/proc", str(pid)).exists())
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
