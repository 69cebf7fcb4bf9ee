"""The hooks of a worker process: entered once, before any task, and left in reverse."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runbus import InstanceInfo, Plugin
from runbus.errors import DuplicatePlugin, FieldInvalid, HookError, OrderCycle
from runbus.plugins import WorkerHooks, instance_info


def notes(log: list[str], name: str) -> Callable[[InstanceInfo], Any]:
    @contextmanager
    def life(info: InstanceInfo) -> Iterator[None]:
        log.append(f"enter {name}")
        yield
        log.append(f"exit {name}")

    return life


def says(log: list[str], name: str) -> Callable[..., Any]:
    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **named: Any) -> Any:
            log.append(f"{name} sees {fn.__name__}{args}")
            return fn(*args, **named)

        return wrapper

    return decorate


def plugins_of(log: list[str], *names: str) -> list[Plugin]:
    return [
        Plugin.create(name).with_around_app(notes(log, name)).with_decorator(says(log, name))
        for name in names
    ]


def test_nothing_is_entered_before_the_first_task_and_all_before_its_body() -> None:
    log: list[str] = []
    hooks = WorkerHooks(plugins_of(log, "a", "b"))

    def task(number: int) -> int:
        log.append("body")
        return number

    wrapped = hooks.wrapped(task)
    assert log == []

    assert (wrapped(1), wrapped(2)) == (1, 2)
    assert hooks.close() == []

    def one(number: int) -> list[str]:
        return [f"a sees task({number},)", f"b sees task({number},)", "body"]

    assert log == ["enter a", "enter b", *one(1), *one(2), "exit b", "exit a"]


def test_the_function_in_a_partial_is_wrapped_with_its_arguments() -> None:
    log: list[str] = []
    hooks = WorkerHooks(plugins_of(log, "a"))

    def task(first: int, second: int, third: int = 0) -> tuple[int, int, int]:
        return first, second, third

    partial = functools.partial(functools.partial(task, 1), third=3)

    assert hooks.wrapped(partial)(2) == (1, 2, 3)
    assert log == ["enter a", "a sees task(1, 2)"]


def test_first_tasks_that_come_at_once_wait_for_one_entering() -> None:
    entered: list[int] = []
    bodies: list[int] = []
    begun = threading.Event()
    may_end = threading.Event()

    @contextmanager
    def slow(info: InstanceInfo) -> Iterator[None]:
        begun.set()
        may_end.wait(120)
        entered.append(1)
        yield

    wrapped = WorkerHooks([Plugin("p", around_app=slow)]).wrapped(
        lambda: bodies.append(len(entered))
    )
    threads = [threading.Thread(target=wrapped) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(120)
    assert bodies == []
    may_end.set()
    for thread in threads:
        thread.join(120)

    assert entered == [1]
    assert bodies == [1] * 8


def test_what_fails_on_entering_has_the_others_left_and_the_next_task_tries_again() -> None:
    log: list[str] = []
    fails = [OSError("no peer")]

    @contextmanager
    def shaky(info: InstanceInfo) -> Iterator[None]:
        if fails:
            raise fails.pop()
        yield

    info = InstanceInfo(node=2, worker=1)
    plugins = [*plugins_of(log, "a"), Plugin("b", around_app=shaky), *plugins_of(log, "c")]
    hooks = WorkerHooks(plugins, info)
    wrapped = hooks.wrapped(lambda: log.append("body"))

    with pytest.raises(HookError, match="no peer") as caught:
        wrapped()
    error = caught.value
    assert (error.plugin, error.hook, error.place) == ("b", "around_app", "node 2, worker 1")
    assert log == ["enter a", "exit a"]

    wrapped()
    assert [one for one in log if "sees" not in one][2:] == ["enter a", "enter c", "body"]


@pytest.mark.parametrize("raised", [SystemExit(0), ValueError("x")], ids=["exit", "error"])
def test_no_hook_can_pass_for_the_end_of_a_task(raised: BaseException) -> None:
    def fail(*about: Any) -> Any:
        raise raised

    for plugin in (Plugin("p", around_app=fail), Plugin("p", decorate=fail)):
        with pytest.raises(HookError):
            WorkerHooks([plugin]).wrapped(int)()


@pytest.mark.parametrize("given", [None, 3], ids=str)
def test_a_decorator_that_returns_no_function_is_named(given: Any) -> None:
    hooks = WorkerHooks([Plugin("p", decorate=lambda fn: given)])

    with pytest.raises(HookError, match="cannot be called") as caught:
        hooks.wrapped(int)()

    assert (caught.value.plugin, caught.value.hook) == ("p", "decorate")


@pytest.mark.parametrize("given", [None, 3], ids=str)
def test_a_lifecycle_that_is_no_context_manager_is_named(given: Any) -> None:
    with pytest.raises(HookError, match="no context manager"):
        WorkerHooks([Plugin("p", around_app=lambda info: given)]).enter()


def test_every_hook_is_left_whatever_others_raise_and_only_once() -> None:
    log: list[str] = []

    class Fails:
        def __enter__(self) -> None: ...

        def __exit__(self, *about: object) -> None:
            raise ValueError("left badly")

    bad = Plugin("b", around_app=lambda info: Fails())
    hooks = WorkerHooks([*plugins_of(log, "a"), bad, *plugins_of(log, "c")])
    hooks.enter()

    (failure,) = hooks.close()

    assert (failure.plugin, failure.hook) == ("b", "around_app")
    assert "left badly" in str(failure)
    assert log == ["enter a", "enter c", "exit c", "exit a"]
    assert hooks.close() == []


def test_the_error_of_a_task_is_its_own_and_nothing_is_left_for_it() -> None:
    log: list[str] = []
    hooks = WorkerHooks([Plugin("a", around_app=notes(log, "a"))])

    def fail() -> None:
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            hooks.wrapped(fail)()

    assert log == ["enter a"]


def test_a_hook_may_run_a_task_itself() -> None:
    log: list[str] = []

    @contextmanager
    def runs(info: InstanceInfo) -> Iterator[None]:
        hooks.wrapped(lambda: log.append("warm-up"))()
        yield

    hooks = WorkerHooks([Plugin("p", around_app=runs)])
    hooks.wrapped(lambda: log.append("body"))()

    assert log == ["warm-up", "body"]


def test_a_forked_child_is_a_process_of_its_own() -> None:
    code = """
