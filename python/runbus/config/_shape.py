"""A target's fields with their converters, and configurations made from mappings."""

from __future__ import annotations

import functools
import sys
import typing
from typing import TYPE_CHECKING, Any, get_origin

from runbus.config._convert import converter_of
from runbus.config._making import classes_of
from runbus.config._named import parts_of
from runbus.config._node import MISSING, Mistake, Node
from runbus.config._schema import schema_of
from runbus.config._shown import shown, type_text
from runbus.errors import ExtraMissing, TargetUnusable, near_matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runbus.config._making import Converter
    from runbus.config._node import Mistakes
    from runbus.config._schema import Field, Schema

__all__ = [
    "Shape",
    "fill",
    "making",
    "missing_mistake",
    "new_node",
    "node_classes",
    "raise_mistakes",
    "shape_of",
]

_KEPT = 4096


class Shape:
    """What a target takes, and what converts to it.

    Attributes:
        target: The target.
        schema: Its fields.
        is_dict: Whether the target is `dict`.
        is_plain: Whether a call can name all fields.
    """

    __slots__ = ("_converters", "is_dict", "is_plain", "schema", "target")

    def __init__(self, target: Any, schema: Schema) -> None:
        self.target = target
        self.schema = schema
        self.is_dict = (get_origin(target) or target) is dict
        self.is_plain = all(one.kind == "plain" for one in schema.fields.values())
        self._converters: dict[str, Converter] = {}

    def field(self, name: str) -> Field | None:
        """Return the field of a name, that of `**kwargs` for one without; None if there is none."""
        found = self.schema.fields.get(name)
        return found if found is not None else self.schema.keywords

    def converter(self, field: Field) -> Converter:
        """Return what converts to the type of a field."""
        found = self._converters.get(field.name)
        if found is None:
            found = self._converters[field.name] = converter_of(field.type, making)
        return found

    def convert(self, field: Field, name: str, value: Any, mistakes: Mistakes) -> Any:
        """Return a value as one of a field; its mistakes begin with the field's name."""
        if value is field.default:  # `width: int = None` takes None, whatever it says
            return value
        known = len(mistakes)
        found = self.converter(field)(value, mistakes)
        if len(mistakes) > known:
            for one in mistakes[known:]:
                one.path = (name, *one.path)
        return found

    def default(self, name: str, field: Field) -> Any:
        """Return the default of a field in the form in which configurations hold values.

        `MISSING` if it has none, or one that only the target knows.
        """
        value = field.default if field.factory is None else field.factory()
        if value is MISSING:
            return MISSING
        wrong: Mistakes = []
        found = self.converter(field)(value, wrong)
        return value if wrong else found

    def unknown(self, name: str) -> Mistake:
        """Return the mistake of a name that is no field."""
        known = list(self.schema.fields)
        near = near_matches(name, known)
        expected = f"one of {', '.join(known)}" if known else "nothing"
        reason = f"unknown key {name!r}"
        if not near:
            reason += f"; there are {', '.join(known)}" if known else "; there are no keys"
        return Mistake(reason, (name,), expected=expected, found=repr(name), near=near)


def shape_of(target: Any) -> Shape:
    """Return what a target takes, and what converts to it.

    Raises:
        TargetUnusable: It cannot be called.
    """
    if get_origin(target) is None:
        try:
            return _remembered(target)
        except TypeError:
            try:
                hash(target)
            except TypeError:
                pass
            else:
                raise
    return Shape(target, schema_of(target))


@functools.lru_cache(_KEPT)
def _remembered(target: Any) -> Shape:
    return Shape(target, schema_of(target))


node_classes: dict[str, type[Node]] = {}
"""`Config` and `Partial`, by these names: their module fills it in."""


def new_node(target: Any, *, partial: bool = False) -> Any:
    """Return a configuration without values.

    Raises:
        TargetUnusable: The target cannot be called.
    """
    kind = node_classes["Partial" if partial else "Config"]
    node = kind.__new__(kind)
    set_ = object.__setattr__
    set_(node, "_shape", shape_of(target))
    set_(node, "_values", {})
    set_(node, "_drawn", {})
    return node


def fill(node: Node, data: Mapping[Any, Any], mistakes: Mistakes) -> None:
    """Give a configuration values; all mistakes are reported, and what is wrong is kept out."""
    shape: Shape = node._shape
    values = node._values
    for name, value in data.items():
        if not isinstance(name, str):
            mistakes.append(Mistake(f"the key {shown(name)} is not a string", (str(name),)))
            continue
        field = shape.field(name)
        if field is None:
            mistakes.append(shape.unknown(name))
            continue
        known = len(mistakes)
        found = shape.convert(field, name, value, mistakes)
        if len(mistakes) == known:
            values[name] = found
        else:
            # So that it is not told to be missing, too; nothing is ever built of it.
            values.setdefault(name, value)


