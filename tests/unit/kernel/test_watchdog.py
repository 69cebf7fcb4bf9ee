from __future__ import annotations

import asyncio
import gc
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from runbus.bus import Bus
from runbus.events import Notify
from runbus.kernel import Kernel
from runbus.kernel._watchdog import LagWatchdog
from runbus.testing import FakePlugin
from runbus.testing._waiting import until, wait_until


class Fact(Notify, frozen=True):
    pass


async def test_a_blocked_event_loop_is_told_with_the_plugin_and_its_stack(caplog):
    # Not what the bus says of a slow handler, nor what stands in a stack.
    told = re.compile(r"plugin 'rude': \S+blocks has blocked the event loop")

    def blocks(event):
        wait_until(lambda: told.search(caplog.text))

    async with Kernel(plugins=[FakePlugin("rude", {Fact: blocks})]) as kernel:
        # A block is told of once: one of the machine, before, may go on into the first of these.
        for _ in range(5):
            await kernel.bus.publish(Fact())
        blocked = kernel.health().loop_blocked
        lag_s = await until(lambda: kernel.health().loop_lag_s)

    assert blocked >= 1
    assert lag_s > 0
    assert told.search(caplog.text)
    assert "in blocks" in caplog.text


async def test_what_watches_a_kernel_ends_with_it():
    threads, handlers = watchdogs(), signals()
    async with Kernel(signals=True):
        (watchdog,) = watchdogs() - threads
        assert {*signals()}.isdisjoint(handlers)

    assert signals() == handlers
    await until(lambda: not watchdog.is_alive())


def watchdogs():
    return {one for one in threading.enumerate() if one.name == "runbus watchdog"}


def signals():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_the_watchdog_ends_with_an_event_loop_that_never_answers_it(caplog):
    async def begin() -> threading.Thread:
        before = set(threading.enumerate())
        LagWatchdog(Bus(), limit_s=0.01).open()
        (thread,) = (
            one for one in set(threading.enumerate()) - before if one.name == "runbus watchdog"
        )
        return thread

    loop = asyncio.new_event_loop()
    thread = loop.run_until_complete(begin())
    wait_until(lambda: "has blocked" in caplog.text)
    loop.close()
    thread.join(120)
    assert not thread.is_alive()


def test_one_block_is_told_of_once_with_its_stack_and_counts_once(caplog):
    def blocks(watchdog: LagWatchdog) -> None:
        watchdog.open()
        wait_until(lambda: "has blocked" in caplog.text)
        time.sleep(0.3)  # it blocks on for many times the limit

    async def main() -> LagWatchdog:
        watchdog = LagWatchdog(Bus(), limit_s=0.01)
        blocks(watchdog)
        await until(lambda: watchdog.lag_s)
        watchdog.close()
        return watchdog

    told_before, threads, began = len(caplog.messages), watchdogs(), time.monotonic()
    watchdog = asyncio.run(main())
    # It counts a block before it tells of it, and may be at that.
    wait_until(lambda: not watchdogs() - threads)
    took_s = time.monotonic() - began

    told = caplog.messages[told_before:]
    assert watchdog.blocked == len(told)
    assert sum("in blocks" in one for one in told) == 1
    first, *stack = told[0].splitlines()
    assert all(line.startswith("  ") for line in stack)
    assert first == "something outside of the bus has blocked the event loop for more than 0.01 s:"
    assert 0 < watchdog.lag_s <= took_s


class Asked(asyncio.SelectorEventLoop):
    """Answers a question when it is told to, or at once."""

    def __init__(self) -> None:
        super().__init__()
        self.is_prompt = False
        self.answer: Callable[[], object] = lambda: None
        self.asked_s: list[float] = []

    def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[override]
        self.asked_s.append(time.monotonic())
        self.answer = callback
        if self.is_prompt:
            callback()


def test_each_block_counts_and_is_told_of_but_no_answer_in_time(caplog):
    async def begin() -> LagWatchdog:
        return LagWatchdog(Bus(), limit_s=0.01)

    def told() -> list[str]:
        return [one for one in caplog.messages if "has blocked" in one]

    loop = Asked()
    watchdog = loop.run_until_complete(begin())
    gc.collect()  # nobody holds the bus
    watchdog.open()
    wait_until(lambda: told()[0:])
    loop.answer()
    wait_until(lambda: told()[1:])
    loop.is_prompt = True
    loop.answer()
    wait_until(lambda: loop.asked_s[5:])
    watchdog.close()
    loop.close()

    assert (watchdog.blocked, len(told())) == (2, 2)
    assert min(after - before for before, after in pairwise(loop.asked_s)) > 0.009


