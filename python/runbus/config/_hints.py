"""The types of annotations, also of those that only type checkers can resolve by themselves."""

from __future__ import annotations

import functools
import sys
import typing
from typing import Any

__all__ = ["hints_of"]


def hints_of(target: Any) -> dict[str, Any]:
    """Return the types that a class's fields or a callable's parameters are annotated with.

    A name that cannot be resolved, wherever its module imports it, is `Any`.
    """
    owner = _annotated(target)
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except Exception:  # an annotation is code: it may fail in any way
        return _one_by_one(owner)


def _annotated(target: Any) -> Any:
    """Return what holds the annotations of what a call of the target takes."""
    import inspect

    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        if hasattr(target, "__struct_fields__") or hasattr(target, "__attrs_attrs__"):
            return target
        if typing.is_typeddict(target) or (
            issubclass(target, tuple) and hasattr(target, "_fields")
        ):
            return target
        owner = next(one for one in target.__mro__ if "__init__" in vars(one))
        if "__dataclass_fields__" in vars(owner):
            return target
        target = vars(owner)["__init__"] if owner is not object else target.__new__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    return inspect.unwrap(getattr(target, "__func__", target))


def _one_by_one(owner: Any) -> dict[str, Any]:
    holders = list(reversed(owner.__mro__)) if isinstance(owner, type) else [owner]
    found = {}
    for holder in holders:
        module = sys.modules.get(getattr(holder, "__module__", "") or "")
        names = _Names(vars(module) if module else {}, getattr(module, "__file__", None))
        scope = {**getattr(holder, "__globals__", {})}
        locals_ = vars(holder) if isinstance(holder, type) else {}
        for name, hint in getattr(holder, "__annotations__", {}).items():
            found[name] = _resolved(hint, scope, names.within(locals_))
    return found


def _resolved(hint: Any, scope: dict[str, Any], names: Any) -> Any:
    if hint is None:
        return type(None)
    if not isinstance(hint, str):
        return hint
    try:
        # As `typing.get_type_hints` does: it is the author's own code, written as an annotation.
        return eval(hint, scope, names)
    except Exception:
        return Any


class _Names(dict[str, Any]):
    """The names of a module, with those that it imports for type checkers alone."""

    def __init__(self, known: dict[str, Any], file: str | None) -> None:
        super().__init__(known)
        self._file = file
        self._imports: dict[str, tuple[str, str | None]] | None = None

    def within(self, local: Any) -> _Names:
        inner = _Names({**self, **local}, self._file)
        inner._imports = self._imports
        return inner

    def __missing__(self, name: str) -> Any:
        if self._imports is None:
            self._imports = _imports_for_checkers(self._file)
        if name not in self._imports:
            raise KeyError(name)
        import importlib

        module, attribute = self._imports[name]
        loaded = importlib.import_module(module)
        value = loaded if attribute is None else getattr(loaded, attribute)
        self[name] = value
        return value


@functools.lru_cache(256)
def _imports_for_checkers(file: str | None) -> dict[str, tuple[str, str | None]]:
    """Return what stands under `if TYPE_CHECKING:` in a file: names, their modules and names there.

    Relative imports and those with a dot in their name are passed over.
    """
    if file is None or not file.endswith(".py"):
        return {}
    import ast

    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, tuple[str, str | None]] = {}
    blocks = [
        block
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
    ]
    for node in (node for block in blocks for node in block.body):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {one.asname or one.name: (node.module, one.name) for one in node.names}
        elif isinstance(node, ast.Import):
            plain = [one for one in node.names if "." not in one.name or one.asname]
            found |= {one.asname or one.name: (one.name, None) for one in plain}
    return found
