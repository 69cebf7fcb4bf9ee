"""Plugins as values, and installed plugins: §5.11."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import Any

import pytest

from runbus.abc import Plugin as PluginPort
from runbus.abc import PluginState
from runbus.errors import InvalidHandler, InvalidOption, PluginNotFound, PluginNotLoadable
from runbus.events import Notify, Stream
from runbus.kernel import Kernel
from runbus.plugins import Plugin, Registry, Selection, discover
from runbus.plugins._discovery import Findings
from runbus.plugins._found import FoundPlugin
from runbus.plugins._requirements import api_misfit
from runbus.testing import FakePlugin


class Fact(Notify, frozen=True):
    number: int = 0


class Tick(Stream, frozen=True):
    number: int = 0


async def test_a_plugin_can_be_put_together_from_functions():
    log: list[Any] = []

    async def on_fact(event):
        log.append(event)

    async def on_tick(event):
        log.append(event)

    async def background():
        log.append("background")

    @contextmanager
    def resource():
        log.append("open")
        yield
        log.append("closed")

    bare = Plugin("p")
    full = (
        bare.enter(resource)
        .on(Fact, on_fact)
        .stream(Tick, on_tick, maxsize=5)
        .start(background)
        .placed(after=("a",), requires=("b",))
    )
    async with Kernel(plugins=[full, FakePlugin("a"), FakePlugin("b")]) as kernel:
        assert [host.name for host in kernel.hosts] == ["a", "b", "p"]
        await kernel.bus.publish(Fact(1))
        await kernel.bus.emit(Tick(2))

    assert log == ["open", Fact(1), "background", Tick(2), "closed"] or log == [
        "open", "background", Fact(1), Tick(2), "closed",
    ]  # fmt: skip
    assert bare == Plugin("p")
    assert isinstance(full, PluginPort)


@contextmanager
def installed(tmp_path, monkeypatch, points, modules):
    """Put a distribution with entry points and modules on the path, as an installer would."""
    info = tmp_path / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[runbus.plugins]\n{lines}")
    for name, code in modules.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in modules:
        sys.modules.pop(name, None)


GOOD = """
class Toy:
    name = "toy"
    async def setup(self, scope):
        pass
