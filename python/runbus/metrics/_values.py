"""What params, configs and tables hold, as JSON's own values.

Where JSON has no form for a value it becomes a text with a mark of its type: `<date> 2030-01-01`,
`<Optimizer> ADAM`, `<function> torch.nn.functional.relu`.
"""

from __future__ import annotations

import enum
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, get_origin

from runbus._ids import meaning_of
from runbus._secrets import REDACTED, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "check_free",
    "check_name",
    "check_step",
    "clean_text",
    "config_of",
    "flatten",
    "plain",
    "to_plain",
]

MAX_NAME_CHARACTERS = 65_536
_MOST_ELEMENTS = 10_000
"""Of an array: of a larger one only type and shape are kept."""
_DEEPEST = 100
_LONGEST_SHOWN = 120
_PLAIN = (str, bool, int, float, type(None))
_AS_TEXT = {
    *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(("builtins", name) for name in ("range", "complex", "bytes", "slice", "ellipsis")),
    ("decimal", "Decimal"),
    ("numpy", "dtype"),
    *(("ipaddress", f"IPv{version}{kind}") for version in "46" for kind in ("Address", "Network")),
    ("fractions", "Fraction"),
    ("uuid", "UUID"),
    ("re", "Pattern"),
    *(("torch", name) for name in ("dtype", "device", "layout", "memory_format")),
    ("zoneinfo", "ZoneInfo"),
    ("numpy", "longdouble"),
    ("numpy", "clongdouble"),
    ("pandas.api.typing", "NAType"),
    ("pandas._libs.missing", "NAType"),
}
"""Types, by module and name, whose text says all."""


def plain(value: object) -> Any:
    """Turn what configs hold in practice into JSON's own values, or what `json` makes those of.

    Raises:
        TypeError: There is no such value for it.
    """
    if isinstance(value, Secret) or callable(getattr(type(value), "get_secret_value", None)):
        return REDACTED
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, enum.Enum):
        return f"<{type(value).__name__}> {value.name}"
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Set):
        return sorted(value, key=lambda part: (type(part).__name__, repr(part)))
    if (fields := _fields_of(value)) is not None:
        return fields
    if (text := _text_of(value)) is not None:
        return text
    if isinstance(value, Sequence) and not _is(type(value), "collections", "UserString"):
        return list(value)
    return _array_of(value)


def _fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Return the fields of an object that is made of them."""
    if isinstance(value, Mapping):
        return value
    kind = type(value)
    if isinstance(value, type):
        return None
    if names := getattr(kind, "__dataclass_fields__", None):
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    if names := getattr(kind, "__attrs_attrs__", None):
        return {field.name: getattr(value, field.name) for field in names}
    if names := getattr(kind, "__struct_fields__", None):
        return {name: getattr(value, name) for name in names}
    if isinstance(getattr(kind, "model_fields", None), dict):
        return {name: getattr(value, name) for name in kind.model_fields}
    if isinstance(value, tuple) and callable(getattr(value, "_asdict", None)):
        named: dict[str, Any] = value._asdict()  # type: ignore[attr-defined]
        return named
    is_namespace = any(_is(one, "argparse", "Namespace") for one in kind.__mro__)
    if is_namespace or _is(kind, "types", "SimpleNamespace"):
        fields: dict[str, Any] = vars(value)
        return fields
    return None


def _text_of(value: Any) -> str | None:
    """Return a text for what has a name, or a text that says all of it."""
    kind = type(value)
    if isinstance(value, type):
        return f"<class> {value.__module__}.{value.__qualname__}"
    if get_origin(value) is not None:
        return f"<type> {value}"
    if callable(value) and (name := getattr(value, "__qualname__", None)):
        return f"<function> {getattr(value, '__module__', None) or 'builtins'}.{name}"
    if _is(kind, "functools", "partial"):
        given = [repr(part) for part in value.args]
        given += [f"{name}={part!r}" for name, part in value.keywords.items()]
        return f"<partial> {str(_text_of(value.func)).rpartition(' ')[2]}({', '.join(given)})"
    for one in kind.__mro__:
        if (one.__module__, one.__name__) in _AS_TEXT:
            mark = f"torch.{one.__name__}" if one.__module__ == "torch" else one.__name__
            return f"<{mark}> {value}"
    if callable(getattr(value, "get_params", None)):  # an estimator, whose repr has its params
        return f"<{kind.__name__}> {' '.join(repr(value).split())}"
    return None


def _array_of(value: Any) -> Any:
    kind = type(value)
    dtype = getattr(value, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "") in ("M", "m"):
        return f"<{dtype}> {value}"
    shape = getattr(value, "shape", None)
    tolist = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    item = getattr(value, "item", None)
    if shape is not None and callable(tolist):
        count = 1
        for length in shape:
            count *= int(length)
        if count <= _MOST_ELEMENTS:
            return tolist()
        sizes = "x".join(map(str, shape))
        return f"<{kind.__name__}> {dtype} {sizes}"
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    if shape is not None and hasattr(value, "columns"):
        raise TypeError(f"a {kind.__name__} is a table: keep it with log_table()")
    raise TypeError(f"{_shown(value)} is not a number, text, list or mapping")


def _shown(value: object) -> str:
    """Return what an object says of itself, in one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # It is refused either way: what is wrong with its repr is another matter.
        text = ""
    name = type(value).__name__
    return text if 0 < len(text) <= _LONGEST_SHOWN else f"an object of type {name}"


