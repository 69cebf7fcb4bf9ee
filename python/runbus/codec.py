"""Bytes from values and back: the only user of msgspec's encoders.

Events travel as MessagePack and are known by their tag, which leads to their class through a
registry, never to an attribute of a module. Sensitive fields are redacted only where asked, so
that a journal of one's own can be read back.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from runbus._secrets import REDACTED, is_secret_name, redacted_value
from runbus.errors import FieldInvalid
from runbus.events import Event, descendants, load_all

__all__ = [
    "DecodeError",
    "convert",
    "decode_event",
    "decode_json",
    "encode_event",
    "encode_json",
    "event_class",
    "event_from_plain",
    "event_to_plain",
    "json_schema",
    "tag_of",
    "to_plain",
    "writable",
]

T = TypeVar("T")

DecodeError = msgspec.DecodeError
"""Raised for bytes that do not hold what was expected of them."""

_DEEPEST = 100
_OTHERS = (UnicodeDecodeError, RecursionError, OverflowError, FieldInvalid)
"""What is raised besides: for what is not UTF-8, is nested too deeply, or a value refuses."""


class _Tagged(msgspec.Struct):
    type: str


_peek = msgspec.msgpack.Decoder(_Tagged)
_packer = msgspec.msgpack.Encoder()
_decoders: dict[str, tuple[type[Event], msgspec.msgpack.Decoder[Any]]] = {}


def tag_of(event: type[Event]) -> str:
    """Return the name by which a class of events is known outside of this process."""
    return str(event.__struct_config__.tag)


def event_class(tag: str) -> type[Event]:
    """Return the class of events known by `tag`.

    Raises:
        DecodeError: No class that was imported has that tag, or two have.
    """
    load_all()
    found = [cls for cls in descendants(Event) if tag_of(cls) == tag]
    if not found:
        raise DecodeError(f"no event class with tag {tag!r} is known; is its plugin imported?")
    if len(found) > 1:
        names = " and ".join(f"{cls.__module__}.{cls.__qualname__}" for cls in found)
        raise DecodeError(f"the tag {tag!r} belongs to {names}; give one of them another")
    return found[0]


def encode_event(event: Event) -> bytes:
    """Return an event as MessagePack, with its tag.

    Raises:
        TypeError: A field holds what is no data.
    """
    return _packer.encode(event)


def decode_event(data: bytes | bytearray | memoryview) -> Event:
    """Return the event that `encode_event` encoded.

    Raises:
        DecodeError: It is not an event, of an unknown class, or its fields do not fit the class.
    """
    try:
        tag = _peek.decode(data).type
        known = _decoders.get(tag)
        if known is None:
            cls = event_class(tag)
            known = _decoders[tag] = cls, msgspec.msgpack.Decoder(cls)
        event: Event = known[1].decode(data)
    except _OTHERS as error:
        raise _as_decode_error(error) from error
    return event


def encode_json(value: object, *, indent: int = 0) -> bytes:
    """Return a value as JSON: built-in types, Structs, dates, enums; bytes become base64.

    Args:
        value: What to encode.
        indent: Spaces per level; 0 for one line.

    Raises:
        TypeError: It holds what is no data.
    """
    data = msgspec.json.encode(value)
    return msgspec.json.format(data, indent=indent) if indent else data


def decode_json(data: bytes | str, shape: type[T]) -> T:
    """Return the value of JSON text, checked against a type.

    Raises:
        DecodeError: It is not valid JSON, or does not fit the type.
    """
    try:
        return msgspec.json.decode(data, type=shape)
    except _OTHERS as error:
        raise _as_decode_error(error) from error


def _as_decode_error(error: Exception) -> DecodeError:
    if isinstance(error, RecursionError):
        return DecodeError("it is nested too deeply")
    return DecodeError(f"it is not valid: {error}")


def convert(value: object, shape: type[T]) -> T:
    """Return a value of built-in types as `shape`, such as a dict as a Struct.

    Raises:
        DecodeError: It does not fit the type.
    """
    try:
        return msgspec.convert(value, shape)
    except FieldInvalid as error:
        raise _as_decode_error(error) from error


def to_plain(value: msgspec.Struct | dict[str, Any]) -> dict[str, Any]:
    """Return a Struct, or a mapping, as a mapping of built-in types, by the names of its fields."""
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def json_schema(shape: type) -> dict[str, Any]:
    """Return the JSON Schema of a type, with the descriptions of its Structs."""
    return msgspec.json.schema(shape)


def event_to_plain(event: Event, *, redact: bool = True) -> dict[str, Any]:
    """Return an event as built-in types, with its tag under `type`; what is no data as its repr.

    Args:
        event: The event.
        redact: Whether to replace, at any depth, the values of fields marked `Sensitive` and the
            texts that go by a secret's name: as a field, a key, or the first of two texts.
    """
    try:
        kept = _redacted(event) if redact else event
        plain: dict[str, Any] = msgspec.to_builtins(kept, enc_hook=_shown)
    except Exception:  # of the event's own parts: a key, a method
        fields = {name: writable(getattr(event, name)) for name in event.__struct_fields__}
        if redact:
            secret = _sensitive_fields(type(event))
            fields = redacted_value(fields, lambda other: other)
            fields |= dict.fromkeys(secret & fields.keys(), REDACTED)
        plain = {"type": tag_of(type(event)), **fields}
    return plain


def writable(value: object, depth: int = 0) -> Any:
    """Return a value as built-in types that JSON can hold, whatever is in it.

    A key that is not a string becomes its repr, a lone surrogate an escape, what is not data its
    repr, and what is nested too deeply three dots.
    """
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {
            writable(key if isinstance(key, str) else _shown(key)): writable(part, depth + 1)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [writable(part, depth + 1) for part in value]
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else _shown(value)
    return writable(_shown(value))


def _shown(value: object) -> str:
    """Return the repr of a value, even if it has a method of its own that fails."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr fails: {type(error).__name__}>"


