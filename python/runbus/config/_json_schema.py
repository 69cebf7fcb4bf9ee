"""JSON Schemas of what targets take, from their signatures and docstrings."""

from __future__ import annotations

import collections.abc
import datetime
import enum
import pathlib
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from runbus._secrets import Secret
from runbus.config._bounds import unit_of
from runbus.config._docs import summary_of
from runbus.config._named import parts_of
from runbus.config._node import MISSING
from runbus.config._schema import is_structured, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runbus.config._named import NamedParts
    from runbus.config._schema import Field

__all__ = ["Schemas"]

_PLAIN: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": ["string", "number"]},
    pathlib.Path: {"type": "string"},
    Secret: {
        "type": "object",
        "properties": {"secret": {"type": "string"}},
        "required": ["secret"],
        "additionalProperties": False,
    },
    Any: {},
}
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf", "pattern": "pattern",
}  # fmt: skip
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_MAPPINGS = (dict, collections.abc.Mapping)


class Schemas:
    """Collects the schemas of classes, each once.

    Args:
        built_in: Whether only named parts of runbus itself count, and not those that are installed
            or registered.

    Attributes:
        definitions: The schemas by the names that `#/$defs/NAME` refers to.
    """

    def __init__(self, *, built_in: bool = False) -> None:
        self._built_in = built_in
        self.definitions: dict[str, dict[str, Any]] = {}

    def part(self, parts: NamedParts, **more: Any) -> dict[str, Any]:
        """Return the schema of any part of a kind: its name, or a mapping with its `type`.

        Args:
            parts: The parts.
            more: What to give to `target`.
        """
        names = list(parts.built_in if self._built_in else parts)
        refs = [self.target(parts.find(name), name, parts.kind, **more) for name in names]
        options = [{"enum": names}, *refs]
        if parts.several:
            options.append({"type": "array", "items": {"anyOf": refs}, "minItems": 1})
        return {"anyOf": options}

    def target(
        self,
        target: Any,
        tag: str = "",
        kind: str = "",
        *,
        without: Iterable[str] = (),
        beside: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a reference to the schema of what a target takes.

        Args:
            target: The target.
            tag: What its `type` is, if it is found by one.
            kind: What a part with such a tag is called.
            without: Fields that are left out.
            beside: Schemas of keys that it does not take itself.
        """
        schema = schema_of(target)
        name = schema.name
        if name in self.definitions:
            return {"$ref": f"#/$defs/{name}"}
        found: dict[str, Any] = {"title": name, "type": "object"}
        self.definitions[name] = found
        if summary := summary_of(target):
            found["description"] = summary
        properties: dict[str, Any] = {"type": {"enum": [tag]}} if tag else {}
        required = ["type"] if tag else []
        for key, field in schema.fields.items():
            shape = None if key in without else self.hint(field.type)
            if shape is not None:
                properties[key] = _described(shape, field, schema.docs.get(key, ""))
                required += [key] if field.is_required else []
        properties |= {key: one for key, one in (beside or {}).items() if key not in properties}
        found |= {"properties": properties, "required": required}
        found["additionalProperties"] = schema.keywords is not None
        return {"$ref": f"#/$defs/{name}"}

    def hint(self, hint: Any) -> dict[str, Any] | None:
        """Return the schema of a type; None if no data is of it."""
        origin = get_origin(hint) or hint
        args = get_args(hint)
        if origin is Annotated:
            return self._annotated(args[0], args[1:])
        if origin in (Union, types.UnionType):
            return _union([self.hint(one) for one in args])
        if origin is Literal:
            return {"enum": [one.name if isinstance(one, enum.Enum) else one for one in args]}
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return {"enum": list(origin.__members__)}
        if origin in _PLAIN:
            return dict(_PLAIN[origin])
        if origin in _LISTS:
            return self._list(args)
        if origin in _MAPPINGS:
            of_value = self.hint(args[1]) if args else {}
            return {"type": "object", "additionalProperties": of_value}
        if (parts := parts_of(origin)) is not None:
            return self.part(parts)
        if isinstance(origin, type) and (is_structured(origin) or typing.is_typeddict(origin)):
            return self.target(hint)
        return None

    def _list(self, args: tuple[Any, ...]) -> dict[str, Any] | None:
        of_item = self.hint(args[0]) if args else {}
        return None if of_item is None else {"type": "array", "items": of_item}

    def _annotated(self, base: Any, marks: tuple[Any, ...]) -> dict[str, Any] | None:
        shape = self.hint(base)
        if shape is None:
            return None
        if unit_of(marks) is not None:
            return {"type": ["number", "string"]}
        for mark in marks:
            for name, key in _BOUNDS.items():
                if (bound := getattr(mark, name, None)) is not None:
                    shape[key] = bound
            lengths = "Items" if shape.get("type") == "array" else "Length"
            for end in ("min", "max"):
                if (length := getattr(mark, f"{end}_length", None)) is not None:
                    shape[f"{end}{lengths}"] = length
        return shape


def _union(options: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    shapes = [one for one in options if one is not None]
    if len(shapes) < len(options) and all(one == _PLAIN[type(None)] for one in shapes):
        return None  # what is left says nothing
    return {"anyOf": shapes} if len(shapes) > 1 else shapes[0]


def _described(shape: dict[str, Any], field: Field, doc: str) -> dict[str, Any]:
    found = dict(shape)
    if doc:
        found["description"] = doc
    default = field.default
    if default is not MISSING and isinstance(default, (str, int, float, bool, type(None))):
        found["default"] = default
    elif isinstance(default, (tuple, list)) and not default:
        found["default"] = []
    return found
