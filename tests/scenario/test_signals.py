"""Real signals in real processes: §5.8, §6."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

PRELUDE = """
import asyncio, logging, sys, time
from runbus.events import Shutdown
from runbus.kernel import Kernel
from runbus.testing import FakePlugin

# An event loop that is blocked, or a machine that stalls, is told of, too.
logging.getLogger("runbus.kernel").addFilter(lambda told: "has blocked" not in told.msg)

def say(word):
    print(word, flush=True)

async def forever():
    await asyncio.Event().wait()
"""

GRACEFUL = """
async def told(event):
    say(f"told {event.reason}")

async def main():
    async with Kernel(plugins=[FakePlugin("p", {Shutdown: told})], signals=True):
        say("ready")
        try:
            await forever()
        finally:
            say("body ended")
    say("never said")

asyncio.run(main())
"""

SLOW = """
async def told(event):
    say("told")
    await forever()

async def main():
    plugins = [FakePlugin("p", {Shutdown: told})]
    async with Kernel(plugins=plugins, signals=True, shutdown_budget_s=1000):
        say("ready")
        await forever()

asyncio.run(main())
"""

BLOCKED = """
import os, signal
from runbus.kernel import _signals

async def main():
    {first}
    async with Kernel(signals=True, shutdown_budget_s=1000):
        ours = signal.getsignal(signal.SIGTERM)

        def handle(number, frame):
            ours(number, frame)
            os.write(1, b"heard\\n")

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)
        say("ready")
        {block}

asyncio.run(main())
"""
"""Says when a signal was taken in: those that wait together count once."""

SLEEPING = "exec('while True: time.sleep(0.05)')"
"""Not one long sleep: a signal that comes just as that begins is taken in at its end."""

RESTORED = """
import signal
before = signal.getsignal(signal.SIGTERM)
async def main():
    async with Kernel(signals=True):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    say("restored")
asyncio.run(main())
"""

OWN_ERROR = """
async def main():
    async with Kernel(signals=True):
        say("ready")
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError("own")

asyncio.run(main())
"""


class Child:
    """A Python process whose lines can be awaited and which can be signalled."""

    def __init__(self, code: str, *, uvloop: bool = False) -> None:
        prelude = "import uvloop\nuvloop.install()\n" if uvloop else ""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", prelude + PRELUDE + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"{word!r} was never said: {self.process.communicate()[1]}")

    def kill(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, timeout: float = 120.0) -> tuple[int, str, str]:
        """Return how it ended; what it waits for by itself takes longer than this waits."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out, err


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_in_order_with_the_status_of_the_signal(number, uvloop):
    child = Child(GRACEFUL, uvloop=uvloop)
    child.wait_for("ready")
    child.kill(number)
    status, out, err = child.end()

    assert out.split("\n")[:-1] == ["body ended", f"told signal {int(number)}"]
    assert err == ""
    assert status == 128 + number


def test_the_second_signal_ends_long_before_the_time_that_the_first_one_leaves():
    child = Child(SLOW)
    child.wait_for("ready")
    child.kill(signal.SIGINT)
    child.wait_for("told")
    child.kill(signal.SIGINT)
    status, _, _ = child.end()

    assert status == 130


def test_the_third_signal_ends_at_once_even_while_the_event_loop_is_blocked():
    # The watchdog of the second one must not come before the third.
    child = Child(BLOCKED.format(first="_signals.FAST_S = 1000", block=SLEEPING))
    child.wait_for("ready")
    for number in (signal.SIGINT, signal.SIGINT):
        child.kill(number)
        child.wait_for("heard")
    child.kill(signal.SIGTERM)
    status, _, err = child.end()

    assert status == 143
    assert err == ""


@pytest.mark.parametrize(
    "block", [SLEEPING, "exec('while True: pass')"], ids=["sleeping", "computing"]
)
def test_a_second_signal_ends_a_blocked_loop_with_the_stacks_of_all_threads(block):
    child = Child(BLOCKED.format(first="pass", block=block))
    child.wait_for("ready")
    child.kill(signal.SIGTERM)
    child.wait_for("heard")
    child.kill(signal.SIGTERM)
    status, _, err = child.end()

    assert status == 1
    assert "Timeout" in err
    assert "most recent call first" in err


def test_the_stacks_are_written_to_the_real_stderr_whatever_stands_in_its_place():
    replaced = "import io; sys.stderr = io.StringIO()"
    child = Child(BLOCKED.format(first=replaced, block=SLEEPING))
    child.wait_for("ready")
    child.kill(signal.SIGTERM)
    child.wait_for("heard")
    child.kill(signal.SIGTERM)
    status, _, err = child.end()

    assert status == 1
    assert "most recent call first" in err


def test_the_handlers_that_were_there_before_are_put_back():
    status, out, err = Child(RESTORED).end()

    assert (status, out, err) == (0, "restored\n", "")


def test_an_error_of_the_block_wins_over_the_signal():
    child = Child(OWN_ERROR)
    child.wait_for("ready")
    child.kill(signal.SIGTERM)
    status, _, err = child.end()

    assert status == 1
    assert "KeyError: 'own'" in err


async def test_signals_outside_of_the_main_thread_are_refused():
    import asyncio

    from runbus.kernel import Kernel

    async def run():
        async with Kernel(signals=True):
            pass

    with pytest.raises(RuntimeError, match="main thread only"):
        await asyncio.to_thread(lambda: asyncio.run(run()))
