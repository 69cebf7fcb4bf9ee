"""The plugins that come with runbus keep the contract of hook values; broken ones do not."""

from __future__ import annotations

import dataclasses
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runbus import Image, Plugin, Secret
from runbus.events import KernelStarted
from runbus.plugins import frameworks, phase
from runbus.testing.conformance.hooks import HookContract, within


class TestFrameworks(HookContract):
    @pytest.fixture(params=["huggingface", "jax", "joblib", "keras", "mps", "sklearn", "torch"])
    def make(self, request: pytest.FixtureRequest) -> Callable[[], Plugin]:
        factory: Callable[[], Plugin] = getattr(frameworks, request.param)
        return factory


class TestCuml(HookContract):
    can_enter = False

    @pytest.fixture
    def make(self) -> Callable[[], Plugin]:
        return frameworks.cuml


class TestWithArguments(HookContract):
    @pytest.fixture(params=["torch", "mps", "huggingface"])
    def make(self, request: pytest.FixtureRequest) -> Callable[[], Plugin]:
        return {
            "torch": lambda: frameworks.torch("gloo", "cu126", ">=2", "latest", "latest"),
            "mps": lambda: frameworks.mps(50, "0=2G"),
            "huggingface": lambda: frameworks.huggingface(Secret("HF_TOKEN")),
        }[request.param]


class TestAValue(HookContract):
    """A plugin with no hooks, and subscriptions of its own."""

    @pytest.fixture
    def make(self) -> Callable[[], Plugin]:
        return lambda: Plugin("p").on(KernelStarted, lambda event: None)


def decorating(wrap: Callable[..., Any]) -> Plugin:
    return Plugin("p", decorate=wrap)


def drops(image: Image, cluster: Any) -> Image:
    return Image(pip=(*image.pip, "mine"))


def forgets(image: Image, cluster: Any) -> Any:
    dataclasses.replace(image, pip=("mine",))


def counts() -> Callable[..., Image]:
    numbers = iter(range(100))
    return lambda image, cluster: dataclasses.replace(
        image, pip=(*image.pip, f"mine=={next(numbers)}")
    )


def sets(image: Image, cluster: Any) -> Image:
    os.environ["LEFT_BEHIND"] = str(cluster.nodes)
    return image


def without_wraps(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: fn(*args, **named)


def swallows(fn: Callable[..., Any]) -> Callable[..., Any]:
    def task(*args: Any, **named: Any) -> Any:
        try:
            return fn(*args, **named)
        except Exception:
            return None

    return task


@contextmanager
def leaves_variables(info: Any) -> Iterator[None]:
    os.environ["LEFT_BEHIND"] = "1"
    yield


@contextmanager
def fails_to_leave(info: Any) -> Iterator[None]:
    yield
    raise OSError("left badly")


@contextmanager
def one_for_all(info: Any) -> Iterator[None]:
    yield


ONE = one_for_all(None)

BROKEN: dict[str, tuple[Callable[[], Plugin], str]] = {
    "drops what others asked for": (lambda: Plugin("p", transform=drops), "pure"),
    "forgets to return the image": (lambda: Plugin("p", transform=forgets), "kernel"),
    "asks for something else each time": (lambda: Plugin("p", transform=counts()), "pure"),
    "changes the environment": (lambda: Plugin("p", transform=sets), "pure"),
    "has shell that no sh reads": (
        lambda: Plugin("p", bootstrap=lambda cluster: ("if true",)),
        "script",
    ),
    "returns shell as one text": (
        lambda: Plugin("p", bootstrap=lambda cluster: "echo a"),
        "script",
    ),
    "has a phase that cannot be shown": (
        lambda: Plugin("p", bootstrap=lambda cluster: (phase("a\nb"),)),
        "kernel",
    ),
    "hides the name of the function": (lambda: decorating(without_wraps), "decorator"),
    "swallows the error of the task": (lambda: decorating(swallows), "decorator"),
    "leaves variables behind": (lambda: Plugin("p", around_app=leaves_variables), "only_process"),
    "cannot be left": (lambda: Plugin("p", around_app=fails_to_leave), "only_process"),
    "has one manager for all processes": (
        lambda: Plugin("p", around_app=lambda info: ONE),
        "lifecycles",
    ),
    "cannot be made elsewhere": (
        lambda: Plugin("p", around_app=lambda info: one_for_all(info)),
        "worker_process",
    ),
    "has no name": (lambda: Plugin(""), "kernel"),
}


async def run_contract(make: Callable[[], Plugin], folder: Path) -> set[str]:
    """Run every test of the contract; return the names of those that fail."""
    failed = set()
    for name, test in inspect.getmembers(HookContract, inspect.isfunction):
        if not name.startswith("test_"):
            continue
        given = {"plugin": make(), "make": make, "tmp_path": folder}
        wanted = {key: given[key] for key in inspect.signature(test).parameters if key in given}
        try:
            result = test(HookContract(), **wanted)
            if inspect.isawaitable(result):
                await result
        except (Exception, pytest.fail.Exception):
            failed.add(name)
    return failed


@pytest.mark.parametrize("what", BROKEN, ids=list(BROKEN))
async def test_the_contract_notices_a_plugin_that(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, part = BROKEN[what]
    monkeypatch.setenv("LEFT_BEHIND", "0")

    failed = await run_contract(make, tmp_path)

    assert any(part in name for name in failed), failed


def test_the_contract_waits_for_no_plugin_for_ever() -> None:
    with pytest.raises(AssertionError, match="takes longer than"):
        within(threading.Event().wait, 0.1)


async def test_a_plugin_that_is_whole_passes_every_test(tmp_path: Path) -> None:
    assert await run_contract(frameworks.torch, tmp_path) == set()
