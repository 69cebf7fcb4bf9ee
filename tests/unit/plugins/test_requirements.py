"""What a plugin needs and what is missing of it: told all at once, before it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbus.abc import PluginState
from runbus.errors import PluginNotLoadable
from runbus.plugins import Registry
from runbus.plugins._requirements import misses

NEEDY = """
from runbus.plugins import Extension
class Needy(Extension):
    name = "needy"
    api = ">=2"
    requires = ["pytest>=10000", "no-such-distribution", "pytest>=1", "not a requirement"]
    dependencies = ["jsonl", "jsnol", "pluggy", "nobody"]
    def __init__(self):
        raise AssertionError("it was made")
"""


def test_all_that_is_missing_is_told_at_once_and_the_plugin_is_not_made(folder: Path) -> None:
    (folder / "needy.py").write_text(NEEDY)
    registry = Registry()
    with pytest.raises(PluginNotLoadable) as caught:
        registry.load("needy")
    told = caught.value.problem.split("; ")
    assert told[0] == "it is made for plugin interface >=2, this is 1.0"
    assert told[1].startswith("it requires pytest>=10000, and pytest ")
    assert told[2] == "it requires no-such-distribution, which is not installed"
    assert told[3].startswith("it requires 'not a requirement', which cannot be read: ")
    assert told[4] == "it depends on 'jsnol', and no plugin or distribution of that name is there"
    assert told[5] == "did you mean 'jsonl'"
    assert told[6].startswith("it depends on 'nobody'")
    assert len(told) == 7
    assert registry.infos["needy"].state is PluginState.FAILED


def test_what_an_object_needs_is_checked_after_it_was_made(folder: Path) -> None:
    (folder / "needy.py").write_text(
        "from runbus.plugins import Extension\nclass Needy(Extension):\n    name = 'needy'\n"
        "    def __init__(self): self.requires = ['nowhere']\n"
    )
    with pytest.raises(PluginNotLoadable, match="it requires nowhere, which is not installed"):
        Registry().load("needy")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"requires": "torch"}, "its requires cannot be read"),
        ({"dependencies": [3]}, "its dependencies cannot be read"),
        ({"api": 3}, "its range of plugin interfaces 3 cannot be read"),
        ({"requires": ["nowhere; python_version < '3'"]}, ""),
        ({"requires": ["pytest"], "dependencies": ["known"]}, ""),
        ({"dependencies": ["pytest>=10000"]}, "it requires pytest>=10000, and pytest"),
        ({}, ""),
    ],
)
def test_what_cannot_be_read_is_a_miss_and_what_is_for_others_is_none(
    wanted: dict[str, object], told: str
) -> None:
    found = misses(type("Plugin", (), wanted)(), ["known"])
    assert "; ".join(found).startswith(told)
    assert bool(found) is bool(told)


def test_a_property_of_a_class_is_read_from_its_objects_only() -> None:
    made = type("Plugin", (), {"requires": property(lambda self: ["nowhere"])})
    assert misses(made) == []
    assert misses(made()) == ["it requires nowhere, which is not installed"]
