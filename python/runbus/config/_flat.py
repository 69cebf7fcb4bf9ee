"""Values in a batch file: it is flat, and each of their fields is a key of the job's own."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from runbus.codec import json_schema
from runbus.config._spans import DURATIONS, SIZES, with_text
from runbus.events import ArtifactLimits, EarlyStop, Resources, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["field_types", "flat_keys", "flat_schema", "nested", "options"]

_VALUES: Mapping[str, tuple[type[msgspec.Struct], Mapping[str, str]]] = {
    "resources": (Resources, {"gpus": "gpus", "cpus": "cpus", "nice": "nice"}),
    "timeouts": (
        Timeouts,
        {"timeout": "run_s", "queue_timeout": "queue_s", "idle_timeout": "idle_s"},
    ),
    "stop": (EarlyStop, {"stop_when": "stop_when", "patience": "patience"}),
    "retry": (RetryPolicy, {"retries": "retries", "retry_on": "on", "backoff": "backoff_s"}),
    "artifact_limits": (
        ArtifactLimits,
        {"artifact_files": "files", "artifact_size": "size_bytes"},
    ),
}
"""The fields that hold values, and what the keys of a file are called in them."""


def flat_keys(job: Any) -> dict[str, Any]:
    """Return what a file says of the values of a job, as far as they are not what they are anyhow.

    Args:
        job: What has `resources`, `timeouts`, `retry`, `stop` and `artifact_limits`.
    """
    found: dict[str, Any] = {}
    for field, (kind, keys) in _VALUES.items():
        value, default = getattr(job, field), kind()
        for key, name in keys.items():
            if (one := getattr(value, name)) != getattr(default, name):
                found[key] = list(one) if isinstance(one, tuple) else one
    return found


@functools.cache
def _fields(shape: type[msgspec.Struct]) -> tuple[FieldInfo, ...]:
    """Return what msgspec tells of a Struct; it evaluates the annotations anew at each call."""
    return fields(shape)


@functools.cache
def field_types(shape: type[msgspec.Struct]) -> Mapping[str, tuple[Any, bool]]:
    """Return the keys that a file may have for a Struct: their types, and whether it needs them."""
    found: dict[str, tuple[Any, bool]] = {}
    for field in _fields(shape):
        if field.name in _VALUES:
            value, keys = _VALUES[field.name]
            of_value = {one.name: one.type for one in _fields(value)}
            found |= {key: (of_value[name], False) for key, name in keys.items()}
        else:
            found[field.encode_name] = (field.type, field.required)
    return found


def nested(data: Any, shape: Any) -> Any:
    """Return what a file says, with the fields of values in them wherever `shape` has Structs.

    What does not fit the shape stays as it is.
    """
    if not isinstance(data, (dict, list)):
        return data
    for option in options(shape):
        if isinstance(data, dict) and isinstance(option, type(msgspec.Struct)):
            return _nested_struct(data, option)
        if isinstance(data, dict) and get_origin(option) is dict:
            return {key: nested(one, get_args(option)[1]) for key, one in data.items()}
        if isinstance(data, list) and get_origin(option) is list:
            (of_item,) = get_args(option)
            return [nested(one, of_item) for one in data] if _has_values(of_item) else data
    return data


@functools.cache
def _has_values(shape: Any) -> bool:
    """Whether there may be a Struct within a type, of which fields are keys."""
    return any(
        isinstance(option, type(msgspec.Struct)) or any(map(_has_values, get_args(option)))
        for option in options(shape)
    )


@functools.cache
def _gathered(shape: type[msgspec.Struct]) -> Mapping[str, tuple[str, str]]:
    """Return which value of a Struct each key of a file belongs to, and its name in it."""
    return {
        key: (field.name, name)
        for field in _fields(shape)
        if field.name in _VALUES
        for key, name in _VALUES[field.name][1].items()
    }


def _nested_struct(data: dict[Any, Any], shape: type[msgspec.Struct]) -> dict[Any, Any]:
    known, gathered = field_types(shape), _gathered(shape)
    found: dict[Any, Any] = {}
    for key, one in data.items():
        if key in gathered:
            value, name = gathered[key]
            found.setdefault(value, {})[name] = one
        elif key in _VALUES and key not in known:
            found[f"{key}?"] = one  # a name of the Struct, and unknown in a file
        elif isinstance(one, (dict, list)) and key in known:
            found[key] = nested(one, known[key][0])
        else:
            found[key] = one
    return found


@functools.cache
def options(shape: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one that it is, without what they are annotated with."""
    if get_origin(shape) is Annotated:
        return options(get_args(shape)[0])
    if get_origin(shape) in (Union, types.UnionType):
        return tuple(one for option in get_args(shape) for one in options(option))
    return (shape,)


def flat_schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schemas of a Struct and those within it, with the fields of values as keys.

    By the names of the Structs; references lead to `#/$defs/NAME`.
    """
    definitions: dict[str, Any] = json_schema(shape)["$defs"]
    values = {
        name: definitions.pop(value.__name__)
        for name, (value, _) in _VALUES.items()
        if value.__name__ in definitions
    }
    for one in definitions.values():
        properties = one["properties"]
        for name, value in values.items():
            if properties.pop(name, None) is not None:
                for key, inner in _VALUES[name][1].items():
                    schema_of = value["properties"][inner]
                    is_text = key in DURATIONS or key in SIZES
                    properties[key] = with_text(schema_of) if is_text else schema_of
    return definitions