def _is(kind: type, module: str, name: str) -> bool:
    return kind.__module__ == module and kind.__name__ == name


def config_of(config: Any) -> dict[str, Any]:
    """Return the config that `init` was given, by name, and make sure that it can be kept.

    Raises:
        TypeError: It has no names, or a value cannot be kept; names it.
        ValueError: It holds itself, or two names that are equal as texts.
    """
    if config is None:
        return {}
    fields = None if isinstance(config, str | bytes) else _fields_of(config)
    if fields is None:
        raise TypeError(f"config must be a mapping, dataclass or Namespace, not {_shown(config)}")
    names = [name for name, _ in flatten(to_plain(fields, "config"))]
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise ValueError(f"config {twice!r} occurs twice: as one name, and nested")
    return dict(fields)


def to_plain(value: object, what: str) -> Any:
    """Return `value` made of JSON's own values.

    Raises:
        TypeError: It holds what cannot be kept; names `what` and where in it.
        ValueError: It holds itself, or two names that are equal as texts.
    """
    return _plain(value, what, 0)


def _plain(value: Any, what: str, depth: int) -> Any:
    if isinstance(value, _PLAIN) and not isinstance(value, enum.Enum):
        return _plain_scalar(value, what)
    if depth > _DEEPEST:
        place = what if len(what) <= _LONGEST_SHOWN else f"{what[:_LONGEST_SHOWN]}…"
        raise ValueError(f"{place}: it holds itself, or is nested more than {_DEEPEST} deep")
    if isinstance(value, Mapping):
        return _plain_mapping(value, what, depth)
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return [_plain(part, f"{what}[{index}]", depth + 1) for index, part in enumerate(value)]
    try:
        given = plain(value)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    return _plain(given, what, depth + 1)


def _plain_scalar(value: Any, what: str) -> Any:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
        if number.bit_length() > 4 * sys.int_info.default_max_str_digits // 2:
            raise ValueError(f"{what}: an int of {number.bit_length()} bits is too long to keep")
        return number
    return value


def _plain_mapping(values: Mapping[Any, Any], what: str, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = _plain_key(key, what)
        if name in found:
            raise ValueError(f"{what}: the name {name!r} occurs twice, as {key!r} and otherwise")
        place = f"{what} {name!r}" if depth == 0 else f"{what}/{name}"
        found[name] = _plain(value, place, depth + 1)
    return found


def _plain_key(key: Any, what: str) -> str:
    if isinstance(key, str) and not isinstance(key, enum.Enum):
        return str(key)
    if key is None or (isinstance(key, bool | int | float) and not isinstance(key, enum.Enum)):
        return json.dumps(key)
    try:
        name = plain(key)
    except TypeError:
        name = None
    if not isinstance(name, str):
        raise TypeError(f"{what}: the name {key!r} is not a text or number")
    return name


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings; names join with "/", as those of metrics do."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}/")
        else:
            yield name, value


def check_name(name: object, what: str) -> str:
    """Return `name`, which may be any text that can be written.

    Raises:
        TypeError: It is not a string.
        ValueError: It is empty, of more than 65,536 characters, or holds a lone surrogate.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a str, not {name!r}")
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"the name of {what} has {len(name)} characters: 1 to 65,536 are allowed")
    if clean_text(name) != name:
        raise ValueError(f"the name of {what} is not a string: {name!r} holds a lone surrogate")
    return name


def check_free(name: str, what: str) -> None:
    """Refuse what means something else wherever a run or a batch is named.

    Raises:
        ValueError: It is "latest" or an id.
    """
    if means := meaning_of(name):
        raise ValueError(f"{what} cannot be called {name!r}: that means {means}")


def check_step(step: object) -> int | None:
    """Return `step` as an int; None stays None.

    Raises:
        TypeError: It is not an integer.
        OverflowError: It exceeds 64 bits.
    """
    if step is None:
        return None
    import operator

    try:
        number = operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"step must be an int or None, not {step!r}") from None
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"step {number} does not fit into 64 bits")
    return number


def clean_text(text: str) -> str:
    """Return `text` with a "?" for every lone surrogate: what UTF-8 has no bytes for."""
    return text.encode("utf-8", "replace").decode("utf-8")