"""
POINTS = {
    "toy": "toy_good:Toy",
    "broken": "toy_broken:Toy",
    "missing": "toy_good:Nothing",
    "future": "toy_future:Toy",
}
MODULES = {
    "toy_good": GOOD,
    "toy_broken": "raise RuntimeError('broken on import')",
    "toy_future": GOOD + "    api = '>=2'\n",
}


@pytest.fixture
def toys(tmp_path, monkeypatch):
    with installed(tmp_path, monkeypatch, POINTS, MODULES):
        yield


@pytest.mark.usefixtures("toys")
def test_plugins_are_listed_without_being_imported():
    infos = {info.name: info for info in discover()}

    assert set(POINTS) <= set(infos)
    assert infos["toy"].state is PluginState.DISCOVERED
    assert (infos["toy"].entry_point, infos["toy"].distribution) == ("toy_good:Toy", "toys 1.0")
    assert not set(MODULES) & set(sys.modules)


@pytest.mark.usefixtures("toys")
def test_a_plugin_that_cannot_be_loaded_is_kept_with_its_reason_and_the_others_load(caplog):
    registry = Registry()
    names = [plugin.name for plugin in registry.load_all(Selection(without=["jsonl"]))]

    assert names == ["toy"]
    states = {name: registry.infos[name].state.value for name in POINTS}
    assert states == {
        "toy": "loaded", "broken": "failed", "missing": "failed", "future": "failed",
    }  # fmt: skip
    assert "RuntimeError: broken on import" in registry.infos["broken"].error
    assert "interface >=2, this is 1.0" in registry.infos["future"].error
    assert "toys 1.0" in caplog.text


@pytest.mark.usefixtures("toys")
def test_a_plugin_that_was_asked_for_by_name_must_load():
    registry = Registry()
    with pytest.raises(PluginNotLoadable, match="broken on import") as caught:
        registry.load_all(Selection(only=["broken"]))
    assert (caught.value.plugin, caught.value.distribution) == ("broken", "toys 1.0")
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(PluginNotLoadable):
        registry.load_all(strict=True)
    with pytest.raises(PluginNotFound) as near:
        registry.load_all(Selection(only=["tay"]))
    assert near.value.similar == ("toy",)
    with pytest.raises(PluginNotLoadable):
        Kernel(plugins=["broken"])


@pytest.mark.usefixtures("toys")
def test_an_installed_plugin_that_is_none_is_refused_with_its_entry_point(tmp_path):
    (tmp_path / "toy_good.py").write_text("class Toy:\n    async def setup(self, scope): ...\n")

    registry = Registry()
    with pytest.raises(PluginNotLoadable, match="makes has no name; a plugin has") as caught:
        Kernel(plugins=["toy"])
    assert (caught.value.entry_point, caught.value.distribution) == ("toy_good:Toy", "toys 1.0")
    with pytest.raises(PluginNotLoadable):
        registry.load("toy")
    assert registry.infos["toy"].state is PluginState.FAILED


@pytest.mark.usefixtures("toys")
def test_a_name_that_two_distributions_offer_is_refused(tmp_path):
    info = tmp_path / "games-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: games\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[runbus.plugins]\ntoy = toy_good:Toy\n")

    with pytest.raises(PluginNotLoadable, match=r"games 2\.0 and toys 1\.0 offer that name"):
        Kernel(plugins=["toy"])


@pytest.mark.usefixtures("toys")
async def test_a_kernel_takes_installed_plugins_by_name():
    async with Kernel(plugins=["toy", FakePlugin("other")]) as kernel:
        assert [host.name for host in kernel.hosts] == ["toy", "other"]


ENVIRONMENTS = [
    ({}, {"a", "b", "c"}),
    ({"RUNBUS_PLUGINS": "none"}, set()),
    ({"RUNBUS_PLUGINS": ""}, set()),
    ({"RUNBUS_PLUGINS": "a, b"}, {"a", "b"}),
    ({"RUNBUS_WITHOUT_PLUGINS": "a"}, {"b", "c"}),
    ({"RUNBUS_PLUGINS": "a,b", "RUNBUS_WITHOUT_PLUGINS": "b"}, {"a"}),
]


@pytest.mark.parametrize(("environment", "expected"), ENVIRONMENTS)
def test_the_environment_says_which_plugins_are_wanted(environment, expected):
    selection = Selection.from_environment(environment)

    assert {name for name in "abc" if name in selection} == expected


RANGES = [
    ("", True),
    (">=1", True),
    (">=1,<2", True),
    ("==1.0", True),
    (">=1.1", False),
    (">1", False),
    ("<=0.9", False),
]


@pytest.mark.parametrize(("wanted", "fits"), RANGES)
def test_a_plugin_says_which_interface_it_is_made_for(wanted, fits):
    assert (api_misfit(wanted) == "") is fits


@pytest.mark.parametrize("wanted", ["1", "~1", ">=x"])
def test_a_range_that_cannot_be_read_is_refused(wanted):
    assert "cannot be read" in api_misfit(wanted)


def test_an_empty_registry_needs_no_metadata():
    found = FoundPlugin("x", "no_such_module:X", "runbus.plugins")
    registry = Registry(Findings({"x": found}, (), ()))
    with pytest.raises(PluginNotLoadable, match="no_such_module"):
        registry.load("x")

    assert registry.infos["x"].state is PluginState.FAILED
    assert registry.infos["x"].distribution == ""


def test_importing_the_kernel_loads_no_plugin_and_no_metadata():
    code = (
        "import sys, runbus.kernel; "
        "print([m for m in ('importlib.metadata', 'runbus.plugins._registry', 'runbus._core', "
        "'numpy', 'rich', 'click', 'asyncssh', 'httpx', 'pytest') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize("told", [None, "sync", "async"])
async def test_a_handler_given_by_value_gets_events_only_and_losses_are_told_apart(told, caplog):
    got: list[Any] = []
    lost: list[int] = []
    slow = asyncio.Event()

    async def on_tick(event: Tick) -> None:
        await slow.wait()
        got.append(event.number)

    async def on_lagged(mark):
        lost.append(mark.n)

    lagged = {"sync": lambda mark: lost.append(mark.n), "async": on_lagged, None: None}[told]
    plugin = Plugin("p").stream(Tick, on_tick, maxsize=1, lagged=lagged)
    async with Kernel(plugins=[plugin]) as kernel:
        await asyncio.sleep(0)
        for number in range(3):
            await kernel.bus.emit(Tick(number))
        slow.set()

    assert got == [2]
    assert lost == ([2] if told else [])
    assert ("plugin 'p': 2 Tick were lost" in caplog.text) is (told is None)


async def none():
    pass


async def one(event):
    pass


async def two(a, b):
    pass


async def yields():
    yield


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda p: p.stream(Tick, lambda event: None), "is not async"),
        (lambda p: p.stream(Tick, two), "cannot be called with 1 positional"),
        (lambda p: p.stream(Tick, 3), "cannot be called"),
        (lambda p: p.start(two, 1), "cannot be called with 1 positional"),
        (lambda p: p.start(print), "is not async"),
        (lambda p: p.start(two, 1, 2, restart="always"), "restart='always' is not known"),
        (lambda p: p.start(two, 1, 2, max=0), "max=0 is not a whole number of at least 1"),
        (lambda p: p.start(two, 1, 2, per="60"), "per='60' is not a number above 0"),
        (lambda p: p.on(Fact, two), "cannot be called with 1 positional"),
        (lambda p: p.on(Fact, one, timeout="5"), "timeout='5' is not a number above 0"),
        (lambda p: p.on(Fact, one, timeout=1e300), "above 0 and at most 1e\\+09"),
        (lambda p: p.on(Fact, one, once=1), "once=1 is not a bool"),
        (lambda p: p.on(Fact, one, thread=True), "is async and cannot run in a thread"),
        (lambda p: p.stream(Tick, one, maxsize=1.5), "maxsize=1.5 is not a whole number"),
        (lambda p: p.stream(Tick, one, maxsize=10**400), "is not a whole number .* and at most"),
        (lambda p: p.stream(Tick, one, overflow="nonsense"), "overflow='nonsense' is not known"),
        (lambda p: p.stream(Tick, one, overflow="conflate"), "key=None is missing"),
        (lambda p: p.stream(Fact, one, overflow="block"), "lets publishers wait"),
        (lambda p: p.stream(Tick, one, spill=one), "is async, and nobody would await it"),
        (lambda p: p.enter(lambda a: a), "takes arguments"),
        (lambda p: p.enter(3), "cannot be called"),
        (lambda p: p.enter(none), "is async, and nobody would await it"),
        (lambda p: p.enter(yields), "is an async generator function"),
        (lambda p: p.then(lambda scope: None), "is not async"),
    ],
)
def test_what_can_never_work_is_refused_where_it_is_given(make, problem):
    with pytest.raises((InvalidHandler, InvalidOption), match=problem):
        make(Plugin("p"))


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(3)",
        "raise KeyError('x')",
        "class Odd(BaseException): pass\nraise Odd",
        "class Toy:\n    def __init__(self): raise SystemExit",
        "class Toy:\n    name = 'toy'\n    api = 3\n    async def setup(self, scope): ...",
        "class Toy:\n    setup = property(lambda self: 1 / 0)",
    ],
)
@pytest.mark.usefixtures("toys")
def test_whatever_a_plugin_does_on_import_is_a_failed_record(tmp_path, code):
    (tmp_path / "toy_good.py").write_text(code)

    registry = Registry()
    names = [one.name for one in registry.load_all(Selection(without=["jsonl"]))]

    assert names == []
    assert registry.infos["toy"].state is PluginState.FAILED
    assert registry.infos["toy"].error
    with pytest.raises(PluginNotLoadable):
        Kernel(plugins=["toy"])


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("variable", "value", "loaded"),
    [
        ("RUNBUS_PLUGINS", "none", []),
        ("RUNBUS_PLUGINS", "toy", ["toy"]),
        ("RUNBUS_WITHOUT_PLUGINS", "toy,jsonl", []),
    ],
)
def test_the_environment_says_which_plugins_are_loaded(monkeypatch, variable, value, loaded):
    monkeypatch.setenv(variable, value)

    assert [plugin.name for plugin in Registry().load_all()] == loaded
