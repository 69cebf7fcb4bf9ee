"""What a plugin says of itself in its source: its summary and arguments, without an import."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

from runbus._files import read_file
from runbus.errors import FileUnreadable
from runbus.plugins._entry_points import target_parts
from runbus.plugins._folders import read_plugin_file
from runbus.plugins._source import Argument, Declared, SourceUnreadable, described, parsed

if TYPE_CHECKING:
    from runbus.plugins._found import FoundPlugin

__all__ = ["about"]

_FURTHEST = 8
"""So many modules may hand a name on, each by an import from the next."""


def about(found: FoundPlugin) -> Declared:
    """Return what the source of a plugin says of it; little where that cannot be read.

    A name that a module has imported from another is looked for there.
    """
    try:
        if found.value is not None:
            return _of_value(found)
        if found.problem:
            return Declared(found.name, found.target)
        if found.path:
            return described(parsed(read_plugin_file(found.path).source), found.target, found.name)
        parts = target_parts(found.target)
        assert parts is not None  # else it has a problem
        return _followed(*parts, found.name)
    except (FileUnreadable, SourceUnreadable, OSError, RecursionError):
        return Declared(found.name, found.target)


def _of_value(found: FoundPlugin) -> Declared:
    summary = (inspect.getdoc(found.value) or "").partition("\n")[0]
    if not callable(found.value):
        return Declared(found.name, found.target, summary, ())
    arguments = []
    try:
        for name, one in inspect.signature(found.value).parameters.items():
            kind = "" if one.annotation is one.empty else inspect.formatannotation(one.annotation)
            default = "" if one.default is one.empty else repr(one.default)
            arguments.append(Argument(f"{_STARS.get(one.kind, '')}{name}", kind, default))
    except (TypeError, ValueError):
        return Declared(found.name, found.target, summary)
    return Declared(found.name, found.target, summary, tuple(arguments))


_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def _followed(module: str, target: str, name: str) -> Declared:
    for _ in range(_FURTHEST):
        file = _file_of(module)
        if not file:
            break
        tree = parsed(read_file(file, limit=1 << 20))
        if any(getattr(one, "name", None) == target for one in tree.body):
            return described(tree, target, name)
        package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
        found = _imported(tree, target, package)
        if found is None:
            break
        module, target = found
    return Declared(name, target)


def _imported(tree: ast.Module, target: str, package: str) -> tuple[str, str] | None:
    """Return the module and the name there that a module has imported a name from."""
    for one in tree.body:
        if not isinstance(one, ast.ImportFrom):
            continue
        for alias in one.names:
            if target == (alias.asname or alias.name):
                above = package.split(".")[: len(package.split(".")) - (one.level - 1)]
                parts = [*above, one.module] if one.level else [one.module]
                return ".".join(part for part in parts if part), alias.name
    return None


def _file_of(module: str) -> str:
    """Return the source file of a module; empty if it has none. Nothing is imported."""
    folders: Any = None
    spec = None
    names = module.split(".")
    for at in range(len(names)):
        name = ".".join(names[: at + 1])
        spec = _spec(name, folders)
        if spec is None:
            return ""
        folders = spec.submodule_search_locations
    origin = spec.origin if spec is not None else ""
    return origin if origin and origin.endswith(".py") else ""


def _spec(name: str, folders: Any) -> Any:
    if folders is not None:
        return PathFinder.find_spec(name, folders)
    for finder in sys.meta_path:  # what is installed to be edited has a finder of its own
        find = getattr(finder, "find_spec", None)
        try:
            if find is not None and (spec := find(name, None)) is not None:
                return spec
        except Exception:  # of others
            continue
    return None
