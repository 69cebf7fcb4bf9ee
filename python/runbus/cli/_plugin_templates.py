"""What `runbus plugins new` writes; `$name`, `$package` and the like are filled in.

The texts lie in `templates`, a module and its tests for each kind.
"""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["KINDS", "Kind", "template"]


class Kind(NamedTuple):
    """What the distribution of a kind of plugin is made of, besides its module and tests.

    Attributes:
        summary: What it does, as the description of the distribution.
        group: The group of its entry point.
        target: What the entry point refers to in the package.
        use: How it is used, for the README.
    """

    summary: str
    group: str
    target: str
    use: str


KINDS = {
    "hook": Kind(
        "Hooks of runbus: what the machines of tasks hold, and what wraps each call.",
        "runbus.plugins",
        "plugin",
        "`runbus run train.py --plugin $name` runs jobs with it.",
    ),
    "extension": Kind(
        "Gives runbus an executor and a command.",
        "runbus.plugins",
        "$class_name",
        "`runbus run train.py --executor $name` runs jobs there; "
        "`runbus $name-greet` is a command.",
    ),
    "backend": Kind(
        "Takes what runs of runbus measure.",
        "runbus.plugins",
        "$class_name",
        "`runbus run train.py --plugin $name` hands on what the run measures.",
    ),
    "collector": Kind(
        "Measures something while runs of runbus go on.",
        "runbus.plugins",
        "$class_name",
        "`runbus run train.py --plugin $name` measures while the run goes on.",
    ),
    "service": Kind(
        "A service for the hub of runbus.",
        "runbus.datastream",
        "$class_name",
        "In `hub_config.yaml`: `datastream: {type: $name, limit: 100}`.",
    ),
    "executor": Kind(
        "Runs jobs of runbus.",
        "runbus.executors",
        "$class_name",
        "`runbus run train.py --executor $name` runs jobs there.",
    ),
}


def template(name: str) -> str:
    """Return the text of a file in `templates`, such as `hook.py` or `hook_test.py`."""
    path = os.path.join(os.path.dirname(__file__), "templates", f"{name}.txt")
    with open(path, encoding="utf-8") as file:
        return file.read()
