"""What the configuration of a plugin must look like: a mapping of fields, or a JSON Schema.

    {"server_url": {"type": "string", "required": True},
     "timeout": {"type": "number", "default": 30, "min": 0},
     "api_key": {"type": "string", "secret": True}}

A field is a mapping with `type` (string, number, integer, boolean, array, object) and, where
wanted, `required`, `default`, `enum`, `min` and `max` (of numbers; of the length of others),
`secret`, `items` (what each item of an array is), `properties` (the fields of an object) and
`description`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runbus.errors import ConfigProblem, SchemaInvalid, near_matches
from runbus.plugins._schema_words import hides, shown

__all__ = ["check_config", "is_json_schema", "with_defaults"]

_WORDS = frozenset(
    ("type", "required", "default", "enum", "min", "max", "secret", "items", "properties",
     "description")
)  # fmt: skip
_DEEPEST = 20
_ABSENT: Any = object()


def check_config(
    schema: Mapping[str, Any] | None, config: Any, *, also: Sequence[str] = ()
) -> tuple[ConfigProblem, ...]:
    """Return everything in which a configuration does not fit; nothing if it does.

    No value of a secret field is ever part of it. What has a default need not be there.

    Args:
        schema: Fields, or a JSON Schema, told by its form: that has `$schema`, or a `type` that is
            a word, or `properties` that are a mapping of schemas. None takes any mapping.
        config: The configuration.
        also: Names that are taken besides those of the fields.

    Raises:
        SchemaInvalid: The schema is wrong, or can only be checked at the risk of never ending.
        ExtraMissing: It is a JSON Schema, and `jsonschema` is not installed.
    """
    if not isinstance(config, Mapping):
        return (ConfigProblem("", "is no mapping", "a mapping", type(config).__name__),)
    if strange := [key for key in config if not isinstance(key, str)]:
        return tuple(ConfigProblem(repr(key)[:40], "is no name", "a text") for key in strange)
    if schema is None:
        return ()
    if is_json_schema(schema):
        from runbus.plugins._json_schema import check_json_schema

        return check_json_schema(schema, {k: v for k, v in config.items() if k not in also})
    check_schema(schema)
    problems: list[ConfigProblem] = []
    _check_fields("", schema, config, problems, frozenset(also))
    return tuple(problems)


def with_defaults(schema: Mapping[str, Any] | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of its own, with the defaults of a schema where it says nothing."""
    fields = schema or {}
    if is_json_schema(fields):
        fields = fields.get("properties") or {}
    filled = {name: _copied(value) for name, value in config.items()}
    for name, field in fields.items():
        if not isinstance(field, Mapping):
            continue
        if name not in filled and "default" in field:
            filled[name] = _copied(field["default"])
        inner = field.get("properties")
        if isinstance(inner, Mapping) and isinstance(filled.get(name), dict):
            filled[name] = with_defaults(inner, filled[name])
    return filled


