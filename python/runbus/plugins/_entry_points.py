"""Plugins of installed distributions: found through metadata, without importing any.

This module loads importlib.metadata, so it is itself imported only when a plugin is named.
"""

from __future__ import annotations

import os
import re
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

from runbus.plugins._found import FoundPlugin, Source, bad_name

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FACE_OF_GROUP", "GROUP", "installed_plugins", "target_parts"]

GROUP = "runbus.plugins"
"""The group of entry points in which a distribution offers plugins."""

FACE_OF_GROUP = {GROUP: "", "nemo_run_plugins": "extension", "tracelet.plugins": "managed"}
"""The groups that are looked at, ours and those of the systems whose plugins are adapted, with the
face that a plugin of the group has; empty if it is known once the plugin is imported."""

_GROUPS = (*FACE_OF_GROUP,)

_HEAD = 2048

_TARGET = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[.*\]\s*)?")


def installed_plugins() -> tuple[list[FoundPlugin], list[str]]:
    """Return what entry points offer, by name, and what is wrong with metadata.

    A name may be there several times. Metadata that cannot be read costs its distribution only.
    """
    points, problems = _points()
    sources: dict[int, Source] = {}
    found = [_found(point, sources) for point in points]
    return sorted(found, key=_place), problems


def _place(found: FoundPlugin) -> tuple[str, int, str]:
    return found.name, _GROUPS.index(found.group), found.target


def _found(point: metadata.EntryPoint, sources: dict[int, Source]) -> FoundPlugin:
    """Return the plugin that an entry point offers.

    Args:
        point: The entry point.
        sources: Those of the distributions that were met before; added to.
    """
    source = None
    if (distribution := point.dist) is not None:
        source = sources.get(id(distribution))
        if source is None:
            source = sources[id(distribution)] = Source(partial(_about, distribution))
    problem = bad_name(point.name)
    if not problem and target_parts(point.value) is None:
        problem = f"its entry point {point.value!r} is not of the form module:name"
    return FoundPlugin(point.name, point.value, point.group, source, problem=problem)


def target_parts(target: str) -> tuple[str, str] | None:
    """Return module and name of what an entry point refers to; None if it refers to nothing."""
    match = _TARGET.fullmatch(target)
    return (match[1], match[2] or "") if match else None


def _points() -> tuple[list[metadata.EntryPoint], list[str]]:
    try:
        found = metadata.entry_points()
        return [point for group in _GROUPS for point in found.select(group=group)], []
    except Exception:  # one file that cannot be read takes all others with it
        problems: list[str] = []
        return [*_one_by_one(problems)], problems


def _one_by_one(problems: list[str]) -> Iterator[metadata.EntryPoint]:
    """Yield the entry points of each distribution whose metadata can be read."""
    seen: set[str] = set()
    for distribution in metadata.distributions():
        name, version = _about(distribution)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key and key in seen:  # an older one, behind that on sys.path
            continue
        seen.add(key)
        try:
            points = [point for point in distribution.entry_points if point.group in _GROUPS]
        except Exception as error:
            whose = f"{name} {version}".strip() or "a distribution without a name"
            problems.append(f"the entry points of {whose} cannot be read: {error}")
            continue
        yield from points


def _about(distribution: metadata.Distribution) -> tuple[str, str]:
    """Return name and version of a distribution; empty where its metadata do not tell.

    The parser of importlib.metadata reads all of a file, at a cost of its own: two lines are
    wanted.
    """
    text = _head(distribution)
    said = {"name": "", "version": ""}
    for line in text.splitlines():
        if not line:
            break
        key, _, value = line.partition(":")
        if said.get(key.lower()) == "":
            said[key.lower()] = value.strip()
    return said["name"], said["version"]


def _head(distribution: metadata.Distribution) -> str:
    """Return the beginning of what a distribution says of itself, with name and version in it."""
    # The folder is no public attribute; to read 2 KiB instead of all costs a tenth.
    folder = getattr(distribution, "_path", None)
    try:
        file = os.open(os.path.join(folder or "", "METADATA"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(file, _HEAD).decode(errors="replace")
        finally:
            os.close(file)
    except (OSError, TypeError):
        pass
    try:
        return distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    except (OSError, ValueError):
        return ""