import os
from contextlib import contextmanager
from runbus import Plugin
from runbus.plugins import WorkerHooks

@contextmanager
def life(info):
    print("enter", os.getpid() == parent, flush=True)
    yield
    print("exit", os.getpid() == parent, flush=True)

parent = os.getpid()
hooks = WorkerHooks([Plugin("p", around_app=life)])
hooks.enter()
hooks._lock.acquire()  # as another thread may, at that moment
if (child := os.fork()) == 0:
    hooks.close()
    hooks.wrapped(print)("task of the child", flush=True)
    hooks.close()
    os._exit(0)
os.waitpid(child, 0)
hooks._lock.release()
hooks.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.splitlines() == [
        "enter True",
        "enter False",
        "task of the child",
        "exit False",
        "exit True",
    ]


def test_the_order_is_the_list_bent_by_what_plugins_say() -> None:
    log: list[str] = []
    keras, jax = plugins_of(log, "keras", "jax")

    WorkerHooks([keras.placed(after=("jax",)), jax]).enter()

    assert log == ["enter jax", "enter keras"]
    with pytest.raises(OrderCycle):
        WorkerHooks([keras.placed(after=("jax",)), jax.placed(after=("keras",))])
    with pytest.raises(DuplicatePlugin):
        WorkerHooks([jax, jax])


def test_a_process_knows_which_worker_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert instance_info() == InstanceInfo()
    monkeypatch.setenv("RUNBUS_INSTANCE", '{"node": 1, "total_nodes": 2, "head_addr": "h"}')
    assert instance_info() == InstanceInfo(node=1, total_nodes=2, head_addr="h")
    for bad in ("{", "[]", '{"node": "one"}'):
        monkeypatch.setenv("RUNBUS_INSTANCE", bad)
        with pytest.raises(FieldInvalid, match="RUNBUS_INSTANCE"):
            instance_info()


PROCESS = """
import os, signal, sys, threading
from runbus.plugins import worker_process
sys.path.insert(0, sys.argv[1])
leave_s = 5 if os.environ["HANGS"] else 60
with worker_process([{"_target_": "lives_of_tests.plugin"}], leave_s=leave_s) as hooks:
    hooks.enter()
    how = sys.argv[2]
    if how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(100)
    elif how == "raise":
        raise KeyError("mine")
"""

LIVES = """
import os, threading
from contextlib import contextmanager
from runbus import Plugin

@contextmanager
def life(info):
    yield
    print("left", flush=True)
    if os.environ.get("HANGS"):
        threading.Event().wait(100)

def plugin():
    return Plugin("p", around_app=life)
"""


@pytest.mark.parametrize(
    ("how", "code"), [("end", 0), ("term", -15), ("raise", 1)], ids=["end", "term", "raise"]
)
@pytest.mark.parametrize("hangs", ["", "1"], ids=["quick", "hangs"])
def test_a_process_leaves_its_hooks_however_it_ends_and_never_waits_for_long(
    how: str, code: int, hangs: str, tmp_path: Any
) -> None:
    (tmp_path / "lives_of_tests.py").write_text(LIVES)

    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(tmp_path), how],
        env={**os.environ, "HANGS": hangs},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.stdout == "left\n"
    if hangs:
        assert "were not left within 5 s" in done.stderr
        assert done.returncode == (143 if how == "term" else code)
    else:
        assert done.returncode == code