def is_json_schema(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema is a JSON Schema by its form, and not a mapping of fields."""
    if any(isinstance(schema.get(word), str) for word in ("$schema", "$ref", "$id")):
        return True
    if isinstance(schema.get("type"), str | list):
        return True
    inner = schema.get("properties")
    return isinstance(inner, Mapping) and all(
        isinstance(one, Mapping | bool) for one in inner.values()
    )


# -- the fields


def check_schema(fields: Any, where: str = "", depth: int = 0) -> None:
    """Refuse fields that are none.

    Raises:
        SchemaInvalid: Something in them is wrong.
    """
    if not isinstance(fields, Mapping):
        raise SchemaInvalid(where, f"is {type(fields).__name__}, not a mapping of fields")
    if depth > _DEEPEST:
        raise SchemaInvalid(where, f"fields are nested deeper than {_DEEPEST}")
    for name, field in fields.items():
        if not isinstance(name, str):
            raise SchemaInvalid(where, f"the name {name!r} is no text")
        _check_field(f"{where}.{name}" if where else name, field, depth)


def _check_field(where: str, field: Any, depth: int) -> None:
    if not isinstance(field, Mapping):
        raise SchemaInvalid(
            where, f"is {type(field).__name__}, not a mapping such as {{'type': 'string'}}"
        )
    for word in field:
        if word not in _WORDS:
            near = near_matches(str(word), _WORDS)
            meant = f"; did you mean {' or '.join(map(repr, near))}" if near else ""
            raise SchemaInvalid(where, f"has the unknown word {word!r}{meant}")
    kind = field.get("type")
    if kind is not None and (not isinstance(kind, str) or kind not in _KINDS):
        raise SchemaInvalid(f"{where}.type", f"is {kind!r}, not one of {', '.join(_KINDS)}")
    for word, problem in _wrong_words(field):
        raise SchemaInvalid(f"{where}.{word}", problem)
    if "items" in field:
        _check_field(f"{where}.items", field["items"], depth + 1)
    if "properties" in field:
        check_schema(field["properties"], where, depth + 1)
    if field.get("default") is not None:
        wrong: list[ConfigProblem] = []
        _check_value(where, field, field["default"], wrong, is_secret=True)
        if wrong:
            raise SchemaInvalid(f"{where}.default", f"does not fit: {wrong[0].reason}")


def _wrong_words(field: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for word in ("required", "secret"):
        if not isinstance(field.get(word, False), bool):
            yield word, "is neither true nor false"
    for word in ("min", "max"):
        if not _is_number(field.get(word, 0)) or math.isnan(field.get(word, 0)):
            yield word, "is no number"
    if not isinstance(field.get("enum", []), list | tuple):
        yield "enum", "is no list"


def _check_fields(
    where: str,
    fields: Mapping[str, Any],
    config: Mapping[str, Any],
    problems: list[ConfigProblem],
    also: frozenset[str] = frozenset(),
) -> None:
    for name, field in fields.items():
        place = f"{where}.{name}" if where else name
        value = config.get(name, _ABSENT)
        if value is _ABSENT or (value is None and not field.get("required", False)):
            if value is _ABSENT and field.get("required", False) and "default" not in field:
                problems.append(ConfigProblem(place, "is missing", _wanted(field)))
            continue
        _check_value(place, field, value, problems)
    for name in config:
        if name not in fields and name not in also:
            place = f"{where}.{name}" if where else str(name)
            problems.append(
                ConfigProblem(
                    place, "is unknown", "", "", near_matches(str(name), map(str, fields))
                )
            )


def _check_value(
    place: str,
    field: Mapping[str, Any],
    value: Any,
    problems: list[ConfigProblem],
    *,
    is_secret: bool = False,
) -> None:
    is_secret = is_secret or hides(place, field)
    wanted = _wanted(field)

    def wrong(reason: str) -> None:
        problems.append(ConfigProblem(place, reason, wanted, "" if is_secret else shown(value)))

    kind = field.get("type")
    if kind is not None and not _KINDS[kind](value):
        wrong(f"is not {_ARTICLES[kind]}" + ("" if is_secret else f", but {shown(value)}"))
        return
    if "enum" in field and not any(_same(value, one) for one in field["enum"]):
        wrong(
            "is not one of its choices"
            if is_secret
            else f"is {shown(value)}, not one of {_choices(field)}"
        )
    size, of = (value, "") if _is_number(value) else (_length(value), "its length ")
    if size is not None:
        # The other way round, NaN would be in every range.
        if "min" in field and not size >= field["min"]:
            wrong(f"{of or 'it '}must be at least {field['min']:g}")
        if "max" in field and not size <= field["max"]:
            wrong(f"{of or 'it '}must be at most {field['max']:g}")
    if "items" in field and isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_value(f"{place}[{number}]", field["items"], item, problems, is_secret=is_secret)
    if "properties" in field and isinstance(value, Mapping):
        _check_fields(place, field["properties"], value, problems)


# -- words


def _wanted(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return f"one of {_choices(field)}"
    kind = field.get("type")
    return _ARTICLES[kind] if isinstance(kind, str) else "a value"


def _choices(field: Mapping[str, Any]) -> str:
    return ", ".join(map(shown, field["enum"]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str | list | tuple | Mapping) else None


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(one) for one in value]
    return value


_KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    "object": lambda value: isinstance(value, Mapping),
}
_ARTICLES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
