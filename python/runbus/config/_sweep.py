"""`lr=0.01,0.1` on a command line: which values of which names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runbus.config._words import split_items
from runbus.errors import SweepInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["parse_axes", "parse_sweep"]

_NAME = re.compile(r"[A-Za-z_][\w.-]*")


def parse_sweep(text: str) -> tuple[str, tuple[str, ...]]:
    """Split `name=value,value…` into the name and its values, still as they were written.

    Raises:
        SweepInvalid: There is no name, no value, an empty value, or a value twice.
    """
    name, equals, listed = text.partition("=")
    if not equals:
        raise SweepInvalid(text, "there is no '='")
    if not name:
        raise SweepInvalid(text, "there is no name before '='")
    if not _NAME.fullmatch(name):
        raise SweepInvalid(text, f"{name!r} is not a name")
    if not listed:
        raise SweepInvalid(text, f"{name} has no values")
    values = tuple(split_items(listed))
    if "" in values:
        raise SweepInvalid(text, f"one of the values of {name} is empty")
    if len(set(values)) < len(values):
        raise SweepInvalid(text, f"a value of {name} is given twice")
    return name, values


def parse_axes(sweeps: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the values of each name, still as they were written.

    Raises:
        SweepInvalid: A sweep cannot be read, or a name is swept twice.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for text in sweeps:
        name, values = parse_sweep(text)
        if name in axes:
            both = ",".join(dict.fromkeys([*axes[name], *values]))
            told = f"{name} is swept already: write all its values at once, {name}={both}"
            raise SweepInvalid(text, told)
        axes[name] = values
    return axes
