"""A configuration checked against a JSON Schema: without a network, and with an end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from runbus.errors import ConfigProblem, ExtraMissing, SchemaInvalid, near_matches
from runbus.plugins._schema_words import hides, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["check_json_schema"]

_MOST_STEPS = 20_000
"""How many keywords are looked at for one configuration."""

_MOST_PROBLEMS = 100
_LONGEST_PATTERN = 500
_LONGEST_TEXT = 2_000
_MOST_WAYS = 10_000_000


class _TooMuch(Exception):
    """The check does not come to an end in a reasonable time."""


def check_json_schema(
    schema: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[ConfigProblem, ...]:
    """Return everything in which a configuration does not fit a JSON Schema.

    References lead to places in the schema only: nothing is fetched or read.

    Raises:
        SchemaInvalid: It is no JSON Schema, or one that may take for ever.
        ExtraMissing: `jsonschema` is not installed.
    """
    try:
        import jsonschema
        import referencing
        from jsonschema import validators
    except ImportError:
        raise ExtraMissing("a JSON Schema", "jsonschema", "plugins") from None
    kind = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as wrong:
        where = ".".join(map(str, wrong.absolute_path))
        raise SchemaInvalid(where, f"does not fit {wrong.validator!r} of JSON Schema") from None
    except RecursionError:
        raise SchemaInvalid("", "is nested too deeply") from None
    _check_patterns(schema)
    counted = validators.extend(kind, _counted(kind.VALIDATORS))
    try:
        validator = counted(schema, registry=referencing.Registry())
        problems: list[ConfigProblem] = []
        for error in validator.iter_errors(_plain(config)):
            problems += _told(error)
            if len(problems) >= _MOST_PROBLEMS:
                break
    except (_TooMuch, RecursionError):
        raise SchemaInvalid("", "takes too long to check, or refers to itself") from None
    except referencing.exceptions.Unresolvable as lost:
        raise SchemaInvalid("$ref", f"{lost.ref!r} is no place in the schema") from None
    return tuple(dict.fromkeys(problems))


def _counted(keywords: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return the checks of all keywords, which together end after a number of steps."""
    import jsonschema

    steps = 0

    def counted(word: str, check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
        def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            nonlocal steps
            steps += 1
            if steps > _MOST_STEPS:
                raise _TooMuch
            if word == "pattern" and isinstance(instance, str) and len(instance) > _longest(value):
                yield jsonschema.ValidationError("too long to be compared with a pattern")
                return
            yield from check(validator, value, instance, schema) or ()

        return checked

    return {word: counted(word, check) for word, check in keywords.items()}


def _longest(pattern: str) -> int:
    """Return how long a text may be so that comparing takes a second at the most."""
    repeats = _repeats(_parsed(pattern))
    return min(_LONGEST_TEXT, int(_MOST_WAYS ** (1 / repeats))) if repeats else _LONGEST_TEXT


def _told(error: Any) -> list[ConfigProblem]:
    """Return a mistake in our words: its own repeat values, which may be secret."""
    place = _place(error.absolute_path)
    field = error.schema if isinstance(error.schema, Mapping) else {}
    is_secret = hides(place, field) or any(
        hides(str(step), {}) for step in error.absolute_path if isinstance(step, str)
    )
    found = "" if is_secret else shown(error.instance)
    word, value = error.validator, error.validator_value
    if word == "required":
        missing = [name for name in value if name not in error.instance]
        return [ConfigProblem(_join(place, name), "is missing") for name in missing]
    if word == "additionalProperties" and value is False:
        return [_unknown(place, name, field) for name in error.instance if not _knows(field, name)]
    if word == "type":
        kinds = value if isinstance(value, list) else [value]
        wanted = " or ".join(map(str, kinds))
        but = f", but {found}" if found else ""
        return [ConfigProblem(place, f"is not of type {wanted}{but}", wanted, found)]
    if word in ("enum", "const"):
        choices = ", ".join(map(shown, value if word == "enum" else [value]))
        reason = "is not one of its choices" if is_secret else f"is {found}, not {choices}"
        return [ConfigProblem(place, reason, "" if is_secret else choices, found)]
    limit = f" {shown(value)}" if not is_secret and not isinstance(value, Mapping | list) else ""
    return [ConfigProblem(place, f"does not fit {word}{limit}", "", found)]


def _knows(schema: Mapping[str, Any], name: str) -> bool:
    return name in schema.get("properties", {}) or any(
        re.search(one, name) for one in schema.get("patternProperties", {})
    )


def _unknown(place: str, name: str, schema: Mapping[str, Any]) -> ConfigProblem:
    near = near_matches(name, schema.get("properties", {}))
    return ConfigProblem(_join(place, name), "is unknown", "", "", near)


def _place(path: Any) -> str:
    place = ""
    for step in path:
        place = f"{place}[{step}]" if isinstance(step, int) else _join(place, step)
    return place


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tuples are arrays there."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


# -- patterns: `re` tries every way to match, which for some takes longer than anybody lives


def _check_patterns(schema: Any, depth: int = 0) -> None:
    if depth > 100:
        raise SchemaInvalid("", "is nested too deeply")
    if isinstance(schema, Mapping):
        pattern = schema.get("pattern")
        names = schema.get("patternProperties")
        for one in [pattern, *(names if isinstance(names, Mapping) else ())]:
            if isinstance(one, str):
                _check_pattern(one)
        for value in schema.values():
            _check_patterns(value, depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            _check_patterns(value, depth + 1)


def _check_pattern(pattern: str) -> None:
    """Refuse a pattern in which a repetition is repeated: the ways to match it double each time.

    Raises:
        SchemaInvalid: It is refused.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise SchemaInvalid("pattern", f"is longer than {_LONGEST_PATTERN} characters")
    if _is_nested(_parsed(pattern), inside=False):
        raise SchemaInvalid("pattern", f"{pattern[:60]!r} may take for ever: simplify it")


def _parsed(pattern: str) -> Any:
    try:
        return _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise SchemaInvalid("pattern", f"{pattern[:60]!r} is no regular expression") from error


def _parts(parsed: Any) -> Iterator[tuple[str, Any]]:
    for op, argument in parsed:
        yield str(op), argument


def _inner(op: str, argument: Any) -> list[Any]:
    if op in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return [argument[2]]
    if op == "SUBPATTERN":
        return [argument[3]]
    if op == "BRANCH":
        return list(argument[1])
    if op in ("ASSERT", "ASSERT_NOT"):
        return [argument[1]]
    if op == "ATOMIC_GROUP":
        return [argument]
    if op == "GROUPREF_EXISTS":
        return [one for one in argument[1:] if one is not None]
    return []


def _is_open(op: str, argument: Any) -> bool:
    """Tell whether a part repeats something, more often than a few times."""
    return op.endswith("_REPEAT") and argument[1] > 16 and argument[0] != argument[1]


def _repeats(parsed: Any) -> int:
    return sum(
        _is_open(op, argument) + sum(map(_repeats, _inner(op, argument)))
        for op, argument in _parts(parsed)
    )


def _is_nested(parsed: Any, *, inside: bool) -> bool:
    for op, argument in _parts(parsed):
        repeats = op.endswith("_REPEAT") and argument[0] != argument[1]
        if inside and (repeats or op in ("BRANCH", "GROUPREF", "GROUPREF_EXISTS")):
            return True
        deeper = inside or _is_open(op, argument)
        if any(_is_nested(one, inside=deeper) for one in _inner(op, argument)):
            return True
    return False
