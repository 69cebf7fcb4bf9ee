"""What authors of plugins may import: one list, symbol by symbol, and nothing private in it."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("abc", "attempt", "errors", "events", "plugins", "testing")
LIST = Path(__file__).parents[1] / "golden" / "authors.txt"


def names() -> list[str]:
    found = []
    for package in PACKAGES:
        module = importlib.import_module(f"runbus.{package}")
        found += [f"runbus.{package}.{name}" for name in module.__all__]
    return sorted(found)


def value_of(path: str) -> Any:
    package, _, name = path.rpartition(".")
    return getattr(importlib.import_module(package), name)


def test_the_names_are_those_that_were_agreed_on() -> None:
    """A name that goes breaks plugins; one that comes has to stay: both are decided here.

    `RUNBUS_GOLDEN=write` keeps a new list.
    """
    if os.environ.get("RUNBUS_GOLDEN") == "write":
        LIST.write_text("".join(f"{name}\n" for name in names()))
    assert names() == LIST.read_text().splitlines()


def test_nothing_private_is_among_them() -> None:
    for path in names():
        value, name = value_of(path), path.rpartition(".")[2]
        assert not name.startswith("_"), path
        assert not isinstance(value, ModuleType), path
        # What is shown in an error or a list has a name that can be looked up again.
        own = getattr(value, "__name__", name)
        assert not own.startswith("_"), f"{path} is {own}"


def test_what_a_base_class_offers_is_its_own_or_of_another_public_one() -> None:
    public = {id(value_of(path)) for path in names()}
    ours = [
        (path, base)
        for path in names()
        for value in [value_of(path)]
        if isinstance(value, type)
        for base in value.__mro__
        if base.__module__.startswith("runbus")
        and id(base) not in public
        and not base.__name__.startswith("_")
    ]
    assert {f"{path} is made from {base.__qualname__}" for path, base in ours} == set()