def event_from_plain(plain: dict[str, Any]) -> Event:
    """Return the event that `event_to_plain` made built-in types of.

    Raises:
        DecodeError: It is not an event, of an unknown class, or its fields do not fit the class.
    """
    return convert(plain, event_class(str(plain.get("type"))))


_NUMBERS = frozenset({type(None), bool, int, float})


def _redacted(value: Any) -> Any:
    """Return a value in which every sensitive field is replaced, however deep it lies."""
    if type(value) in _NUMBERS:
        return value
    if isinstance(value, msgspec.Struct):
        return _redacted_struct(value)
    return redacted_value(value, _redacted_struct)


def _redacted_struct(value: Any) -> Any:
    cls = type(value)
    is_struct = isinstance(value, msgspec.Struct)
    if not is_struct and (not dataclasses.is_dataclass(value) or isinstance(value, type)):
        return value
    changes: dict[str, Any] = {}
    for name, is_marked, is_named in _fields.get(cls) or _fields_of(cls):
        old = getattr(value, name)
        is_secret = is_marked or (is_named and isinstance(old, str))
        new = REDACTED if is_secret else _redacted(old)
        if new is not old and new != old:
            changes[name] = new
    replace = msgspec.structs.replace if is_struct else dataclasses.replace
    return replace(value, **changes) if changes else value


_fields: dict[type, tuple[tuple[str, bool, bool], ...]] = {}


def _fields_of(cls: Any) -> tuple[tuple[str, bool, bool], ...]:
    """Return a class's fields: whether each is marked, and whether it has a secret's name."""
    names = cls.__struct_fields__ if issubclass(cls, msgspec.Struct) else cls.__dataclass_fields__
    marked = _sensitive_fields(cls)
    _fields[cls] = found = tuple((name, name in marked, is_secret_name(name)) for name in names)
    return found


def _sensitive_fields(cls: type) -> frozenset[str]:
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:
        # A hint that cannot be resolved here may hide a mark, so the text of it decides.
        hints = {}
        for base in cls.__mro__:
            hints.update(getattr(base, "__annotations__", {}))
    return frozenset(name for name, hint in hints.items() if _is_marked(hint))


def _is_marked(hint: Any) -> bool:
    if isinstance(hint, str):
        return "Sensitive" in hint
    if get_origin(hint) is Annotated:
        marks = [a for a in get_args(hint)[1:] if isinstance(a, msgspec.Meta)]
        return any((mark.extra or {}).get("sensitive") for mark in marks)
    return any(_is_marked(arg) for arg in get_args(hint))