class _Making:
    """How converters make and know configurations."""

    def converter(self, hint: Any) -> Converter:
        return converter_of(hint, self)

    def from_mapping(self, kind: Any, data: Mapping[Any, Any], mistakes: Mistakes) -> Any:
        plain = get_origin(kind) or kind
        parts = parts_of(plain)
        if parts is not None:
            return self._of_named_part(plain, parts, data, mistakes)
        if typing.is_typeddict(plain):
            return self._typed_dict(kind, data, mistakes)
        if _has_no_instances(plain):
            mistakes.append(_not_a(kind, data))
            return data
        try:
            node = new_node(kind)
        except TargetUnusable as error:
            mistakes.append(Mistake(error.reason, expected=type_text(kind), found=shown(data)))
            return data
        if node._shape.schema.is_open:
            mistakes.append(_not_a(kind, data))
            return data
        fill(node, data, mistakes)
        return node

    def _of_named_part(
        self, kind: type, parts: Any, data: Mapping[Any, Any], mistakes: Mistakes
    ) -> Any:
        rest = dict(data)
        name = rest.pop("type", None)
        if not isinstance(name, str):
            told = "the key 'type' is missing" if name is None else f"type is {shown(name)}"
            reason = f"{told}; there are {', '.join(parts)}"
            mistakes.append(Mistake(reason, expected=f"one of {', '.join(parts)}"))
            return data
        try:
            node = new_node(parts.find(name))
        except (TargetUnusable, ExtraMissing) as error:
            near = near_matches(name, parts)
            if name in parts:
                reason = f"{error}; {error.hint}" if error.hint else str(error)
            else:
                reason = f"there is no {parts.kind} {name!r}"
                reason += "" if near else f"; there are {', '.join(parts)}"
            expected = f"one of {', '.join(parts)}"
            mistakes.append(
                Mistake(reason, ("type",), expected=expected, found=shown(name), near=near)
            )
            return data
        fill(node, rest, mistakes)
        return node

    def from_list(self, kind: Any, items: Sequence[Any], mistakes: Mistakes) -> Any:
        parts = parts_of(kind)
        assert parts is not None
        node = new_node(parts.find(parts.several))
        (name, *_) = node._shape.schema.fields
        wrong: Mistakes = []
        fill(node, {name: items}, wrong)
        for one in wrong:  # people have written the list, and not that name
            one.path = one.path[1:]
        mistakes += wrong
        return node

    def _typed_dict(self, kind: Any, data: Mapping[Any, Any], mistakes: Mistakes) -> Any:
        shape = shape_of(kind)
        found = {}
        for name, value in data.items():
            field = shape.field(str(name))
            if field is None:
                mistakes.append(shape.unknown(str(name)))
            else:
                found[name] = shape.convert(field, name, value, mistakes)
        for name in shape.schema.needed:
            if name not in data:
                mistakes.append(missing_mistake(name))
        return found

    def made_by(self, node: Node) -> tuple[type, ...] | None:
        if node._is_partial:
            return (functools.partial,)
        target = node._shape.target
        if isinstance(get_origin(target) or target, type):
            return classes_of(target)
        if isinstance(target, functools.partial):
            return None
        from runbus.config._hints import hints_of

        return classes_of(hints_of(target).get("return", Any))

    def adopted(self, value: Any) -> Any:
        fiddle = sys.modules.get("fiddle")
        if fiddle is not None and isinstance(value, (fiddle.Config, fiddle.Partial)):
            return _of_fiddle(value, fiddle)
        return value

    def is_named(self, kind: Any) -> bool:
        return parts_of(kind) is not None

    def can_be_several(self, kind: Any) -> bool:
        parts = parts_of(kind)
        return parts is not None and bool(parts.several)


making = _Making()


def _of_fiddle(value: Any, fiddle: Any) -> Any:
    """Return a `fdl.Config` or `fdl.Partial` as one of ours.

    Raises:
        ConfigInvalid: A value in it does not fit.
    """
    node = new_node(value.__fn_or_cls__, partial=isinstance(value, fiddle.Partial))
    # It keeps positional arguments by their places.
    names = list(node._shape.schema.fields)
    given = value.__arguments__.items()
    mistakes: Mistakes = []
    fill(node, {names[key] if type(key) is int else key: one for key, one in given}, mistakes)
    raise_mistakes(node, mistakes)
    return node


def raise_mistakes(node: Node, mistakes: Mistakes) -> None:
    """Raise `ConfigInvalid` if there is a mistake."""
    if mistakes:
        from runbus.errors import ConfigInvalid

        raise ConfigInvalid(node._shape.schema.name, tuple(one.told() for one in mistakes))


def missing_mistake(name: str) -> Mistake:
    """Return the mistake of a field that has neither a value nor a default."""
    return Mistake(f"the key {name!r} is missing", expected=name)


def _has_no_instances(kind: Any) -> bool:
    return bool(getattr(kind, "__abstractmethods__", ())) or getattr(kind, "_is_protocol", False)


def _not_a(kind: Any, data: Mapping[Any, Any]) -> Mistake:
    expected, found = type_text(kind), shown(data)
    return Mistake(f"expected {expected}, found {found}", expected=expected, found=found)