@pytest.mark.parametrize("end", ["closed at once", "closed", "of a loop that is closed"])
def test_a_watchdog_ends_by_itself_before_it_has_asked_anything(end):
    async def begin() -> LagWatchdog:
        return LagWatchdog(Bus(), limit_s=0.01 if end == "of a loop that is closed" else 1000)

    loop, before = asyncio.new_event_loop(), watchdogs()
    watchdog = loop.run_until_complete(begin())
    if end == "closed at once":
        watchdog.close()
    if end == "of a loop that is closed":
        loop.close()
    watchdog.open()
    threads = watchdogs() - before
    if end == "closed":
        watchdog.close()
    for thread in threads:
        thread.join(120)
    loop.close()

    assert not any(thread.is_alive() for thread in threads)
    assert watchdog.blocked == 0


LEAVES_ITS_LOOP_OPEN = """
import asyncio
from runbus.bus import Bus
from runbus.kernel._watchdog import LagWatchdog

async def main():
    LagWatchdog(Bus()).open()

asyncio.new_event_loop().run_until_complete(main())
"""


def test_a_program_ends_though_it_never_closed_the_loop_that_is_watched():
    subprocess.run([sys.executable, "-c", LEAVES_ITS_LOOP_OPEN], check=True, timeout=120)


def test_a_loop_whose_thread_is_gone_is_told_of_and_watched_until_it_is_closed(caplog):
    loop = asyncio.new_event_loop()
    watching: list[LagWatchdog] = []

    async def begin() -> None:
        watching.append(LagWatchdog(Bus(), limit_s=0.01))
        watching[0].open()

    thread = threading.Thread(target=loop.run_until_complete, args=[begin()])
    before = watchdogs()
    thread.start()
    thread.join()
    wait_until(lambda: "has blocked the event loop" in caplog.text)
    (watchdog,) = watchdogs() - before
    loop.close()
    watchdog.join(120)

    assert not watchdog.is_alive()
    assert watching[0].blocked
    assert caplog.messages[-1].endswith("more than 0.01 s:\n")  # there is no stack


# Stops while the watchdog waits for an answer.
STOPS = """
import asyncio, logging, os, signal, threading, time
from runbus.bus import Bus
from runbus.kernel._watchdog import LagWatchdog

logging.basicConfig()
asked = threading.Event()

class Loop(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, *words, **named):
        asked.set()
        return super().call_soon_threadsafe(*words, **named)

async def main():
    watchdog = LagWatchdog(Bus())
    while time.thread_time() < 1:
        pass  # what it used before it was asked does not count
    watchdog.open()
    asked.wait()
    time.sleep(0.2)  # until it waits for the answer
    os.kill(os.getpid(), signal.SIGSTOP)
    while not watchdog.lag_s:
        await asyncio.sleep(0.01)
    print("blocked:", watchdog.blocked, "stood still:", watchdog.lag_s > 2)

Loop().run_until_complete(main())
"""


def test_nobody_is_told_to_block_the_loop_while_the_process_stands_still():
    command = [sys.executable, "-c", STOPS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        stat = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        time.sleep(2.5)  # so long it stands still
        process.send_signal(signal.SIGCONT)
        told, _ = process.communicate(timeout=120)

    assert told == b"blocked: 0 stood still: True\n"


def test_c_code_that_keeps_the_interpreter_blocks_the_loop(caplog):
    count = 1_000_000
    while seconds_to_sum(count) < 0.5:
        count *= 2
    asked = threading.Event()

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, callback, *args, context=None):  # type: ignore[override]
            asked.set()
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def main() -> LagWatchdog:
        watchdog = LagWatchdog(Bus(), limit_s=0.2)
        watchdog.open()
        asked.wait(120)
        # It may not have come to waiting; were these ticks, there would be too few.
        for _ in range(5):
            seconds_to_sum(count)
            if watchdog.blocked:
                break
        await until(lambda: watchdog.lag_s)
        watchdog.close()
        return watchdog

    loop = Loop()
    watchdog = loop.run_until_complete(main())
    loop.close()

    assert watchdog.blocked
    assert "has blocked the event loop" in caplog.text


def seconds_to_sum(count: int) -> float:
    """Sum in C, which keeps the interpreter; return the processor time that took."""
    began = time.thread_time()
    sum(range(count))
    return time.thread_time() - began
