"""How messages about configurations speak of values, of which some are secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbus._secrets import is_secret_name

__all__ = ["hides", "shown"]


def hides(place: str, field: Mapping[str, Any]) -> bool:
    """Tell whether the value at a place is a secret: the schema says so, or its name does."""
    name = place.rpartition(".")[2].partition("[")[0]
    return (
        bool(field.get("secret"))
        or field.get("format") == "password"
        or bool(field.get("writeOnly"))
        or is_secret_name(name)
    )


def shown(value: Any) -> str:
    """Return a value as a message shows it; of what may hold secrets, only what it is."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"
