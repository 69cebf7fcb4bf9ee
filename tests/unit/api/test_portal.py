"""The one thread behind everything that is called without `await`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from runbus import Kernel
from runbus.api import _portal, portal
from runbus.errors import WouldDeadlock
from runbus.events import Notify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Said(Notify, frozen=True):
    word: str


async def current() -> threading.Thread:
    return threading.current_thread()


def test_all_calls_of_all_threads_run_in_one_thread() -> None:
    with ThreadPoolExecutor(4) as threads:
        seen = {*threads.map(lambda _: portal().call(current), range(20))}
    assert len(seen) == 1
    assert threading.current_thread() not in seen


def test_a_call_from_within_is_refused_instead_of_waiting_for_itself() -> None:
    async def inside() -> None:
        portal().call(current)

    with pytest.raises(WouldDeadlock):
        portal().call(inside)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
def test_what_a_call_raises_is_raised_there_and_harms_no_other_call(
    error: type[BaseException],
) -> None:
    async def fail() -> None:
        raise error("of one call")

    if error is StopIteration:  # no coroutine can raise it
        error = RuntimeError
    before = portal().call(current)
    with pytest.raises(error):
        portal().call(fail)
    assert portal().call(current) is before


def test_a_kernel_can_be_held_between_calls() -> None:
    heard: list[str] = []
    with portal().hold(Kernel()) as kernel:
        portal().call(kernel.bus.publish, Said(word="once"))

        async def listen() -> None:
            kernel.bus.on(Said, lambda event: heard.append(event.word))

        portal().call(listen)
        portal().call(kernel.bus.publish, Said(word="twice"))
    assert heard == ["twice"]


def test_a_manager_sees_what_its_block_raised_and_may_keep_it() -> None:
    seen: list[BaseException] = []

    @asynccontextmanager
    async def keep(error: type[Exception]) -> AsyncIterator[str]:
        try:
            yield "value"
        except error as raised:
            seen.append(raised)

    with portal().hold(keep(ValueError)) as value:
        int(value)
    assert [str(error) for error in seen] == ["invalid literal for int() with base 10: 'value'"]
    with pytest.raises(KeyError, match="not kept"), portal().hold(keep(ValueError)):
        raise KeyError("not kept")


def test_a_manager_that_fails_to_begin_or_to_end_says_so() -> None:
    @asynccontextmanager
    async def broken(where: str) -> AsyncIterator[None]:
        if where == "begin":
            raise OSError(where)
        yield
        raise OSError(where)

    with pytest.raises(OSError, match="begin"):
        portal().hold(broken("begin")).__enter__()
    with pytest.raises(OSError, match="end"), portal().hold(broken("end")):
        pass


def run(code: str, *, until: str = "", sent: int = 0) -> tuple[int, str]:
    """Run a program; send it a signal when it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = ""
        if until:
            for line in process.stdout:
                said += line
                if line.strip() == until:
                    process.send_signal(sent)
                    break
        said += process.communicate(timeout=120)[0]
    finally:
        process.kill()
    return process.returncode, said


HELD = """
    import anyio
    import asyncio
    import os
    import threading
    from contextlib import asynccontextmanager
    from functools import partial
    from runbus.api import portal

    @asynccontextmanager
    async def resource():
        print("begun", flush=True)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(print, "ended", flush=True))

"""


def test_what_is_held_at_the_interpreters_end_is_left() -> None:
    code = """
    held = portal().hold(resource())
    held.__enter__()
    print("main ends", flush=True)
    """
    assert run(HELD + code) == (0, "begun\nmain ends\nended\n")


def test_a_thread_that_outlives_the_main_one_can_still_call() -> None:
    code = """
    def late():
        threading.main_thread().join()
        print(portal().call(asyncio.sleep, 0, "answered"), flush=True)

    portal().call(asyncio.sleep, 0)
    threading.Thread(target=late).start()
    """
    assert run(HELD + code) == (0, "answered\n")


def test_an_interruption_cancels_the_call_and_waits_for_its_end() -> None:
    code = """
    async def work():
        async with resource():
            await asyncio.Event().wait()

    try:
        portal().call(work)
    except KeyboardInterrupt:
        print("interrupted")
    """
    assert run(HELD + code, until="begun", sent=signal.SIGINT) == (0, "begun\nended\ninterrupted\n")


@pytest.mark.parametrize("how", ["called", "held"])
def test_an_interruption_just_after_the_start_of_a_task_cancels_it(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        await work()
        yield

    one = portal()
    one.call(current)
    with monkeypatch.context() as patch:

        def start(task: Callable[[], Awaitable[object]]) -> None:
            patch.undo()
            one._start(task)
            assert begun.wait(120)
            raise KeyboardInterrupt

        patch.setattr(one, "_start", start)
        with pytest.raises(KeyboardInterrupt):
            one.call(work) if how == "called" else one.hold(resource()).__enter__()

    assert ended.is_set()


def test_an_interruption_before_the_start_of_a_task_does_not_wait_for_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = portal()
    one.call(current)
    monkeypatch.setattr(_portal, "_LEAVE_S", 1000)  # no test waits that long
    with monkeypatch.context() as patch:

        def start(_task: Callable[[], Awaitable[object]]) -> None:
            patch.undo()
            raise KeyboardInterrupt

        patch.setattr(one, "_start", start)
        with pytest.raises(KeyboardInterrupt):
            one.call(current)


def test_a_forked_child_has_a_portal_of_its_own() -> None:
    code = """
    portal().call(asyncio.sleep, 0)
    if child := os.fork():
        print(os.waitpid(child, 0)[1])
    else:
        print(portal().call(asyncio.sleep, 0, "child"), flush=True)
        os._exit(0)
    """
    assert run(HELD + code) == (0, "child\n0\n")


async def test_it_can_be_called_where_a_loop_runs() -> None:
    assert portal().call(asyncio.sleep, 0, "as in a notebook") == "as in a notebook"


def test_what_is_held_and_dropped_ends_without_a_word_at_the_exit_too() -> None:
    code = """
    import gc, threading
    from contextlib import asynccontextmanager
    from runbus.api import portal

    ended = threading.Event()

    @asynccontextmanager
    async def resource():
        try:
            yield
        finally:
            ended.set()
            print("ended", flush=True)

    dropped = portal().hold(resource())
    dropped.__enter__()
    del dropped
    gc.collect()
    assert ended.wait(100)
    kept = portal().hold(resource())
    kept.__enter__()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ended\nended\n", "", 0)
