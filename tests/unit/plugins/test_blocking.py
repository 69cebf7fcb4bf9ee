"""Blocking code of plugins has an end, and ends nobody else."""

from __future__ import annotations

import threading

import pytest

from runbus.errors import HookError, PluginStuck
from runbus.plugins._blocking import call_blocking


async def test_a_function_runs_in_another_thread_and_its_result_comes_back() -> None:
    here = threading.current_thread()
    there = await call_blocking(threading.current_thread, plugin="p", doing="start")
    assert there is not here


async def test_fifty_that_hang_are_left_behind_and_the_next_one_runs() -> None:
    forever = threading.Event()
    try:
        for _ in range(50):  # more than the threads that everybody shares
            with pytest.raises(PluginStuck, match=r"'p' was left behind after 0.001 s: start"):
                await call_blocking(forever.wait, plugin="p", doing="start", limit_s=0.001)
        assert await call_blocking(int, "7", plugin="p", doing="start") == 7
    finally:
        forever.set()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_what_would_end_the_process_is_the_plugins_failure(
    error: type[BaseException],
) -> None:
    def leave() -> None:
        raise error("now")

    with pytest.raises(HookError, match=rf"plugin 'p': stop raised {error.__name__}: now"):
        await call_blocking(leave, plugin="p", doing="stop")


async def test_an_exception_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        await call_blocking(divmod, 1, 0, plugin="p", doing="start")
