"""Plain data as the text of a file: YAML, TOML, JSON."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import TYPE_CHECKING, Any

from runbus.config._data import finite, order, typed
from runbus.config._document import unusable
from runbus.config._node import Mistake
from runbus.config._yaml import plain_value
from runbus.errors import ConfigInvalid, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["WRITERS", "check_writable", "data_text"]


def _json(data: dict[str, Any]) -> str:
    return json.dumps(finite(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _yaml(data: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes what our reader would take for something else than a text."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = None
        if not value.replace("\n", "").isprintable():  # also breaks of lines that YAML would fold
            style = '"'
        elif value == "<<" or not _is_plain(value):
            style = "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def any_of(dumper: Any, values: set[Any]) -> Any:
        tag = "tag:yaml.org,2002:set"
        return dumper.represent_mapping(tag, dict.fromkeys(sorted(values, key=order)))

    Dumper.add_representer(str, text)
    Dumper.add_representer(set, any_of)
    written: str = yaml.dump(
        data,
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return written


def _is_plain(text: str) -> bool:
    """Whether a text without quotes is read as itself."""
    try:
        return bool(plain_value(text) == text)
    except (ValueError, OverflowError):  # it looks like a date or a number that there is not
        return False


def _toml(data: dict[str, Any]) -> str:
    return "\n".join(_table(data, ())) + "\n"


def _table(data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table: its own values first, as TOML needs it, then tables below."""
    for key, value in data.items():
        if not _is_table(value):
            yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in data.items():
        if _is_table(value):
            here = (*path, key)
            yield ""
            yield f"[{'.'.join(map(_toml_key, here))}]"
            yield from _table(value, here)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, dict) and bool(value) and "_type_" not in value and "_ref_" not in value
    )


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_text(key)


def _toml_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(value: Any) -> str:
    if value is None:
        return '{ _type_ = "none" }'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    pairs = ", ".join(f"{_toml_key(key)} = {_toml_value(one)}" for key, one in value.items())
    return f"{{ {pairs} }}" if pairs else "{}"


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    ".yaml": _yaml,
    ".yml": _yaml,
    ".toml": _toml,
    ".json": _json,
}
"""What writes the data of a file, by the end of its name."""


def check_writable(data: Any, name: str) -> None:
    """Refuse data with a value that no file can hold.

    Args:
        data: Mappings, lists and scalars.
        name: What they are of.

    Raises:
        ConfigInvalid: It holds such a value, which is named.
    """
    if found := unusable(data):
        path, reason = found
        raise ConfigInvalid(name, (Mistake(reason, tuple(map(_step, path))).told(),))


def _step(key: Any) -> str | int:
    return key if isinstance(key, int) else str(key).encode(errors="backslashreplace").decode()


def data_text(data: dict[Any, Any], form: str) -> str:
    """Return plain data as the text of a file, which is read back as the same data.

    What the form has no values of is written with its `_type_`.

    Args:
        data: Mappings, lists and scalars.
        form: `yaml`, `yml`, `toml` or `json`.

    Raises:
        ConfigInvalid: A key at the top is not a text, and the form has no other keys.
        UsageError: There is no such form.
    """
    if f".{form}" not in WRITERS:
        raise UsageError(f"there is no form {form!r} of plain data: yaml, toml or json")
    native: tuple[type, ...] = _NATIVE[form]
    if dict not in native and (odd := [key for key in data if not isinstance(key, str)]):
        reason = f"the key {odd[0]!r} is not a text, and {form.upper()} has no other keys"
        raise ConfigInvalid("the configuration", (Mistake(reason).told(),))
    return WRITERS[f".{form}"](_written(data, native))


_IN_YAML = (bytes, datetime.datetime, datetime.date, set, dict)
_NATIVE: dict[str, tuple[type, ...]] = {
    "yaml": _IN_YAML,
    "yml": _IN_YAML,
    "toml": (datetime.datetime, datetime.date, datetime.time),
    "json": (),
}
"""What each form has besides texts, numbers and the like; `dict` for keys of any type."""


def _written(data: Any, native: tuple[type, ...]) -> Any:
    kind = type(data)
    if kind is list:
        return [_written(one, native) for one in data]
    if kind is dict and (dict in native or all(type(key) is str for key in data)):
        return {key: _written(one, native) for key, one in data.items()}
    if kind is dict:
        pairs = [[_written(key, native), _written(one, native)] for key, one in data.items()]
        return {"_type_": "dict", "_value_": pairs}
    return data if kind in native else typed(data)
