"""Lists and mappings as people give them.

A text is a sequence of texts, too, and so is a mapping; a generator is empty when it is read twice.
What takes a list makes a tuple of it here, once, or says what it would have taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runbus.errors import FieldInvalid

__all__ = ["check_mapping", "is_list", "listed"]


def is_list(given: object) -> bool:
    """Whether something has parts that are meant one by one."""
    return isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))


def listed(given: Any, field: str, kind: Any = str, of: str = "texts") -> tuple[Any, ...]:
    """Return the parts of a list.

    Args:
        given: What was given.
        field: Where.
        kind: What each part must be: a class, or several.
        of: What to call several of it.

    Raises:
        FieldInvalid: It is no list, or a part of it is something else.
    """
    if not is_list(given):
        advice = f"write {field}=[{given!r}]" if isinstance(given, kind) else None
        raise FieldInvalid(field, repr(given), f"expected a list of {of}", advice)
    parts = tuple(given)
    for part in parts:
        if not isinstance(part, kind):
            raise FieldInvalid(field, repr([*parts]), f"expected a list of {of}, not {part!r}")
    return parts


def check_mapping(given: object, field: str, of: str) -> None:
    """Refuse what is no mapping.

    Raises:
        FieldInvalid: It is not.
    """
    if not isinstance(given, Mapping):
        raise FieldInvalid(field, repr(given), f"expected a mapping of {of}")
