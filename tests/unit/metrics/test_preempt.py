"""What a task does before its machine is taken away."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
from tests.processes import is_asleep

import runbus
from runbus.errors import UsageError
from runbus.testing._waiting import wait_until

_TASK = """
import os, signal, sys, time
import runbus
{before}
@runbus.on_preempt
def save():
    {body}
    print("saved", flush=True)
{after}
print("up", flush=True)
{then}
time.sleep(100)
"""


def told(
    number: int,
    *,
    body: str = "pass",
    before: str = "",
    after: str = "",
    then: str = "",
    **env: str,
) -> tuple[int, str, str]:
    """Send a signal to a task that has something to save; return how it ended and what it wrote."""
    task = subprocess.Popen(
        [sys.executable, "-c", _TASK.format(body=body, before=before, after=after, then=then)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": "", **env},
    )  # fmt: skip
    assert task.stdout is not None
    assert task.stderr is not None
    try:
        heard = ""
        while "up" not in heard:
            line = task.stdout.readline()
            assert line
            heard += line
        if number:
            # Until it sleeps: what comes between Python's last look for signals and that waits for
            # the end of it.
            wait_until(lambda: is_asleep(task.pid))
        task.send_signal(number)
        # What came with the line that was read is in the file's buffer, of which communicate()
        # knows nothing.
        out, err = task.stdout.read(), task.stderr.read()
        task.wait(120)
    finally:
        task.kill()
        task.communicate()
    return task.returncode, out, err


@pytest.mark.parametrize(
    ("number", "env"),
    [
        (signal.SIGTERM, {}),
        (signal.SIGTERM, {"RUNBUS_NOTICE_SIGNAL": "KILL"}),
        (signal.SIGTERM, {"RUNBUS_NOTICE_SIGNAL": "no such"}),
        (signal.SIGUSR1, {"RUNBUS_NOTICE_SIGNAL": "USR1"}),
        (signal.SIGUSR2, {"RUNBUS_NOTICE_SIGNAL": str(int(signal.SIGUSR2))}),
    ],
    ids=["term", "kill", "unknown", "announced", "by-number"],
)
def test_a_task_saves_and_ends_by_the_signal(number: int, env: dict[str, str]) -> None:
    assert told(number, **env) == (-number, "saved\n", "")


def test_another_signal_does_not_cut_off_what_is_being_saved() -> None:
    body = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.05)"

    code, out, _ = told(signal.SIGUSR1, body=body, RUNBUS_NOTICE_SIGNAL="USR1")

    assert (code, out) == (-signal.SIGUSR1, "saved\n")


def test_a_handler_that_was_there_is_called_after_that() -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: (print('mine'), sys.exit(3)))"

    assert told(signal.SIGTERM, before=before) == (3, "saved\nmine\n", "")


def test_an_error_of_one_keeps_no_other_from_being_called() -> None:
    before = "runbus.on_preempt(lambda: 1 / 0)"

    code, out, err = told(signal.SIGTERM, before=before)

    assert (code, out) == (-signal.SIGTERM, "saved\n")
    assert "ZeroDivisionError" in err


def test_only_the_first_rank_ends_and_the_others_go_on() -> None:
    has_saved = {"before": "saves = []", "body": "saves.append(1)"}
    go_on = "while not saves: time.sleep(0.01)\nprint('went on', flush=True); os._exit(0)"
    ends = [told(signal.SIGTERM, then=go_on, RANK=rank, **has_saved)[:2] for rank in ("0", "1")]

    assert ends == [(-signal.SIGTERM, "saved\n"), (0, "saved\nwent on\n")]


def test_a_child_of_the_task_has_nothing_to_save() -> None:
    after = """
ready, begun = os.pipe()
pid = os.fork()
if not pid:
    os.write(begun, b".")
    time.sleep(10)
    os._exit(0)
os.read(ready, 1)
os.kill(pid, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -15
"""
    assert told(signal.SIGTERM, after=after) == (-signal.SIGTERM, "saved\n", "")


def test_a_signal_that_comes_amid_a_print_is_heeded_after_it() -> None:
    """A print within a print is an error of Python: what is called may print."""
    before = """
import io
class Slow(io.RawIOBase):
    def writable(self): return True
    def write(self, data):
        if b"mine" in bytes(data): os.kill(os.getpid(), signal.SIGTERM)
        return os.write(1, data)
sys.stdout = io.TextIOWrapper(io.BufferedWriter(Slow()))
"""
    # It sends the signal to itself, amid a print that comes once all is up.
    then = "print('mine', flush=True)"
    code, out, err = told(0, before=before, then=then)
    assert (code, out, err) == (-signal.SIGTERM, "mine\nsaved\n", "")


def test_it_is_asked_for_in_the_main_thread() -> None:
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            runbus.on_preempt(lambda: None)
        except UsageError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert "main thread" in str(errors[0])
