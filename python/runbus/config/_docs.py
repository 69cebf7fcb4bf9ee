"""What docstrings say of the fields of a target: in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_origin

__all__ = ["docs_of", "summary_of"]

_SECTION = re.compile(r"(?:Args|Arguments|Parameters|Params|Attributes|Keyword Args):\s*")
_ITEM = re.compile(r"(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_SPHINX = re.compile(r":(?:param|ivar|cvar)\s+(?:[\w.\[\]| ]+\s+)?(\w+)\s*:\s*(.*)")
_NUMPY_ITEM = re.compile(r"(\*{0,2}\w+)\s*(?::.*)?")


def docs_of(target: Any) -> dict[str, str]:
    """Return what the docstrings of a target say of each field, by its name, on one line each.

    Of a class both its own and that of its `__init__` are read, and those of its bases; what is
    nearest wins.
    """
    target = get_origin(target) or target
    holders = [target]
    if isinstance(target, type):
        holders = [
            one
            for base in reversed(target.__mro__)
            if base is not object
            for one in (base, vars(base).get("__init__"))
        ]
    found: dict[str, str] = {}
    for one in holders:
        text = getattr(one, "__doc__", None)
        if isinstance(text, str):
            found |= _items(inspect.cleandoc(text))
    return found


def summary_of(target: Any) -> str:
    """Return the first paragraph of a target's docstring; empty if there is none."""
    text = getattr(get_origin(target) or target, "__doc__", None)
    if not isinstance(text, str) or _is_generated(target, text):
        return ""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _is_generated(target: Any, text: str) -> bool:
    """Whether the docstring is the signature that a dataclass gives itself."""
    return isinstance(target, type) and text.startswith(f"{target.__name__}(")


def _items(text: str) -> dict[str, str]:
    lines = text.splitlines()
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if sphinx := _SPHINX.fullmatch(line.strip()):
            found[sphinx[1]] = [sphinx[2]]
            while at < len(lines) and lines[at].startswith(" ") and lines[at].strip():
                found[sphinx[1]].append(lines[at].strip())
                at += 1
        elif _SECTION.fullmatch(line):
            at = _google(lines, at, found)
        elif (
            line in ("Parameters", "Attributes")
            and at < len(lines)
            and re.fullmatch("-{3,}", lines[at].strip())
        ):
            at = _numpy(lines, at + 1, found)
    return {name.lstrip("*"): " ".join(parts).strip() for name, parts in found.items()}


def _google(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    """Read a section whose items stand deeper than its title; returns the line after it."""
    depth = None
    name = ""
    while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" ")):
        text = lines[at].strip()
        deep = len(lines[at]) - len(lines[at].lstrip())
        at += 1
        if not text:
            continue
        depth = deep if depth is None else depth
        item = _ITEM.fullmatch(text) if deep == depth else None
        if item:
            name = item[1]
            found[name] = [item[2]]
        elif name:
            found[name].append(text)
    return at


def _numpy(lines: list[str], at: int, found: dict[str, list[str]]) -> int:
    """Read a section whose items stand as deep as its title; returns the line after it."""
    name = ""
    while at < len(lines):
        text = lines[at]
        if not text.startswith(" "):
            item = _NUMPY_ITEM.fullmatch(text)
            if text and (
                item is None or re.fullmatch("-{3,}", (lines[at + 1 : at + 2] or [""])[0])
            ):
                return at
            if item:
                name = item[1]
                found[name] = []
        elif name:
            found[name].append(text.strip())
        at += 1
    return at
