"""From a configuration to the objects that it describes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from runbus.config._access import NothingThere, get_at
from runbus.config._made import checked, is_unsure
from runbus.config._node import MISSING, PLAIN, Mistake, Node, Ref, path_text
from runbus.config._paths import parse_path
from runbus.config._shape import missing_mistake
from runbus.config._tree import children, mapped

if TYPE_CHECKING:
    from runbus.config._node import Mistakes, Path
    from runbus.config._schema import Schema

__all__ = ["build", "mistakes_of"]

_CONTAINERS = (dict, list, tuple, set, frozenset)


def mistakes_of(root: Node, *, is_whole: bool = True, is_called: bool = False) -> Mistakes:
    """Return every mistake of a configuration: what is missing, and what does not fit (any more).

    Values were checked when they were set; lists and mappings may have been changed since.

    Args:
        root: The configuration.
        is_whole: Whether it should be ready to be built: nothing is missing, and references lead
            somewhere.
        is_called: Whether it will be called as it is, if it is a Partial.
    """
    check = _Check(root, is_whole, is_called)
    check.value(root, ())
    return check.found


class _Check:
    def __init__(self, root: Node, is_whole: bool, is_called: bool) -> None:
        self.found: Mistakes = []
        self._root = root
        self._is_whole = is_whole
        self._is_called = is_called
        self._done: set[int] = set()
        self._within: set[int] = set()

    def value(self, value: Any, path: Path) -> None:
        if isinstance(value, Node):
            key = id(value)
            if key in self._within:
                self.found.append(Mistake("it holds itself", path))
            elif key not in self._done:
                self._done.add(key)
                self._within.add(key)
                self._node(value, path)
                self._within.discard(key)
        elif type(value) in _CONTAINERS:
            for step, one in children(value):
                if isinstance(one, (Node, *_CONTAINERS)):
                    self.value(one, (*path, step))

    def _node(self, node: Node, path: Path) -> None:
        called = not node._is_partial or (self._is_called and node is self._root)
        if self._is_whole and called:
            for name in node._shape.schema.needed:
                if name not in node._values:
                    mistake = missing_mistake(name)
                    mistake.path = path
                    self.found.append(mistake)
        for held in (node._values, node._drawn):
            for name, value in held.items():
                kind = type(value)
                if kind in PLAIN:
                    continue
                if kind is Ref and self._is_whole:
                    _check_reference(node, self._root, (*path, name), value, self.found)
                elif kind in _CONTAINERS:
                    self._container(node, held, name, path)
                elif isinstance(value, Node):
                    self.value(value, (*path, name))

    def _container(self, node: Node, held: dict[str, Any], name: str, path: Path) -> None:
        wrong: Mistakes = []
        shape = node._shape
        held[name] = shape.convert(shape.field(name), name, held[name], wrong)
        for one in wrong:
            one.path = (*path, *one.path)
        self.found += wrong
        if not wrong:
            self.value(held[name], (*path, name))


def _check_reference(node: Node, root: Node, path: Path, reference: Ref, found: Mistakes) -> None:
    try:
        value = resolved(root, reference)
    except NothingThere as error:
        found.append(Mistake(f"_ref_: {error.mistake.reason}", path, near=error.mistake.near))
        return
    name = str(path[-1])
    wrong: Mistakes = []
    node._shape.convert(node._shape.field(name), name, value, wrong)
    for one in wrong:
        one.path = (*path[:-1], *one.path)
        one.reason = f"the value at {reference.path}: {one.reason}"
    found += wrong


def resolved(root: Node, reference: Ref) -> Any:
    """Return what a reference stands for.

    Raises:
        NothingThere: It leads nowhere, or to itself.
    """
    value: Any = reference
    seen: list[str] = []
    while isinstance(value, Ref):
        if value.path in seen:
            told = " → ".join([*seen, value.path])
            raise NothingThere(Mistake(f"it leads to itself: {told}"))
        seen.append(value.path)
        try:
            path = parse_path(value.path)
        except ValueError as error:
            raise NothingThere(Mistake(str(error))) from None
        value = get_at(root, path)
        if value is MISSING:
            raise NothingThere(Mistake(f"{path_text(path)} has no value and no default"))
    return value


def build(root: Node) -> Any:
    """Return what a checked configuration describes: each part once, however often it is used.

    What a target raises continues with a note that says what was built.

    Raises:
        ConfigInvalid: What a function returned is not of its field's type.
    """
    return _build(root, root, (), {})


def _build(value: Any, root: Node, path: Path, done: dict[int, Any]) -> Any:
    if isinstance(value, Node):
        key = id(value)
        if key not in done:
            done[key] = _build_node(value, root, path, done)
        return done[key]
    if type(value) in _CONTAINERS:
        return mapped(value, lambda one: _build(one, root, path, done))
    if type(value) is Ref:
        return _build(resolved(root, value), root, path, done)
    return value


def _build_node(node: Node, root: Node, path: Path, done: dict[int, Any]) -> Any:
    shape = node._shape
    named = {**node._drawn, **node._values}
    for name, value in named.items():
        if type(value) not in PLAIN:
            if type(value) is Ref:  # what it leads to is converted as the field wants it
                value = shape.convert(shape.field(name), name, resolved(root, value), [])
            named[name] = _build(value, root, (*path, name), done)
            if is_unsure(value):
                named[name] = checked(node, name, named[name], path)
    args = [] if shape.is_plain else _positional(shape.schema, named)
    if node._is_partial:
        return functools.partial(shape.target, *args, **named)
    if shape.is_dict:
        return named
    try:
        return shape.target(*args, **named)
    except Exception as error:
        where = f"{path_text(path)} ({shape.schema.name})" if path else shape.schema.name
        error.add_note(f"while {where} was built")
        raise


def _positional(schema: Schema, named: dict[str, Any]) -> list[Any]:
    """Take the values out that a call cannot name."""
    rest = next((name for name, one in schema.fields.items() if one.kind == "rest"), None)
    has_rest = rest is not None and bool(named.get(rest))
    args: list[Any] = []
    for name, field in schema.fields.items():
        if field.kind == "rest":
            args += named.pop(name, [])
            break
        if field.kind == "positional" or has_rest:
            if name in named:
                args.append(named.pop(name))
            elif field.default is not MISSING:
                args.append(field.default)
            else:
                break
    return args
