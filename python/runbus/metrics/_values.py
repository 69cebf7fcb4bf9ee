"""What params, configs and tables hold, as JSON's own values."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runbus._secrets import REDACTED, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_name", "check_step", "clean_text", "flatten", "plain", "to_plain"]

MAX_NAME_CHARACTERS = 65_536


def plain(value: object) -> object:
    """Turn what configs hold in practice (numpy scalars, paths, secrets) into JSON's own values.

    Raises:
        TypeError: There is no such value for it.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Secret):
        return REDACTED
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return item()
    raise TypeError(f"{value!r} is not a number, text, list or mapping")


def to_plain(value: object, what: str) -> Any:
    """Return `value` made of JSON's own values.

    Raises:
        TypeError: It holds what JSON has no word for; names `what`.
        ValueError: It holds itself.
    """
    try:
        return json.loads(json.dumps(value, default=plain))
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None


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
        TypeError: It is no text.
        ValueError: It is empty, of more than 65,536 characters, or holds a lone surrogate.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a str, not {name!r}")
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"the name of {what} has {len(name)} characters: 1 to 65,536 are allowed")
    if clean_text(name) != name:
        raise ValueError(f"the name of {what} is no text: {name!r} holds a lone surrogate")
    return name


def check_step(step: object) -> int | None:
    """Return `step` as an int; None stays None.

    Raises:
        TypeError: It is no integer.
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
