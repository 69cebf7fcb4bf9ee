"""Plain data as the text of a file: YAML, TOML, JSON."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import TYPE_CHECKING, Any

from runbus.config._data import finite
from runbus.config._yaml import plain_value
from runbus.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["WRITERS", "data_text"]


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
        elif value == "<<" or plain_value(value) != value:
            style = "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    written: str = yaml.dump(
        data,
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    return written


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


def data_text(data: dict[str, Any], form: str) -> str:
    """Return plain data as the text of a file.

    Args:
        data: Mappings, lists and scalars; dates and the like are written as texts.
        form: `yaml`, `yml`, `toml` or `json`.

    Raises:
        UsageError: There is no such form.
    """
    if f".{form}" not in WRITERS:
        raise UsageError(f"there is no form {form!r}: yaml, toml or json")
    return WRITERS[f".{form}"](_as_texts(data))


def _as_texts(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _as_texts(one) for key, one in data.items()}
    if isinstance(data, (list, set)):
        return [_as_texts(one) for one in data]
    if data is None or isinstance(data, (str, bool, int, float)):
        return data
    return data.isoformat() if isinstance(data, datetime.date) else str(data)
