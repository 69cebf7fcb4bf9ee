"""Plugins in other processes: what travels is data that makes them again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from runbus import Cluster, Config, Image, Plugin, Secret
from runbus.errors import ConfigInvalid, InvalidPlugin, PluginNotFound, PluginNotPortable
from runbus.events import JobEnded
from runbus.plugins import is_for_workers, plugin_data, plugin_factory, plugin_from


def twice(fn: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: 2 * fn(*args)


def plus_one(fn: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: fn(*args) + 1


def adds_lib(image: Image, cluster: Cluster) -> Image:
    return dataclasses.replace(image, pip=(*image.pip, "lib"))


@plugin_factory
def adder(amount: int = 1, *, token: Secret | None = None) -> Plugin:
    return Plugin.create("adder").with_decorator(lambda fn: lambda *args: fn(*args) + amount)


@plugin_factory
def renamed_adder(amount: int) -> Plugin:
    return dataclasses.replace(adder(amount), name="renamed")


def made_again(plugin: Any) -> Plugin:
    data = json.loads(json.dumps(plugin_data(plugin)))
    found = plugin_from(data)
    assert isinstance(found, Plugin)
    return found


def called(plugin: Plugin) -> int:
    assert plugin.decorate is not None
    result: int = plugin.decorate(lambda: 10)()
    return result


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (adder(5), 15),
        (adder(), 11),
        (adder(amount=2, token=Secret("A")), 12),
        (renamed_adder(7), 17),
        (Config(adder, 3), 13),
        ({"_target_": f"{__name__}.adder", "amount": 4}, 14),
        (Plugin.create("hooks").with_decorator(twice).with_decorator(plus_one), 22),
    ],
    ids=["positional", "default", "secret", "nested", "Config", "data", "composed functions"],
)
def test_a_plugin_is_made_again_from_data(given: Any, result: int) -> None:
    assert called(made_again(given)) == result


def test_a_plugin_of_functions_keeps_all_that_it_says() -> None:
    plugin = Plugin("p", transform=adds_lib, decorate=twice).placed(after=("q",), requires=("r",))

    again = made_again(plugin)

    assert again == plugin
    assert made_again(renamed_adder(1)).name == "renamed"


@pytest.mark.parametrize(
    "plugin",
    [
        Plugin.create("p").with_decorator(lambda fn: fn),
        adder(1).with_decorator(twice),
        dataclasses.replace(adder(1), name="q"),
        Plugin("p").on(JobEnded, lambda event: None),
    ],
    ids=["lambda", "changed since", "renamed since", "steps"],
)
def test_what_no_other_process_could_make_is_refused_with_advice(plugin: Plugin) -> None:
    with pytest.raises(PluginNotPortable, match=f"plugin '{plugin.name}' cannot go") as caught:
        plugin_data(plugin)

    assert "Config of a function" in str(caught.value.hint)


def test_a_function_of_the_program_itself_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twice, "__module__", "__main__")

    with pytest.raises(PluginNotPortable):
        plugin_data(Plugin("p", decorate=twice))


@pytest.mark.parametrize("given", [3, None, object(), Plugin], ids=["3", "none", "object", "class"])
def test_what_is_no_plugin_is_refused(given: Any) -> None:
    with pytest.raises(InvalidPlugin):
        plugin_data(given)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"_target_": "no_such_module.f"}, ConfigInvalid),
        ({"_target_": f"{__name__}.adder", "amount": "many"}, ConfigInvalid),
        ({"_target_": "builtins.dict"}, InvalidPlugin),
        ({}, InvalidPlugin),
        ("no-such-plugin", PluginNotFound),
    ],
    ids=["no module", "no number", "no plugin", "nothing", "no name"],
)
def test_data_that_makes_no_plugin_is_refused(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        plugin_from(data)


def test_only_hooks_of_worker_processes_are_needed_there() -> None:
    assert is_for_workers(adder())
    assert is_for_workers(Config(adder))
    assert is_for_workers(Plugin("p", around_app=lambda info: None))  # type: ignore[arg-type, return-value]
    assert not is_for_workers(Plugin("p", transform=adds_lib))
    assert not is_for_workers(object())
