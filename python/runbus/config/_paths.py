"""Paths into a configuration, as people write them: `model.layers[0].width`, `env["A B"]`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runbus.config._node import Path

__all__ = ["parse_path"]

_STEP = re.compile(
    r"""\.?([^.\[\]"'=\s]+)|\[(-?\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]|\[([\w.:/-]+)\]"""
)


def parse_path(text: str) -> Path:
    """Return the steps of a path.

    Raises:
        ValueError: It is not one.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or (found[1] and bool(steps) != (text[at] == ".")):
            raise ValueError(f"{text!r} is not a path: write model.layers[0].width")
        if found[1] is not None:
            steps.append(found[1])
        elif found[2] is not None:
            steps.append(int(found[2]))
        elif found[3] is not None:
            import json

            steps.append(str(json.loads(found[3])))
        else:
            steps.append(found[4])
        at = found.end()
    if not steps:
        raise ValueError("the path is empty")
    return tuple(steps)
